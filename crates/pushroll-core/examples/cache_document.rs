//! Reads a cache document from standard input, or a small one of its own, and looks images up in it.
//!
//! `cargo run -p pushroll-core --example cache_document -- nginx <cache.json`

use std::error::Error;
use std::io::{IsTerminal as _, Read as _};

use pushroll_core::image::ImageRef;
use pushroll_core::index::document::{Document, Head, Images};
use pushroll_core::workload::{WorkloadKind, WorkloadRef};

fn main() -> Result<(), Box<dyn Error>> {
    let mut json = Vec::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin().read_to_end(&mut json)?;
    }
    if json.is_empty() {
        let web = WorkloadRef::new("shop", WorkloadKind::Deployment, "web");
        let images = Images::from_iter([("nginx:1.27", [web])]);
        json = Document::encode(&Head::default(), &images).into_bytes();
        println!("{}", String::from_utf8_lossy(&json));
    }

    let document = Document::decode(&json)?;
    document.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    println!("{} images, {} workloads", document.index.images(), document.index.workloads());
    let images: Vec<String> = std::env::args().skip(1).collect();
    let images = if images.is_empty() { vec!["docker.io/library/nginx:1.27".to_owned()] } else { images };
    for image in images {
        let image: ImageRef = image.parse()?;
        for workload in document.index.lookup(&image) {
            println!("{image}: {workload}");
        }
    }
    Ok(())
}
