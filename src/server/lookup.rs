//! `GET /v1/lookup?image=REF`: which workloads run an image, from memory, without a call to the API server.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::problem::Problem;
use super::query::Parameters;
use crate::cache::proof::Need;
use crate::delivery::answer::Source;
use crate::image::ImageRef;
use crate::workload::WorkloadRef;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageQuery {
    image: Option<String>,
}

/// Which workloads run an image.
#[derive(Debug, Serialize)]
pub(crate) struct LookupAnswer {
    pub(crate) image: String,
    pub(crate) source: Source,
    pub(crate) workloads: Vec<WorkloadRef>,
}

impl ImageQuery {
    pub(super) fn image(&self) -> Result<ImageRef, Problem> {
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "Bad query", detail);
        match &self.image {
            None => Err(bad("name an image: ?image=REF".to_owned())),
            Some(text) => text.parse().map_err(|error| bad(format!("image: {error}"))),
        }
    }
}

pub(super) async fn lookup(
    State(app): State<Arc<App>>,
    Parameters(query): Parameters<ImageQuery>,
) -> Result<Json<LookupAnswer>, Problem> {
    let image = query.image()?;
    let loaded = app.resolver.current().ok_or_else(|| {
        let detail = "no index is loaded yet: the mount is empty and the cluster is being scanned";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Not ready", detail)
    })?;
    app.deliveries.metrics().count_lookup(Some(loaded.tier));
    let now = Need::Proof { received: Instant::now(), published: app.clock.now() };
    let (proven, unseen) = (app.resolver.meets(Some(&loaded), &now), app.resolver.unproven_parts(&loaded, &now));
    Ok(Json(LookupAnswer {
        image: image.as_written().to_owned(),
        source: Source::of(&loaded, proven, app.resolver.failed_tiers(), unseen),
        workloads: loaded.index.lookup(&image),
    }))
}
