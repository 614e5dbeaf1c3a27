//! A document in one pass: without a value of its own for each entry, and for a lookup without an index.
//!
//! Ordinary documents can be read so. Anything out of the ordinary (an entry that would be left out, a key twice or out
//! of order, an error) is left to the careful reading of [`Document::decode`], so that both say the same.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Document, DocumentError, Head, RawEntry, RawScope, Text, VERSION};
use crate::image::ImageRef;
use crate::index::{Index, IndexBuilder};
use crate::workload::WorkloadRef;

/// What a document says of one image.
#[derive(Debug, PartialEq, Eq)]
pub struct LookedUp {
    /// What it says of itself.
    pub head: Head,
    /// Who runs the image, as [`Index::lookup`] has it.
    pub workloads: Vec<WorkloadRef>,
    /// As of [`Document::warnings`].
    pub warnings: Vec<String>,
}

/// Who runs `image`, by the document: the same as decoding it and looking up, in a fraction of the time.
///
/// # Errors
/// As [`Document::decode`].
pub fn look_up(bytes: &[u8], image: &ImageRef) -> Result<LookedUp, DocumentError> {
    let ordinary = std::str::from_utf8(bytes).ok().and_then(|text| read(text, Keep::RepositoryOf(image)));
    if let Some((head, index)) = ordinary {
        return Ok(LookedUp { head, workloads: index.lookup(image), warnings: Vec::new() });
    }
    let document = Document::decode(bytes)?;
    Ok(LookedUp { head: document.head, workloads: document.index.lookup(image), warnings: document.warnings })
}

/// The whole of an ordinary document; `None` for any other.
pub(super) fn decode(text: &str) -> Option<Document> {
    let (head, index) = read(text, Keep::All { images: text.len() / BYTES_OF_AN_IMAGE })?;
    Some(Document { head, index, warnings: Vec::new() })
}

fn read(text: &str, keep: Keep<'_>) -> Option<(Head, Index)> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = DocumentOf(keep).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok().map(|()| read)
}

/// What is kept of a document.
#[derive(Clone, Copy)]
enum Keep<'i> {
    /// All of it, which may be about that many images.
    All { images: usize },
    /// What is of this image's repository.
    RepositoryOf(&'i ImageRef),
}

/// About what an image with one workload takes of a document: room is made for as many.
const BYTES_OF_AN_IMAGE: usize = 192;

/// Why the single pass has ended; nobody sees it.
const EXTRAORDINARY: &str = "out of the ordinary";

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Version,
    AsOf,
    Scope,
    Images,
    #[serde(other)]
    Unknown,
}

/// The head, and an index of what is kept.
struct DocumentOf<'i>(Keep<'i>);

impl<'de> DeserializeSeed<'de> for DocumentOf<'_> {
    type Value = (Head, Index);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for DocumentOf<'_> {
    type Value = (Head, Index);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cache document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut version, mut as_of, mut scope, mut index) = (None, None, None, None);
        while let Some(field) = map.next_key()? {
            let is_new = match field {
                Field::Version => version.replace(map.next_value::<Option<u32>>()?).is_none(),
                Field::AsOf => as_of.replace(map.next_value()?).is_none(),
                Field::Scope => scope.replace(map.next_value::<Option<RawScope>>()?).is_none(),
                Field::Images => index.replace(map.next_value_seed(ImagesOf(self.0))?).is_none(),
                Field::Unknown => map.next_value::<IgnoredAny>().map(|_| true)?,
            };
            if !is_new {
                return Err(A::Error::custom(EXTRAORDINARY));
            }
        }
        match index {
            Some(index) if version.flatten().is_none_or(|version| version <= VERSION) => {
                let head = Head { as_of: as_of.flatten(), scope: scope.flatten().map(Into::into) };
                Ok((head, index))
            }
            _ => Err(A::Error::custom(EXTRAORDINARY)),
        }
    }
}

/// `images`, without what is not kept.
struct ImagesOf<'i>(Keep<'i>);

impl<'de> DeserializeSeed<'de> for ImagesOf<'_> {
    type Value = Index;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ImagesOf<'_> {
    type Value = Index;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("images and the workloads that run them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Index, A::Error> {
        match self.0 {
            Keep::All { images } => all(map, images),
            Keep::RepositoryOf(image) => of_repository(map, image),
        }
    }
}

/// Every image, in ascending order as [`Document::encode`] writes them: none can be there twice.
fn all<'de, A: MapAccess<'de>>(mut map: A, images: usize) -> Result<Index, A::Error> {
    let mut index = IndexBuilder::with_capacity(images);
    let mut last: Option<Cow<'de, str>> = None;
    let mut workloads = Vec::new();
    while let Some(Text(reference)) = map.next_key()? {
        map.next_value_seed(Workloads { keep: Some(&mut workloads) })?;
        let is_in_order = last.is_none_or(|last| last < reference);
        // Emptied by `drain`, it keeps its room for the next, and an image takes no more than it needs.
        if !is_in_order || index.add_written(&reference, workloads.drain(..)).is_err() {
            return Err(A::Error::custom(EXTRAORDINARY));
        }
        last = Some(reference);
    }
    Ok(index.build())
}

/// What is of the image's repository, in any order.
fn of_repository<'de, A: MapAccess<'de>>(mut map: A, image: &ImageRef) -> Result<Index, A::Error> {
    let mut index = IndexBuilder::default();
    let mut seen: Vec<ImageRef> = Vec::new();
    while let Some(Text(reference)) = map.next_key()? {
        let image = image.parse_if_of_same_repository(&reference).map_err(|_| A::Error::custom(EXTRAORDINARY))?;
        let mut workloads = Vec::new();
        map.next_value_seed(Workloads { keep: image.is_some().then_some(&mut workloads) })?;
        let Some(image) = image else { continue };
        // Of a key that is there twice the last counts.
        if seen.iter().any(|seen| seen.as_written() == image.as_written()) {
            return Err(A::Error::custom(EXTRAORDINARY));
        }
        index.add(&image, workloads);
        seen.push(image);
    }
    Ok(index.build())
}

/// The entries of one image: all of them are looked at, and kept only where told.
struct Workloads<'w> {
    keep: Option<&'w mut Vec<WorkloadRef>>,
}

impl<'de> DeserializeSeed<'de> for Workloads<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Workloads<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("workloads")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element::<RawEntry<'de>>()? {
            if !entry.is_usable() {
                return Err(A::Error::custom(EXTRAORDINARY));
            }
            if let Some(workloads) = &mut self.keep {
                workloads.extend(entry.workload());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IMAGES: [&str; 9] = [
        "nginx",
        "docker.io/library/nginx:latest",
        "nginx:1",
        "nginx:1@sha256:abababababababababababababababababababababababababababababababab",
        "nginx@sha256:abababababababababababababababababababababababababababababababab",
        "nginx@sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
        "gcr.io/p/web:1",
        "us-docker.pkg.dev/p/gcr.io/web:1",
        "web:2",
    ];

    /// Ordinary entries nine times of ten, so that whole documents are ordinary too.
    fn entry() -> impl Strategy<Value = String> {
        let kind = prop_oneof![
            9 => prop::sample::select(vec!["", r#","kind":"Deployment""#, r#","kind":"sts""#, r#","kind":null"#]),
            1 => prop::sample::select(vec![r#","kind":"CronJob""#, r#","kind":7"#, r#","name":"twice""#]),
        ];
        let name = prop_oneof![30 => prop::sample::select(vec!["a", "b", "\\u0063"]), 1 => Just("../x")];
        (name, prop::sample::select(vec!["n", "m"]), kind).prop_map(|(name, namespace, kind)| {
            format!(r#"{{"name":"{name}","namespace":"{namespace}","x":[1]{kind}}}"#)
        })
    }

    fn document() -> impl Strategy<Value = String> {
        let odd_key = prop::sample::select(vec!["A B", "", "ngin\\u0078"]);
        let key = prop_oneof![19 => prop::sample::select(IMAGES.to_vec()), 1 => odd_key];
        let images = prop::collection::vec((key, prop::collection::vec(entry(), 0..3)), 0..6);
        let member = |text: &'static str| prop_oneof![8 => Just(text), 1 => Just(""), 1 => Just(r#""as_of":null,"#)];
        let version = prop_oneof![8 => Just(r#""version":1,"#), 1 => Just(r#""version":2,"#), 1 => Just("")];
        let end = prop_oneof![20 => Just("}"), 1 => Just("} x"), 1 => Just(""), 1 => Just(r#","images":{}}"#)];
        let head = (version, member(r#""as_of":"2026-11-20T09:16:40Z","#), member(r#""scope":{"namespaces":["n"]},"#));
        (head, images, any::<bool>(), end).prop_map(|((version, as_of, scope), mut images, ordered, end)| {
            if ordered {
                images.sort();
            }
            let images: Vec<_> =
                images.iter().map(|(key, entries)| format!(r#""{key}":[{}]"#, entries.join(","))).collect();
            format!(r#"{{{version}{as_of}"future":{{}},{scope}"images":{{{}}}{end}"#, images.join(","))
        })
    }

    fn of(image: &ImageRef, document: Result<Document, DocumentError>) -> Result<LookedUp, String> {
        let document = document.map_err(|error| error.to_string())?;
        let workloads = document.index.lookup(image);
        Ok(LookedUp { workloads, head: document.head, warnings: document.warnings })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn it_says_what_a_careful_reading_says(text in document()) {
            let counts = |document: Document| (document.index.images(), document.index.workloads());
            prop_assert_eq!(
                Document::decode(text.as_bytes()).map(counts).ok(),
                Document::decode_carefully(&text).map(counts).ok(),
                "{}",
                text
            );
            for image in IMAGES {
                let image: ImageRef = image.parse().unwrap();
                let careful = of(&image, Document::decode_carefully(&text));
                prop_assert_eq!(&of(&image, Document::decode(text.as_bytes())), &careful, "{}", text);
                let looked_up = look_up(text.as_bytes(), &image).map_err(|error| error.to_string());
                prop_assert_eq!(&looked_up, &careful, "{}", text);
            }
        }
    }

    #[test]
    fn an_ordinary_document_needs_no_careful_reading() {
        let text = r#"{"version": 1, "images": {"nginx": [{"name": "a", "namespace": "n"}], "web:2": []}}"#;
        let nginx = "nginx".parse().unwrap();
        let counts = |keep| read(text, keep).map(|(_, index)| (index.images(), index.workloads()));
        assert_eq!(counts(Keep::RepositoryOf(&nginx)), Some((1, 1)));
        assert_eq!(counts(Keep::All { images: 0 }), Some((2, 1)));
        assert!(decode(r#"{"images": {"web:2": [], "nginx": []}}"#).is_none(), "keys out of order");
    }
}
