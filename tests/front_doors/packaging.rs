//! `deploy/base`: as kustomize renders it, as the API server admits it, and as much as it permits.
//!
//! Its names are those of a cluster, not of a test: these tests share one application of it.

mod base;
mod permissions;
mod rendered;
mod stage;

use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    rendered::tests(suite);
    permissions::tests(suite);
}
