//! `GET /v1/lookup?image=REF`: which workloads run an image, from memory, without a call to the API server.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::pieces;
use super::problem::Problem;
use super::query::Parameters;
use crate::cache::LoadedIndex;
use crate::cache::proof::Need;
use crate::delivery::answer::Source;
use crate::image::ImageRef;
use crate::telemetry::Serialized;
use crate::workload::WorkloadRef;

/// An answer of more workloads is made in pieces of this many.
const ENTRIES: usize = 64;

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
        self.image_if_any()?.ok_or_else(|| bad_query("name an image: ?image=REF".to_owned()))
    }

    pub(super) fn image_if_any(&self) -> Result<Option<ImageRef>, Problem> {
        let parsed = self.image.as_ref().map(|text| text.parse());
        parsed.transpose().map_err(|error| bad_query(format!("image: {error}")))
    }
}

fn bad_query(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "Bad query", detail)
}

pub(super) async fn lookup(
    State(app): State<Arc<App>>,
    Parameters(query): Parameters<ImageQuery>,
) -> Result<Response, Problem> {
    let image = query.image()?;
    let loaded = app.resolver.current().ok_or_else(|| {
        let detail = "no index is loaded yet: the mount is empty and the cluster is being scanned";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Not ready", detail)
    })?;
    app.deliveries.metrics().count_lookup(Some(loaded.tier));
    let now = Need::Proof { received: Instant::now(), published: app.clock.now() };
    let (proven, unseen) = (app.resolver.meets(Some(&loaded), &now), app.resolver.unproven_parts(&loaded, &now));
    let answer = LookupAnswer {
        image: image.as_written().to_owned(),
        source: Source::of(&loaded, proven, app.resolver.failed_tiers(), unseen),
        workloads: Vec::new(),
    };
    if loaded.index.lookup_part(&image, ENTRIES, 1).is_none() {
        return Ok(Json(LookupAnswer { workloads: loaded.index.lookup(&image), ..answer }).into_response());
    }
    Ok(pieces::answer(in_pieces(&answer, loaded, image)))
}

/// The JSON of the answer, with the workloads that the index names.
fn in_pieces(answer: &LookupAnswer, loaded: Arc<LoadedIndex>, image: ImageRef) -> impl Iterator<Item = Bytes> + use<> {
    let mut from = 0;
    let parts = std::iter::from_fn(move || {
        let part = loaded.index.lookup_part(&image, from, ENTRIES)?;
        from += ENTRIES;
        let list = Serialized::of(&part).bytes();
        Some(list.slice(1..list.len() - 1))
    });
    // An empty piece would be the end of a chunked body.
    pieces::with_items(&Serialized::of(answer), parts.filter(|part| !part.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Tier;
    use crate::index::document::Document;

    #[test]
    fn in_pieces_it_is_the_same_answer() {
        let entries: Vec<_> = (0..ENTRIES * 2 + 1)
            .map(|number| serde_json::json!({"name": format!("web-{number}"), "namespace": "shop"}))
            .collect();
        let digest = format!("sha256:{}", "a".repeat(64));
        for written in ["nginx:1".to_owned(), format!("nginx@{digest}")] {
            let document = serde_json::json!({"images": {written.as_str(): entries, "nginx:2": entries}}).to_string();
            let loaded = Arc::new(LoadedIndex {
                index: Document::decode(document.as_bytes()).unwrap().index,
                tier: Tier::Mount,
                as_of: None,
                covers_scope: false,
                is_narrower: false,
                unseen: Vec::new(),
                scan_began: None,
                loaded_at: jiff::Timestamp::UNIX_EPOCH,
                watch: None,
            });
            let image: ImageRef = written.parse().unwrap();
            let of = |workloads| LookupAnswer {
                image: written.clone(),
                source: Source::of(&loaded, false, Vec::new(), Vec::new()),
                workloads,
            };
            let whole = Serialized::of(&of(loaded.index.lookup(&image)));
            let pieces: Vec<Bytes> = in_pieces(&of(Vec::new()), Arc::clone(&loaded), image).collect();
            assert!(pieces.len() > 3 && pieces.iter().all(|piece| !piece.is_empty()));
            assert_eq!(String::from_utf8(pieces.concat()).unwrap(), whole.as_str());
        }
    }
}
