//! `GET /v1/status`: every tier with its age and errors, the pushes that wait, and the last answers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;

use super::app::App;
use super::auth::SigningKeysStatus;
use super::pieces;
use crate::cache::mount_refresh::MountRefreshStatus;
use crate::cache::status::Tiers;
use crate::cache::{Tier, UnseenPart};
use crate::pull::SubscriptionStatus;
use crate::telemetry::Serialized;

#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready_because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<IndexStatus>,
    tiers: Tiers,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unseen_parts: Vec<UnseenPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_refresh: Option<MountRefreshStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_keys: Option<SigningKeysStatus>,
    /// The subscriptions that are read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions: Vec<SubscriptionStatus>,
    held_pushes: i64,
    /// Always empty: [`pieces::with_items`] adds them.
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
        subscriptions: app.subscriptions.iter().map(|subscription| subscription.status()).collect(),
        held_pushes: app.deliveries.metrics().held_pushes(),
        recent: [],
    };
    // The bytes of the answers are shared by all callers.
    let recent = app.deliveries.recent().into_iter().map(|answer| answer.bytes());
    pieces::answer(pieces::with_items(&Serialized::of(&status), recent))
}
