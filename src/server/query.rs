//! Query strings: as axum reads them, refused as a problem.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// As [`axum::extract::Query`].
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "Bad query", detail);
        query.map(|query| Self(query.0)).map_err(|rejection| bad(rejection.body_text()))
    }
}
