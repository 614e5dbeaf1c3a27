//! `GET /openapi.yaml`: the contract, as it stands in the repository.

use axum::http::header;
use axum::response::IntoResponse;

/// OpenAPI 3.1 of all three listeners.
pub(crate) const OPENAPI: &str = include_str!("../../openapi.yaml");

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/yaml")], OPENAPI)
}
