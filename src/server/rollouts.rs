//! `GET /v1/rollouts`, with `?image=REF`: what became of the last push of each image of each workload.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::app::App;
use super::lookup::ImageQuery;
use super::pieces;
use super::problem::Problem;
use super::query::Parameters;
use crate::cluster;
use crate::following::VerifyPods;
use crate::rollouts::{Look, Seen};
use crate::telemetry::Serialized;

/// Longest time for a look at the cluster.
const LOOK_LIMIT: Duration = Duration::from_secs(120);

/// On the internal listener: from the watched workloads, without a call to the API server.
pub(super) async fn from_memory(
    State(app): State<Arc<App>>,
    Parameters(query): Parameters<ImageQuery>,
) -> Result<Response, Problem> {
    let image = query.image_if_any()?;
    let not_seen = match app.resolver.tiers().watch.live {
        Some(true) => None,
        Some(false) => Some("the watch of the workloads is not live now"),
        None => Some("without serve --watch the workloads are not in memory, and this listener makes no calls"),
    };
    if let Some(why) = not_seen {
        let detail = format!("{why}: ask the admin listener, or run pushroll rollouts");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Not known", detail));
    }
    let mut seen = Seen::new(image.as_ref(), app.waiting.view(), app.clock.now());
    for (workload, object) in app.resolver.cluster().watched().all() {
        seen.add(workload, object);
    }
    let seen = seen.finish(app.resolver.scope(), app.resolver.unseen_parts(), app.waiting.unread());
    Ok(pieces::answer(in_pieces(seen)))
}

/// On the admin listener: from a look at the cluster.
pub(super) async fn looked_at(
    State(app): State<Arc<App>>,
    Parameters(query): Parameters<ImageQuery>,
) -> Result<Response, Problem> {
    let image = query.image_if_any()?;
    let look = Look {
        cluster: app.resolver.cluster(),
        scope: app.resolver.scope(),
        waiting: &app.waiting,
        image: image.as_ref(),
        no_pods: (app.verify_pods == VerifyPods::Off).then_some("--verify-pods is off"),
    };
    let unknown = |detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Not known", detail);
    match cluster::within(Instant::now() + LOOK_LIMIT, look.all()).await {
        Ok(Ok(seen)) => Ok(pieces::answer(in_pieces(seen))),
        Ok(Err(error)) => Err(unknown(format!("the workloads cannot be listed: {error}"))),
        Err(_) => Err(unknown(format!("the workloads could not be looked at within {LOOK_LIMIT:?}"))),
    }
}

/// The JSON of the answer: a piece for each workload.
fn in_pieces(seen: Seen) -> impl Iterator<Item = Bytes> + use<> {
    let head = Serialized::of(seen.head());
    let pushes = (0..seen.workloads()).map(move |place| {
        let list = Serialized::of(&seen.pushes(place)).bytes();
        list.slice(1..list.len() - 1)
    });
    // An empty piece would be the end of a chunked body.
    pieces::with_items(&head, pushes.filter(|piece| !piece.is_empty()))
}
