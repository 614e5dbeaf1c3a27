//! Where messages of a sink go: a URL, which is a secret, or a file that holds one.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use http::Uri;
use http::uri::Scheme;

/// More than any URL has; a file may be anything.
const URL_BYTES: u64 = 8 * 1024;

/// A URL that is never shown: anybody with the URL of a webhook may post to it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Uri);

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To this URL.
    Url(SecretUrl),
    /// To the URL that this file holds at that time: a mounted Secret.
    File(PathBuf),
}

/// Why a target gives no URL now. It names the file, and nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is missing, or unreadable.
    #[error("the file {} that holds its URL cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// It holds something else.
    #[error("the file {} holds no URL: {problem}", path.display())]
    NoUrl {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the text itself.
        problem: &'static str,
    },
}

impl SecretUrl {
    /// Reads a URL that messages can be sent to.
    ///
    /// # Errors
    /// What is wrong, without the text itself.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let expected = "expected one URL such as https://HOST/PATH";
        let uri: Uri = text.parse().map_err(|_| expected)?;
        if !matches!(uri.scheme(), Some(scheme) if *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP) {
            return Err("expected a URL that begins with https:// or http://");
        }
        let (authority, host) = uri.authority().zip(uri.host()).ok_or(expected)?;
        if authority.as_str().contains('@') {
            return Err("a user and a password in a URL are not supported");
        }
        if host.is_empty() || authority.as_str() != host && authority.port_u16().is_none() {
            return Err(expected);
        }
        Ok(Self(uri))
    }

    /// For the request alone.
    pub(super) fn reveal(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a URL that is not shown)")
    }
}

impl Target {
    /// The URL as it is now. A file is read each time, because the kubelet replaces it when its Secret changes.
    ///
    /// # Errors
    /// [`TargetError`]
    pub async fn url(&self) -> Result<SecretUrl, TargetError> {
        match self {
            Self::Url(url) => Ok(url.clone()),
            Self::File(path) => {
                let file = path.clone();
                let unreadable = |reason| TargetError::Unreadable { path: path.clone(), reason };
                let read = tokio::task::spawn_blocking(move || read(&file)).await;
                let text = read.map_err(|error| unreadable(error.to_string()))?.map_err(unreadable)?;
                let no_url = |problem| TargetError::NoUrl { path: path.clone(), problem };
                match text.trim_ascii() {
                    [] => Err(no_url("it is empty")),
                    text => SecretUrl::parse(std::str::from_utf8(text).unwrap_or_default()).map_err(no_url),
                }
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let said = |error: std::io::Error| error.to_string();
    // To open a pipe would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(said)?;
    if !metadata.is_file() {
        return Err(if metadata.is_dir() { "it is a directory" } else { "it is not a regular file" }.to_owned());
    }
    let mut text = Vec::new();
    std::fs::File::open(path).map_err(said)?.take(URL_BYTES + 1).read_to_end(&mut text).map_err(said)?;
    if text.len() as u64 > URL_BYTES { Err("it is larger than a URL can be".to_owned()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_http_url_is_one() {
        for url in
            ["https://hooks.example.com/services/T0/B0/s3cret", "http://sink.default.svc", "http://[::1]:8080/x?y=z"]
        {
            assert!(SecretUrl::parse(url).is_ok(), "{url}");
        }
        for other in [
            "",
            "hooks.example.com/s3cret",
            "/s3cret",
            "ftp://h/s3cret",
            "https://",
            "https:///s3cret",
            "https://h/a b",
            "https://h/a\nhttps://h/b",
            "https://user:s3cret@h/",
            "https://h:/s3cret",
            "https://h:99999/s3cret",
            "https:s3cret",
        ] {
            let problem = SecretUrl::parse(other).unwrap_err();
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }

    #[tokio::test]
    async fn a_file_is_read_as_it_is_now() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("url");
        let target = Target::File(path.clone());
        let said = async || target.url().await.unwrap_err().to_string();
        assert!(said().await.contains("No such file"));
        for (text, problem) in [
            ("\n", "empty"),
            ("s3cret", "https://"),
            ("https://h/a\nhttps://h/b\n", "one URL"),
            (&*"x".repeat(10_000), "larger than a URL"),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = said().await;
            assert!(said.contains(problem) && !said.contains("s3cret"), "{said}");
        }
        std::fs::write(&path, b"\xff\xfe").unwrap();
        assert!(said().await.contains("holds no URL"));
        for text in ["https://h/one", "https://h/two\r\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(target.url().await.unwrap().reveal().to_string(), text.trim());
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(said().await.contains("it is a directory"));
        assert!(!format!("{:?}", Target::Url(SecretUrl::parse("https://h/s3cret").unwrap())).contains("s3cret"));
    }
}
