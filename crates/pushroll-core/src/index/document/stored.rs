//! The two forms in which a document is stored: plain JSON under its key, or, where that grows large, gzip under
//! `KEY.gz` (in a ConfigMap: `binaryData`). Whoever reads takes the plain one where both are there: only a person
//! can have put it beside the other.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::decode::{Compared, Document, LookedUp};
use super::error::DocumentError;
use super::head::PartAsOf;
use super::images::Images;
use crate::image::ImageRef;
use crate::index::Part;

/// Plain documents up to this size; larger ones are compressed. `kubectl apply` cannot hold more either: it keeps
/// the object in an annotation of at most 262,144 bytes.
pub const PLAIN_BYTES_MAX: usize = 262_144;
/// What a compressed document may inflate to: some 160,000 workloads, more than a ConfigMap holds with believable names.
/// One that is made to take as much memory as it can (short keys without workloads) takes some 400 MB while it is read: a
/// pod of `deploy/base` has 512 MiB.
const INFLATED_BYTES_MAX: u64 = 24 * 1024 * 1024;

/// A document as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stored {
    /// JSON, under the key itself.
    Plain(Vec<u8>),
    /// Gzip of the JSON, under the key and `.gz`.
    Gzip(Vec<u8>),
}

const GZIP_SUFFIX: &str = ".gz";

/// How the warning begins that says which of two forms is passed over.
pub const PASSED_OVER: &str = "passed over: ";

/// Where a ConfigMap has both forms: a warning that says which one counts. `place` is where they were found.
pub fn both_forms(place: impl std::fmt::Display, key: &str) -> String {
    let compressed = gzip_key(key);
    format!("{PASSED_OVER}{compressed} of {place}, which has {key} as well; remove the one that is not meant")
}

/// The keys to look under, in order: the plain form's and the compressed form's.
pub fn keys(key: &str) -> [String; 2] {
    [key.to_owned(), gzip_key(key)]
}

/// The key of the compressed form.
pub fn gzip_key(key: &str) -> String {
    format!("{key}{GZIP_SUFFIX}")
}

impl Stored {
    /// The form that fits the document's size. One that no reader would inflate stays plain, and does not fit.
    pub fn of(document: String) -> Self {
        let document = document.into_bytes();
        if document.len() <= PLAIN_BYTES_MAX || document.len() as u64 > INFLATED_BYTES_MAX {
            return Self::Plain(document);
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to a Vec cannot fail.
        let _ = encoder.write_all(&document);
        encoder.finish().map_or(Self::Plain(document), Self::Gzip)
    }

    /// What was found under `key`, one of those of [`keys`].
    pub fn found_under(key: &str, bytes: Vec<u8>) -> Self {
        if key.ends_with(GZIP_SUFFIX) { Self::Gzip(bytes) } else { Self::Plain(bytes) }
    }

    /// Bytes as they count towards a ConfigMap's limit.
    pub fn len(&self) -> usize {
        match self {
            Self::Plain(bytes) | Self::Gzip(bytes) => bytes.len(),
        }
    }

    /// Tells one from another, within this process.
    pub fn fingerprint(&self) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(self)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The JSON.
    ///
    /// # Errors
    /// The compressed form is damaged, or inflates beyond all bounds.
    pub fn into_json(self) -> Result<Vec<u8>, DocumentError> {
        match self {
            Self::Plain(bytes) => Ok(bytes),
            Self::Gzip(bytes) => inflate(&bytes),
        }
    }

    /// The document.
    ///
    /// # Errors
    /// [`DocumentError`] where nothing of it can be used.
    pub fn decode(self) -> Result<Document, DocumentError> {
        Document::decode(&self.into_json()?)
    }

    /// What it says of one image, without an index of the others.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn look_up(self, image: &ImageRef) -> Result<LookedUp, DocumentError> {
        Document::look_up(&self.into_json()?, image)
    }

    /// What it lists of these parts, as [`Document::of_parts`] has it.
    pub fn of_parts(self, parts: &[Part]) -> (Images, Vec<PartAsOf>) {
        Document::of_parts(&self.into_json().unwrap_or_default(), parts)
    }

    /// What it lists; `None` where it cannot be read.
    pub fn images(self) -> Option<Images> {
        Document::images(&self.into_json().ok()?)
    }

    /// As [`Document::compare`].
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn compare(self, images: &Images) -> Result<Compared, DocumentError> {
        Document::compare(&self.into_json()?, images)
    }
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, DocumentError> {
    let mut json = Vec::new();
    let mut decoder = GzDecoder::new(bytes).take(INFLATED_BYTES_MAX + 1);
    decoder.read_to_end(&mut json).map_err(DocumentError::Gzip)?;
    if json.len() as u64 > INFLATED_BYTES_MAX {
        return Err(DocumentError::Inflated { limit: INFLATED_BYTES_MAX });
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_document_is_compressed_and_read_back() {
        let small = "{\"images\":{}}".to_owned();
        assert_eq!(Stored::of(small.clone()), Stored::Plain(small.into_bytes()));
        let large = format!("{{\"images\":{{\"a:{}\":[]}}}}", "x".repeat(PLAIN_BYTES_MAX));
        let stored = Stored::of(large.clone());
        assert!(matches!(stored, Stored::Gzip(_)) && stored.len() < 1000);
        assert_eq!(stored.into_json().unwrap(), large.as_bytes());
    }

    #[test]
    fn a_damaged_or_boundless_one_is_an_error() {
        let Stored::Gzip(bytes) = Stored::of(" ".repeat(PLAIN_BYTES_MAX + 1)) else { panic!("not compressed") };
        let truncated = Stored::Gzip(bytes[..bytes.len() - 9].to_vec());
        assert!(truncated.decode().unwrap_err().to_string().contains("gzip"));
        let boundless = " ".repeat(INFLATED_BYTES_MAX as usize + 1);
        assert!(matches!(Stored::of(boundless.clone()), Stored::Plain(_)), "nobody would read it back");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(boundless.as_bytes()).unwrap();
        let bomb = Stored::Gzip(encoder.finish().unwrap());
        assert!(bomb.decode().unwrap_err().to_string().contains("more than"));
    }
}
