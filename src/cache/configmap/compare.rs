//! What a write over a stored document comes to.

use std::time::Duration;

use super::{CacheConfigMap, HEAD_REFRESH, WriteError, Written};
use crate::index::Part;
use crate::index::document::{Compared, Document, DocumentError, Head, Images};

/// No scan takes longer than this.
const SCAN_DURATION_MAX: Duration = Duration::from_secs(300);

impl CacheConfigMap {
    /// What a write over this document comes to.
    pub(super) fn compare_json(&self, json: &[u8], head: &Head, images: &Images) -> Result<Written, WriteError> {
        let Compared { head: stored_head, is_incomplete, is_same } = match Document::compare(json, images) {
            Ok(compared) => compared,
            Err(error @ DocumentError::TooNew { .. }) => {
                return Err(WriteError::TooNew { config_map: self.to_string(), reason: error.to_string() });
            }
            Err(_) => return Ok(Written::Changed),
        };
        let (old, new) = (stored_head.covered_scope(), head.covered_scope());
        let (old, new) = (old.as_ref(), new.as_ref());
        if old.zip(new).is_some_and(|(old, new)| old.covers(new) && !new.covers(old)) {
            return Err(WriteError::Narrower(self.to_string()));
        }
        // It proves nothing: what was seen now is worth more.
        if is_incomplete {
            return Ok(Written::Changed);
        }
        if old == new && is_newer(&stored_head, head) {
            return Ok(Written::NewerKept);
        }
        if !is_same {
            return Ok(Written::Changed);
        }
        let head_is_recent = old == new
            && (stored_head.parts.is_empty(), unseen(&stored_head)) == (head.parts.is_empty(), unseen(head))
            && match (stored_head.newest(), head.newest()) {
                (Some(stored), Some(new)) => {
                    stored <= new && stored.checked_add(HEAD_REFRESH).is_ok_and(|due| new < due)
                }
                (_, new) => new.is_none(),
            };
        Ok(if head_is_recent { Written::Unchanged } else { Written::HeadRenewed })
    }
}

/// The parts that could not be seen: a change of these is written, though the images may be the same.
fn unseen(head: &Head) -> Vec<&Part> {
    head.unseen().map(|unseen| &unseen.part).collect()
}

/// Whether the stored scan began after ours. A time long after ours comes from a clock that was wrong: it must not keep
/// every scan out until then.
fn is_newer(stored: &Head, ours: &Head) -> bool {
    match (stored.newest(), ours.newest()) {
        (Some(stored), Some(ours)) => {
            stored > ours && ours.checked_add(SCAN_DURATION_MAX).is_ok_and(|latest| stored <= latest)
        }
        (_, None) | (None, _) => false,
    }
}
