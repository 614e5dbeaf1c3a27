//! What a document says of itself.

use jiff::Timestamp;

use crate::index::Scope;

/// The format that this version writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// What a document says of itself. All of it may be absent; without it a document proves nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// A time, by the API server's clock, before which nothing can have escaped the scan.
    pub as_of: Option<Timestamp>,
    /// What the scan has seen.
    pub scope: Option<Scope>,
}
