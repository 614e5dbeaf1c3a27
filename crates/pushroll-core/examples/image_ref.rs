//! Image references in their normal form, and whether they name one image.
//!
//! `cargo run -p pushroll-core --example image_ref -- nginx docker.io/library/nginx:latest`

use pushroll_core::image::{ImageRef, ImageRefError};

fn main() -> Result<(), ImageRefError> {
    let mut written: Vec<String> = std::env::args().skip(1).collect();
    if written.is_empty() {
        written = ["gcr.io/shop/web:1", "us-docker.pkg.dev/shop/gcr.io/web:1"].map(str::to_owned).into();
    }
    let images = written.iter().map(|text| text.parse()).collect::<Result<Vec<ImageRef>, _>>()?;
    for image in &images {
        let tag = image.tag().unwrap_or("none");
        let digest = image.digest().map_or("none", |digest| digest.as_str());
        println!("{image}: repository {}, tag {tag}, digest {digest}", image.repository());
    }
    for pair in images.windows(2) {
        println!("{} and {} are {}", pair[0], pair[1], if pair[0] == pair[1] { "one image" } else { "two images" });
    }
    Ok(())
}
