//! Pushes that wait for a part of the scope, kept in memory: what the service keeps in the cluster.

use std::sync::Mutex;

use futures_util::future::{BoxFuture, FutureExt as _};
use pushroll::delivery::unseen_pushes::{KeptPush, UnseenPushes};
use pushroll::index::Part;
use pushroll::rollout::Push;

#[derive(Debug, Default)]
pub struct KeptPushes(Mutex<Vec<KeptPush>>);

impl KeptPushes {
    /// `IMAGE for KIND in NAMESPACE`, sorted.
    pub fn described(&self) -> Vec<String> {
        let describe = |kept: &KeptPush| format!("{} for {}", kept.push.image, Part::describe([&kept.part]));
        let mut described: Vec<_> = self.0.lock().unwrap().iter().map(describe).collect();
        described.sort();
        described
    }
}

impl UnseenPushes for KeptPushes {
    fn keep<'a>(&'a self, parts: &'a [Part], push: &'a Push) -> BoxFuture<'a, Result<(), String>> {
        let mut kept = self.0.lock().unwrap();
        kept.retain(|known| known.push.image != push.image || !parts.contains(&known.part));
        kept.extend(parts.iter().map(|part| KeptPush { part: part.clone(), push: push.clone() }));
        std::future::ready(Ok(())).boxed()
    }

    fn kept(&self) -> BoxFuture<'_, Result<Vec<KeptPush>, String>> {
        std::future::ready(Ok(self.0.lock().unwrap().clone())).boxed()
    }

    fn done<'a>(&'a self, done: &'a KeptPush) -> BoxFuture<'a, Result<(), String>> {
        let is_it = |kept: &KeptPush| kept.part == done.part && kept.push.message_id == done.push.message_id;
        self.0.lock().unwrap().retain(|kept| !is_it(kept));
        std::future::ready(Ok(())).boxed()
    }
}
