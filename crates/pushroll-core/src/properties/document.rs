//! Of a cache document, in both of its stored forms.

use super::is_told_briefly;
use crate::image::ImageRef;
use crate::index::Index;
use crate::index::document::stored::Stored;
use crate::index::document::{Document, DocumentError, Images, LookedUp, WARNINGS_MAX, builder_of};

/// Looked up in every document beside its own images.
const ALWAYS_LOOKED_UP: [&str; 2] = ["nginx", "us-docker.pkg.dev/p/gcr.io/web:1"];
/// Of a document's own images.
const LOOKED_UP_MAX: usize = 6;

pub fn hold(bytes: &[u8]) {
    let decoded = Document::decode(bytes);
    let listed = Document::images(bytes);
    match &decoded {
        Err(error) => is_told_briefly(&error.to_string()),
        Ok(document) => {
            assert!(document.warnings.len() <= WARNINGS_MAX);
            document.warnings.iter().for_each(|warning| is_told_briefly(warning));
            let compared = Document::compare(bytes, &Images::default()).unwrap();
            assert_eq!(compared.head, document.head);
            assert_eq!(compared.is_same, listed.as_ref().is_some_and(Images::is_empty));
            if let Some(listed) = &listed {
                index_is_what_is_listed(document, listed);
                what_is_written_is_read_back(document, listed);
            }
        }
    }
    let own = listed.iter().flat_map(Images::iter).map(|(key, _)| key).take(LOOKED_UP_MAX);
    for image in own.chain(ALWAYS_LOOKED_UP).filter_map(|text| text.parse().ok()) {
        let single = Document::look_up(bytes, &image).map_err(|error| error.to_string());
        assert_eq!(single, looked_up(&decoded, &image), "{image}");
    }
    if let Err(error) = Stored::Gzip(bytes.to_vec()).decode() {
        is_told_briefly(&error.to_string());
    }
}

/// A reader that has inflated the document sees the very same.
pub fn compressed_says_the_same(bytes: &[u8], compressed: Vec<u8>) {
    let (plain, inflated) = (Document::decode(bytes), Stored::Gzip(compressed).decode());
    for image in ALWAYS_LOOKED_UP {
        let image = image.parse().unwrap();
        assert_eq!(looked_up(&inflated, &image), looked_up(&plain, &image));
    }
}

fn looked_up(decoded: &Result<Document, DocumentError>, image: &ImageRef) -> Result<LookedUp, String> {
    decoded.as_ref().map_err(ToString::to_string).map(|document| LookedUp {
        workloads: document.index.lookup(image),
        head: document.head.clone(),
        warnings: document.warnings.clone(),
    })
}

fn index_is_what_is_listed(document: &Document, listed: &Images) {
    are_the_same(&document.index, &builder_of(listed).build(), listed);
    for (key, workloads) in listed.iter() {
        let Ok(image) = key.parse::<ImageRef>() else {
            assert!(!document.warnings.is_empty(), "{key:?} is left out without a word");
            continue;
        };
        let found = document.index.lookup(&image);
        assert!(workloads.iter().all(|workload| found.contains(workload)), "{image}: {workloads:?} in {found:?}");
    }
}

fn what_is_written_is_read_back(document: &Document, listed: &Images) {
    let written = Document::encode(&document.head, listed);
    assert!(Document::compare(written.as_bytes(), listed).unwrap().is_same);
    assert_eq!(Document::images(written.as_bytes()).as_ref(), Some(listed));
    let again = Document::decode(written.as_bytes()).unwrap();
    assert_eq!(again.head, document.head);
    // Of what was left out only keys are listed, each once.
    assert!(again.warnings.len() <= document.warnings.len());
    are_the_same(&again.index, &document.index, listed);
    assert_eq!(Document::encode(&again.head, listed), written);
}

fn are_the_same(one: &Index, other: &Index, listed: &Images) {
    assert_eq!((one.images(), one.workloads()), (other.images(), other.workloads()));
    for image in listed.iter().filter_map(|(key, _)| key.parse::<ImageRef>().ok()) {
        assert_eq!(one.lookup(&image), other.lookup(&image), "{image}");
        assert_eq!(one.pinned(&image), other.pinned(&image), "{image}");
    }
}
