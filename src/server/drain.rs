//! While the service drains, each answer closes its connection: whoever keeps one open goes elsewhere with the next
//! request, before the listener is gone.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;

use super::App;

/// The routes, with that.
pub(super) fn closing(router: Router, app: &Arc<App>) -> Router {
    router.layer(middleware::from_fn_with_state(Arc::clone(app), close))
}

async fn close(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // Asked for at the end: the request may be older than the drain.
    if app.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
