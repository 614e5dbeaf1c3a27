//! WATCH: the changes of a kind as they come, one JSON object a line
//! (`k8s.io/apiserver/pkg/endpoints/handlers/watch.go`, `.../storage/cacher`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::faults::Outage;
use super::list::Selectors;
use super::request::RequestInfo;
use super::resource::ResourceType;
use super::state::ServerState;
use super::status::Status;
use super::store::{Change, Key};

/// Of a request that names none; the server's own is random, between this and twice this.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);
/// How often a watcher that wants them is sent a bookmark.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// One watch request.
struct Watcher {
    state: Arc<ServerState>,
    resource: &'static ResourceType,
    prefix: Key,
    selectors: Selectors,
    revision: u64,
    end: Instant,
    next_bookmark: Option<Instant>,
    lines: VecDeque<Vec<u8>>,
    is_over: bool,
}

/// Answers a WATCH. Without a revision, or at 0, it begins with what there is.
pub(super) fn watch(
    state: &Arc<ServerState>,
    resource: &'static ResourceType,
    info: &RequestInfo,
) -> Result<Body, Status> {
    let asked = info.revision()?.filter(|revision| *revision > 0);
    let seconds = info.option("timeoutSeconds").and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
    let bookmarks = info.option("allowWatchBookmarks").is_some_and(|value| value == "true");
    let now = Instant::now();
    let mut watcher = Watcher {
        state: Arc::clone(state),
        resource,
        prefix: Key::prefix(resource, info.namespace.as_deref()),
        selectors: Selectors::of(info)?,
        revision: asked.unwrap_or_default(),
        end: now + seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs),
        next_bookmark: bookmarks.then(|| now + BOOKMARK_INTERVAL),
        lines: VecDeque::new(),
        is_over: false,
    };
    if asked.is_none() {
        let snapshot = state.store().snapshot();
        watcher.revision = snapshot.revision;
        let selected = snapshot.list(&watcher.prefix, None).filter(|(_, object)| watcher.selectors.select(object));
        let lines = selected.map(|(_, object)| watcher.line("ADDED", object, None)).collect();
        watcher.lines = lines;
    }
    Ok(Body::from_stream(stream::unfold(watcher, |mut watcher| async {
        let line = watcher.next_line().await?;
        Some((Ok::<_, std::convert::Infallible>(line), watcher))
    })))
}

impl Watcher {
    async fn next_line(&mut self) -> Option<Vec<u8>> {
        let mut revisions = self.state.store().subscribe();
        let mut outage = self.state.outage.subscribe();
        loop {
            // While the API server hangs nothing comes, not even the end. The sender is as old as the server.
            let _ = outage.wait_for(|outage| *outage != Some(Outage::Hang)).await;
            revisions.mark_unchanged();
            if !self.is_over {
                self.read_changes();
            }
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.is_over {
                return None;
            }
            let bookmark = self.next_bookmark.unwrap_or(self.end + BOOKMARK_INTERVAL);
            tokio::select! {
                _ = revisions.changed() => {}
                _ = outage.changed() => {}
                () = tokio::time::sleep_until(self.end) => self.is_over = true,
                () = tokio::time::sleep_until(bookmark) => {
                    self.next_bookmark = Some(bookmark + BOOKMARK_INTERVAL);
                    let bookmark = json!({"metadata": {"creationTimestamp": null}});
                    self.lines.push_back(self.line("BOOKMARK", &bookmark, Some(self.revision)));
                }
            }
        }
    }

    fn read_changes(&mut self) {
        let state = Arc::clone(&self.state);
        let store = state.store();
        let Some(changes) = store.changes_after(self.revision) else {
            let status = Status::revision_too_old(self.revision, store.compacted());
            let event = json!({"type": "ERROR", "object": status.to_json()});
            self.lines.push_back(format!("{event}\n").into_bytes());
            self.is_over = true;
            return;
        };
        let lines: Vec<_> = changes.filter_map(|change| self.line_of(change)).collect();
        self.lines.extend(lines);
        self.revision = self.revision.max(store.revision());
    }

    /// What a change is to this watcher: an object that its selectors do not select any more is gone.
    fn line_of(&self, change: &Change) -> Option<Vec<u8>> {
        change.key.after(&self.prefix)?;
        let selected = |object: &Option<Arc<Value>>| object.clone().filter(|object| self.selectors.select(object));
        let (event, object) = match (selected(&change.before), selected(&change.after)) {
            (None, Some(object)) => ("ADDED", object),
            (Some(_), Some(object)) => ("MODIFIED", object),
            (Some(object), None) => ("DELETED", object),
            (None, None) => return None,
        };
        Some(self.line(event, &object, Some(change.revision)))
    }

    fn line(&self, event: &str, object: &Value, revision: Option<u64>) -> Vec<u8> {
        let mut object = object.clone();
        object["kind"] = json!(self.resource.kind);
        object["apiVersion"] = json!(self.resource.api_version());
        if let Some(revision) = revision {
            object["metadata"]["resourceVersion"] = json!(revision.to_string());
        }
        format!("{}\n", json!({"type": event, "object": object})).into_bytes()
    }
}
