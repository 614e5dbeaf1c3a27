//! Where pushes wait for a part of the scope that cannot be seen: the boundary to what stores them.

use std::fmt::Debug;

use futures_util::future::{BoxFuture, FutureExt as _};

use crate::index::Part;
use crate::rollout::Push;

/// A push that waits for a part of the scope.
#[derive(Debug, Clone)]
pub struct KeptPush {
    /// The part that could not be seen when the push came.
    pub part: Part,
    /// The push.
    pub push: Push,
}

/// Keeps pushes for parts of the scope that cannot be seen: the newest of each image and part, found by every replica.
/// An error is a sentence on why that is not possible now.
pub trait UnseenPushes: Debug + Send + Sync {
    /// Keeps a push for each of these parts, until it is done. When this returns, it is stored for good.
    fn keep<'a>(&'a self, parts: &'a [Part], push: &'a Push) -> BoxFuture<'a, Result<(), String>>;

    /// All that is kept.
    fn kept(&self) -> BoxFuture<'_, Result<Vec<KeptPush>, String>>;

    /// Removes a push that was carried out for its part. A newer one that was kept meanwhile stays.
    fn done<'a>(&'a self, kept: &'a KeptPush) -> BoxFuture<'a, Result<(), String>>;
}

/// Keeps nothing: a push that some part has not been looked at for comes again.
#[derive(Debug)]
pub struct KeepsNoPushes;

impl UnseenPushes for KeepsNoPushes {
    fn keep<'a>(&'a self, _parts: &'a [Part], _push: &'a Push) -> BoxFuture<'a, Result<(), String>> {
        std::future::ready(Err("there is no place to keep it".to_owned())).boxed()
    }

    fn kept(&self) -> BoxFuture<'_, Result<Vec<KeptPush>, String>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn done<'a>(&'a self, _kept: &'a KeptPush) -> BoxFuture<'a, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }
}
