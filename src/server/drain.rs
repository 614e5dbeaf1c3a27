//! Whether the service is on its way out. From then on each answer closes its connection: a client that keeps
//! connections open goes elsewhere with its next request, before the listener is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;

/// Set once, when the service is asked to end. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Draining(Arc<AtomicBool>);

impl Draining {
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The routes, with answers that close their connections once the service is draining.
pub(super) fn closing(router: Router, draining: &Draining) -> Router {
    router.layer(middleware::from_fn_with_state(draining.clone(), close))
}

async fn close(State(draining): State<Draining>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // Asked after the request was handled: it may be older than the drain.
    if draining.has_begun() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
