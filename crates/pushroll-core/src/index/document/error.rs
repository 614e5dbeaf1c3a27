//! Why a document cannot be used.

use super::head::VERSION;

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not UTF-8.
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// Not JSON of the document's shape. The text is cut: serde_json quotes a value of the wrong type in full.
    #[error("not a cache document: {0}")]
    Malformed(String),
    /// The compressed form is damaged.
    #[error("its gzip form is damaged: {0}")]
    Gzip(#[source] std::io::Error),
    /// The compressed form is a bomb.
    #[error("its gzip form inflates to more than {limit} bytes")]
    Inflated {
        /// The limit.
        limit: u64,
    },
    /// Written by a newer pushroll.
    #[error(
        "its format is version {found}, newer than {VERSION}, the newest that this pushroll reads: upgrade pushroll"
    )]
    TooNew {
        /// The version it names.
        found: u64,
    },
}
