//! One image of a document, without an index of the others: for a command that looks up once and ends.
//!
//! It reads the document in one pass and keeps what is of the image's repository. Anything out of the ordinary (an
//! entry that would be left out, a key twice, an error) is left to [`Document::decode`], so that both say the same.

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
    let ordinary = std::str::from_utf8(bytes).ok().and_then(|text| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = DocumentOf(image).deserialize(&mut deserializer).ok()?;
        deserializer.end().ok().map(|()| read)
    });
    if let Some((head, index)) = ordinary {
        return Ok(LookedUp { head, workloads: index.lookup(image), warnings: Vec::new() });
    }
    let document = Document::decode(bytes)?;
    Ok(LookedUp { head: document.head, workloads: document.index.lookup(image), warnings: document.warnings })
}

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

/// The head, and an index of what is of the image's repository.
struct DocumentOf<'i>(&'i ImageRef);

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

/// `images`, without those of other repositories.
struct ImagesOf<'i>(&'i ImageRef);

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

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Index, A::Error> {
        let mut index = IndexBuilder::default();
        let mut seen: Vec<ImageRef> = Vec::new();
        while let Some(Text(reference)) = map.next_key()? {
            let image = self.0.parse_if_of_same_repository(&reference);
            let image = image.map_err(|_| A::Error::custom(EXTRAORDINARY))?;
            let workloads = map.next_value_seed(Workloads { keep: image.is_some() })?;
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
}

/// The entries of one image: all of them are looked at, and kept only where told.
struct Workloads {
    keep: bool,
}

impl<'de> DeserializeSeed<'de> for Workloads {
    type Value = Vec<WorkloadRef>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Workloads {
    type Value = Vec<WorkloadRef>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("workloads")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut workloads = Vec::new();
        while let Some(entry) = entries.next_element::<RawEntry<'de>>()? {
            if entry.kind().is_none() {
                return Err(A::Error::custom(EXTRAORDINARY));
            }
            if self.keep {
                workloads.extend(entry.workload());
            }
        }
        Ok(workloads)
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
        (prop::sample::select(vec!["a", "b", "\\u0063"]), prop::sample::select(vec!["n", "m"]), kind).prop_map(
            |(name, namespace, kind)| format!(r#"{{"name":"{name}","namespace":"{namespace}","x":[1]{kind}}}"#),
        )
    }

    fn document() -> impl Strategy<Value = String> {
        let odd_key = prop::sample::select(vec!["A B", "", "ngin\\u0078"]);
        let key = prop_oneof![19 => prop::sample::select(IMAGES.to_vec()), 1 => odd_key];
        let images = prop::collection::vec((key, prop::collection::vec(entry(), 0..3)), 0..6);
        let member = |text: &'static str| prop_oneof![8 => Just(text), 1 => Just(""), 1 => Just(r#""as_of":null,"#)];
        let version = prop_oneof![8 => Just(r#""version":1,"#), 1 => Just(r#""version":2,"#), 1 => Just("")];
        let end = prop_oneof![20 => Just("}"), 1 => Just("} x"), 1 => Just(""), 1 => Just(r#","images":{}}"#)];
        let head = (version, member(r#""as_of":"2026-11-20T09:16:40Z","#), member(r#""scope":{"namespaces":["n"]},"#));
        (head, images, end).prop_map(|((version, as_of, scope), images, end)| {
            let images: Vec<_> =
                images.iter().map(|(key, entries)| format!(r#""{key}":[{}]"#, entries.join(","))).collect();
            format!(r#"{{{version}{as_of}"future":{{}},{scope}"images":{{{}}}{end}"#, images.join(","))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn it_says_what_the_index_says(text in document()) {
            for image in IMAGES {
                let image: ImageRef = image.parse().unwrap();
                let single = look_up(text.as_bytes(), &image).map_err(|error| error.to_string());
                let whole = Document::decode(text.as_bytes()).map_err(|error| error.to_string());
                let whole = whole.map(|document| LookedUp {
                    workloads: document.index.lookup(&image),
                    head: document.head,
                    warnings: document.warnings,
                });
                prop_assert_eq!(single, whole, "{}", text);
            }
        }
    }

    #[test]
    fn an_ordinary_document_needs_no_index() {
        let text = r#"{"version": 1, "images": {"nginx": [{"name": "a", "namespace": "n"}], "web:2": []}}"#;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let (_, index) = DocumentOf(&"nginx".parse().unwrap()).deserialize(&mut deserializer).unwrap();
        assert_eq!((index.images(), index.workloads()), (1, 1));
    }
}
