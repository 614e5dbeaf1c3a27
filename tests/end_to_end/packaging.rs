//! `deploy/`: as kustomize and Helm render it, as the API server admits it, and as much as it permits.
//!
//! The names of the base are those of a cluster, not of a test: the tests of the service share one application of it.
//! The others move what they apply into namespaces of their own.

mod argo;
mod cron_job;
mod gcp;
mod gke;
mod gke_pull;
mod helm;
mod immutable;
mod manifests;
mod namespaced;
mod only_annotations;
mod permission;
mod permissions;
mod refresh_mounts;
mod rendered;
mod roles;
mod stage;

use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    rendered::tests(suite);
    permissions::tests(suite);
    roles::tests(suite);
    cron_job::tests(suite);
    gcp::tests(suite);
    gke::tests(suite);
    gke_pull::tests(suite);
    helm::tests(suite);
    immutable::tests(suite);
    refresh_mounts::tests(suite);
    only_annotations::tests(suite);
    namespaced::tests(suite);
    argo::tests(suite);
}
