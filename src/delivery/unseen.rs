//! Pushes and the parts of the scope that cannot be seen: a push that is answered for the others is kept for such a part,
//! and is carried out when the part can be seen again.
//!
//! Every replica looks on a timer. They need not agree: a restart is done once, by one of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::Deliveries;
use super::resolved::Resolved;
use crate::cache::proof::Need;
use crate::cache::resolver::Unproven;
use crate::cache::{LoadedIndex, unseen};
use crate::cluster;
use crate::index::Part;
use crate::rollout::restart::Mode;
use crate::rollout::waiting::{Changes, UnseenPush, Waiting};
use crate::rollout::{Code, KnownBefore, Push, WorkloadResult};
use crate::workload::WorkloadRef;

/// As long as Pub/Sub keeps a message by default (`messageRetentionDuration`). A namespace that is gone for good must not
/// collect pushes for ever.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Longest wait for a scan, and for the restarts of one push.
const LIMIT: Duration = Duration::from_secs(60);

impl Deliveries {
    /// Notes which parts the index of an answer has not seen, and keeps the push for these. What cannot be kept is not
    /// proven, so the push comes again.
    pub(super) async fn keep_for_unseen(
        &self,
        resolved: &mut Resolved,
        need: &Need,
        push: &Push,
        mode: Mode,
        deadline: Instant,
    ) {
        let kept = cluster::within(deadline, self.try_to_keep(resolved, need, push, mode)).await;
        if kept.is_err() && resolved.unproven.is_none() {
            (resolved.proven, resolved.unproven) = (false, Some(Unproven::TimedOut));
        }
    }

    async fn try_to_keep(&self, resolved: &mut Resolved, need: &Need, push: &Push, mode: Mode) {
        let Some(source) = &resolved.source else { return };
        resolved.unseen = self.resolver.unproven_parts(source, need);
        let forbidden = resolved.results.iter().filter(|result| result.code == Code::Forbidden);
        let mut forbidden: Vec<WorkloadRef> = forbidden.map(WorkloadResult::workload).collect();
        forbidden.retain(|workload| !resolved.unseen.iter().any(|unseen| unseen.part.has(workload)));
        if !forbidden.is_empty() {
            resolved.unseen.extend(self.resolver.excused_parts_of(&forbidden).await);
        }
        if resolved.unseen.is_empty() || resolved.unproven.is_some() || mode == Mode::DryRun {
            return;
        }
        let parts: Vec<Part> = resolved.unseen.iter().map(|unseen| unseen.part.clone()).collect();
        match self.keep(&parts, push).await {
            Ok(()) => resolved.kept_for = parts,
            Err(_) if self.config.allow_stale => {}
            Err(why) => {
                let unseen = unseen::describe(&resolved.unseen);
                let reason = format!("{unseen}; the push cannot be kept until it can be seen: {why}");
                (resolved.proven, resolved.unproven) = (false, Some(Unproven::Failed(reason.into())));
            }
        }
        resolved.leave_to_kept_push();
    }

    /// Looks every `interval` whether a part can be seen again that could not be, and carries out the pushes that were
    /// kept for it, until `shutdown`.
    pub async fn run_unseen(&self, interval: Duration, shutdown: CancellationToken) {
        let mut last_error = None;
        while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            let Some(looked) = shutdown.run_until_cancelled(self.look_for_unseen()).await else { return };
            let error = looked.err();
            if let Some(error) = error.as_ref().filter(|error| last_error.as_ref() != Some(*error)) {
                tracing::warn!("pushes that wait for a part of the scope cannot be carried out: {error}");
            }
            last_error = error;
        }
    }

    /// Looks once whether a part can be seen again that could not be, and carries out the pushes that were kept for it.
    ///
    /// # Errors
    /// Why they cannot be carried out.
    pub async fn look_for_unseen(&self) -> Result<(), String> {
        self.resolver.look_for_unseen_parts(Instant::now() + LIMIT).await;
        self.carry_out_kept().await
    }

    async fn carry_out_kept(&self) -> Result<(), String> {
        let Some(waiting) = &self.waiting else { return Ok(()) };
        let mut loaded = None;
        for kept in waiting.view().unseen() {
            if self.clock.now().duration_since(kept.push.received) > KEPT_FOR {
                tracing::warn!(image = %kept.push.image, "a push is given up: for a week {} could not be seen",
                    Part::describe([&kept.part]));
                done(waiting, kept).await?;
                continue;
            }
            // A part of another scope is not for this process to judge.
            let is_in_scope = self.resolver.scope().overlaps(&kept.part);
            if !is_in_scope || self.resolver.unseen_parts().iter().any(|unseen| unseen.part.overlaps(&kept.part)) {
                continue;
            }
            let loaded = match &loaded {
                Some(loaded) => loaded,
                None => loaded.insert(self.index_from_now_on().await?),
            };
            let is_seen = self.resolver.sees(loaded, &kept.part);
            if is_seen && self.carry_out(loaded, kept).await {
                done(waiting, kept).await?;
            }
        }
        Ok(())
    }

    /// Writes the push down for each of these parts, in place of older ones of its image.
    async fn keep(&self, parts: &[Part], push: &Push) -> Result<(), String> {
        let Some(waiting) = &self.waiting else { return Err("there is no place to keep it".to_owned()) };
        let (view, since) = (waiting.view(), self.resolver.cluster().server_clock().at(self.clock.now()));
        let of_image = |kept: &&UnseenPush| kept.push.image.tag_key() == push.image.tag_key();
        let mut changes = Changes::default();
        for part in parts {
            let of_part = || view.unseen().iter().filter(of_image).filter(|kept| kept.part == *part);
            if push.order().is_some() && of_part().any(|kept| kept.push.order() >= push.order()) {
                continue;
            }
            let is_older = |kept: &&UnseenPush| kept.push.order().is_some() == push.order().is_some();
            changes.done.extend(of_part().filter(is_older).map(UnseenPush::key));
            changes.unseen.push(UnseenPush::new(part, push, since));
        }
        if changes.unseen.is_empty() {
            return Ok(());
        }
        waiting.write(&changes).await.map_err(|error| error.to_string())
    }

    /// An index that misses nothing of now in the parts that it has seen.
    async fn index_from_now_on(&self) -> Result<Arc<LoadedIndex>, String> {
        if let Some(live) = self.resolver.current().filter(|current| current.is_live()) {
            return Ok(live);
        }
        let now = Instant::now();
        let scanned = self.resolver.wait_for(Need::ScanSince(now), now + LIMIT).await;
        scanned.map_err(|error| error.to_string())
    }

    /// Returns whether nothing is left to do.
    async fn carry_out(&self, loaded: &LoadedIndex, kept: &UnseenPush) -> bool {
        let (part, push) = (&kept.part, kept.to_push());
        let followers = loaded.index.followers(&push.image).iter();
        let workloads: Vec<_> = followers.filter(|workload| part.has(workload)).cloned().collect();
        let (push, known) = (Arc::new(push), KnownBefore { index: Some(&loaded.index), done: None });
        let deadline = Instant::now() + LIMIT;
        let results = self.restarter.restart_all(&workloads, &push, Mode::Apply, deadline, known).await;
        for WorkloadResult { reason, code, .. } in &results {
            tracing::info!(image = %push.image, ?code, "a push that waited for a part of the scope: {reason}");
        }
        !results.iter().any(|result| result.code.is_transient_failure())
    }
}

/// A push was carried out for its part, or is given up.
async fn done(waiting: &Waiting, kept: &UnseenPush) -> Result<(), String> {
    let changes = Changes { done: vec![kept.key()], ..Changes::default() };
    waiting.write(&changes).await.map_err(|error| error.to_string())
}
