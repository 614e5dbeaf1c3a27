//! Image references and digests: parsing what people and registries write, and comparing it.
//!
//! Two spellings of one image are equal in their *normal form* and are shown as written. The normal
//! form follows the `distribution/reference` rules that container runtimes share (`nginx` is
//! `docker.io/library/nginx:latest`) and knows that a `gcr.io` repository and the Artifact Registry
//! repository that hosts it are one.
//!
//! Pure: it must not know the network, Kubernetes or HTTP.

mod digest;
mod normal;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::excerpt::{QUOTED_CHARACTERS, excerpt};
pub use digest::{Digest, DigestError};

/// Longest path (`distribution/reference`: `RepositoryNameTotalLengthMax`, which since its version 0.6 does not count the
/// host).
const PATH_BYTES_MAX: usize = 255;
/// Longest host: far longer than any that can be reached. The grammar has no limit, but a host goes into answers and log
/// lines.
const HOST_BYTES_MAX: usize = 4096;
/// Longest tag (`distribution/reference`: `[\w][\w.-]{0,127}`).
const TAG_BYTES_MAX: usize = 128;

/// A parsed image reference: `[HOST/]PATH[:TAG][@DIGEST]`.
///
/// Equality, order and hash are those of the normal form; [`fmt::Display`] shows it as written.
#[derive(Clone)]
pub struct ImageRef {
    written: Box<str>,
    /// `repository` or `repository:tag`, normalised.
    normal: Box<str>,
    repository_bytes: usize,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an image reference: {problem}")]
pub struct ImageRefError {
    text: String,
    problem: &'static str,
}

impl ImageRefError {
    fn of(text: &str, problem: &'static str) -> Self {
        Self { text: excerpt(text, QUOTED_CHARACTERS), problem }
    }
}

// === impl ImageRef ===

impl ImageRef {
    /// The reference exactly as it was written.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// The repository in normal form, without tag or digest: `docker.io/library/nginx`.
    pub fn repository(&self) -> &str {
        &self.normal[..self.repository_bytes]
    }

    /// The tag: the one written, `latest` where neither tag nor digest was, `None` where only a digest was.
    pub fn tag(&self) -> Option<&str> {
        self.normal.get(self.repository_bytes + 1..).filter(|tag| !tag.is_empty())
    }

    /// `REPOSITORY:TAG` in normal form: what a push of this tag is matched by. `None` where the
    /// reference is pinned by a digest, since a moved tag does not move it.
    pub fn tag_key(&self) -> Option<&str> {
        (self.digest.is_none()).then_some(&*self.normal)
    }

    /// The digest the reference is pinned by.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether both name the same repository, whatever tag or digest.
    pub fn same_repository(&self, other: &ImageRef) -> bool {
        self.repository() == other.repository()
    }

    /// As parsing `text`, but only what is of this very repository is kept: `None` for a reference to another.
    ///
    /// # Errors
    /// The text is not an image reference.
    pub(crate) fn parse_if_of_same_repository(&self, text: &str) -> Result<Option<Self>, ImageRefError> {
        // The normal form keeps the end of the path as it is written.
        let (_, name) = self.repository().rsplit_once('/').unwrap_or_default();
        if !parts(text).map_err(|problem| ImageRefError::of(text, problem))?.path.ends_with(name) {
            return Ok(None);
        }
        text.parse().map(|parsed| Some(parsed).filter(|parsed: &Self| parsed.same_repository(self)))
    }

    /// Writes what [`Self::tag_key`] of `text` would be into `normal`, in place of what is there; `false` where it has none.
    ///
    /// # Errors
    /// The text is not an image reference.
    pub(crate) fn write_tag_key(text: &str, normal: &mut String) -> Result<bool, ImageRefError> {
        let parts = parts(text).map_err(|problem| ImageRefError::of(text, problem))?;
        normal.clear();
        parts.write_normal(normal);
        Ok(parts.digest.is_none())
    }

    fn identity(&self) -> (&str, Option<&Digest>) {
        (&self.normal, self.digest.as_ref())
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|problem| ImageRefError::of(text, problem))
    }
}

/// The parts of a reference, as written.
struct Parts<'a> {
    host: Option<&'a str>,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl Parts<'_> {
    /// Appends the normal form, and says how many bytes of it are the repository.
    fn write_normal(&self, normal: &mut String) -> usize {
        let began = normal.len();
        normal::write_repository(normal, self.host, self.path);
        let repository_bytes = normal.len() - began;
        if let Some(tag) = self.tag.or((self.digest.is_none()).then_some("latest")) {
            normal.push(':');
            normal.push_str(tag);
        }
        repository_bytes
    }
}

fn parse(text: &str) -> Result<ImageRef, &'static str> {
    let parts = parts(text)?;
    let mut normal = String::with_capacity(text.len());
    let repository_bytes = parts.write_normal(&mut normal);
    let digest = parts.digest.map(Digest::of_valid);
    Ok(ImageRef { written: text.into(), normal: normal.into(), repository_bytes, digest })
}

/// Takes a reference apart; what is wrong with it is found here.
fn parts(text: &str) -> Result<Parts<'_>, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let (name_and_tag, digest) = match text.split_once('@') {
        None => (text, None),
        Some((name, digest)) => match digest::problem(digest) {
            None => (name, Some(digest)),
            Some(problem) => return Err(problem),
        },
    };
    let (name, tag) = split_tag(name_and_tag);
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (host, path) = normal::split_host(name);
    if let Some(host) = host {
        if host.len() > HOST_BYTES_MAX {
            return Err("its host is longer than 4096 bytes");
        }
        normal::check_host(host)?;
    }
    if path.len() > PATH_BYTES_MAX {
        return Err("its path is longer than 255 bytes");
    }
    normal::check_path(path)?;
    Ok(Parts { host, path, tag, digest })
}

/// The tag stands after the last colon behind the last slash: `localhost:5000/a` has none.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let path_start = text.rfind('/').map_or(0, |slash| slash + 1);
    match text[path_start..].rfind(':') {
        Some(colon) => (&text[..path_start + colon], Some(&text[path_start + colon + 1..])),
        None => (text, None),
    }
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    match bytes.next() {
        None => Err("its tag is empty"),
        Some(first) if !word(first) => Err("its tag begins with neither a letter, a digit nor _"),
        Some(_) if tag.len() > TAG_BYTES_MAX => Err("its tag is longer than 128 characters"),
        Some(_) if !bytes.all(|b| word(b) || b == b'.' || b == b'-') => {
            Err("its tag has other characters than letters, digits and _.-")
        }
        Some(_) => Ok(()),
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.written)
    }
}

impl PartialEq for ImageRef {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for ImageRef {}

impl std::hash::Hash for ImageRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for ImageRef {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ImageRef {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.identity().cmp(&other.identity())
    }
}
