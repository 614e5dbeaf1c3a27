//! Once the service is asked to end, each answer closes its connection: a client that keeps connections open goes
//! elsewhere with its next request, before the listener is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;

/// The routes, with answers that close their connections once the service is draining.
pub(super) fn closing(router: Router, draining: &Arc<AtomicBool>) -> Router {
    router.layer(middleware::from_fn_with_state(Arc::clone(draining), close))
}

async fn close(State(draining): State<Arc<AtomicBool>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // Asked after the request was handled: it may be older than the drain.
    if draining.load(Ordering::Relaxed) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
