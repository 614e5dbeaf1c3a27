//! `GET /v1/status`: every tier with its age and errors, the pushes that wait, and the last answers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::app::App;
use super::auth::SigningKeysStatus;
use super::pieces;
use crate::cache::mount_refresh::MountRefreshStatus;
use crate::cache::status::Tiers;
use crate::cache::{Tier, UnseenPart};
use crate::telemetry::Serialized;

#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready_because: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<IndexStatus>,
    tiers: Tiers,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unseen_parts: Vec<UnseenPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_refresh: Option<MountRefreshStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_keys: Option<SigningKeysStatus>,
    held_pushes: i64,
    /// Always empty: [`in_pieces`] adds them.
    recent: [(); 0],
}

/// The index that lookups use.
#[derive(Debug, Serialize)]
struct IndexStatus {
    tier: Tier,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
    loaded_at: Timestamp,
    covers_scope: bool,
    images: usize,
    workloads: usize,
}

pub(super) async fn status(State(app): State<Arc<App>>) -> Response {
    let index = app.resolver.current().map(|loaded| IndexStatus {
        tier: loaded.tier,
        as_of: loaded.as_of(),
        loaded_at: loaded.loaded_at,
        covers_scope: loaded.covers_scope && loaded.unseen.is_empty(),
        images: loaded.index.images(),
        workloads: loaded.index.workloads(),
    });
    let not_ready_because = app.not_ready();
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        ready: not_ready_because.is_none(),
        not_ready_because,
        index,
        tiers: app.resolver.tiers(),
        unseen_parts: app.resolver.unseen_parts(),
        mount_refresh: app.resolver.mount_refresh(),
        signing_keys: app.authenticator.as_ref().map(|authenticator| authenticator.signing_keys()),
        held_pushes: app.deliveries.metrics().held_pushes(),
        recent: [],
    };
    pieces::answer(in_pieces(&status, app.deliveries.recent()))
}

/// The JSON of the status, with the last answers, whose bytes are shared by all who ask.
fn in_pieces(status: &Status, recent: Vec<Serialized>) -> impl Iterator<Item = Bytes> + use<> {
    let empty = Serialized::of(status);
    // The list of answers comes last.
    let head = empty.as_str().strip_suffix("]}").unwrap_or_default().to_owned();
    let answers = recent.into_iter().enumerate().flat_map(|(number, answer)| {
        let separator = (number > 0).then_some(Bytes::from_static(b","));
        separator.into_iter().chain([answer.bytes()])
    });
    std::iter::once(Bytes::from(head)).chain(answers).chain([Bytes::from_static(b"]}")])
}
