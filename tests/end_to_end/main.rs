//! End-to-end tests: through HTTP, the command line and the Kubernetes API.
//!
//! Each test that talks to Kubernetes runs on two grounds, `embedded::NAME` and `control_plane::NAME`: the same
//! code, so that the embedded API cannot drift from the real one. The control plane is started once, on first
//! use, and ends with this program. Without the testbed's binaries (`make test` builds them) its tests are
//! reported as ignored.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin_callers;
mod admission;
mod api_away;
mod api_busy;
mod api_cost;
mod auth;
mod bad_input;
mod bursts;
mod by_hand;
mod chain;
mod cli_check;
mod cli_explain;
mod cli_lookup;
mod cli_rebuild;
mod cli_replay;
mod cli_restart;
mod clocks;
mod conformance;
mod contention;
mod contract;
mod cooldown;
mod crashes;
mod decisions;
mod demo;
mod document_size;
mod doors;
mod events;
mod exactly_once;
mod fanout;
mod first_receipts;
mod floods;
mod following;
mod foreign_documents;
mod forgiven_documents;
mod formats;
mod freshness;
mod immutable;
mod index;
mod interleavings;
mod kills;
mod kubeconfig;
mod large_documents;
mod log;
mod mount;
mod mount_refresh;
mod notify;
mod openapi;
mod outages;
mod outcomes;
mod own_image;
mod own_roll;
mod packaging;
mod passed_over;
mod payloads;
mod pods;
mod printed;
mod probes;
mod promise;
mod pubsub_server;
mod pull;
mod reapplied;
mod restart;
mod rolled;
mod rollouts;
mod shutdown;
mod slow_writes;
mod store;
mod storms;
mod support;
mod tier_failures;
mod unread;
mod unseen_parts;
mod usage;
mod versions_in_use;
mod waiting;
mod watch;
mod write_back;

use std::process::ExitCode;

use support::pulled::is_entrance_of_all;
use support::suite::Suite;

fn main() -> ExitCode {
    if store::write_if_told() {
        return ExitCode::SUCCESS;
    }
    let mut suite = Suite::new();
    if is_entrance_of_all() {
        add_proofs(&mut suite);
        return suite.run();
    }
    api_cost::tests(&mut suite);
    api_busy::tests(&mut suite);
    first_receipts::tests(&mut suite);
    floods::tests(&mut suite);
    auth::tests(&mut suite);
    conformance::tests(&mut suite);
    doors::tests(&mut suite);
    store::tests(&mut suite);
    api_away::tests(&mut suite);
    chain::tests(&mut suite);
    clocks::tests(&mut suite);
    freshness::tests(&mut suite);
    unseen_parts::tests(&mut suite);
    index::tests(&mut suite);
    mount::tests(&mut suite);
    mount_refresh::tests(&mut suite);
    write_back::tests(&mut suite);
    reapplied::tests(&mut suite);
    restart::tests(&mut suite);
    decisions::tests(&mut suite);
    exactly_once::tests(&mut suite);
    fanout::tests(&mut suite);
    following::tests(&mut suite);
    contention::tests(&mut suite);
    crashes::tests(&mut suite);
    interleavings::tests(&mut suite);
    kills::tests(&mut suite);
    kubeconfig::tests(&mut suite);
    storms::tests(&mut suite);
    cooldown::tests(&mut suite);
    bursts::tests(&mut suite);
    by_hand::tests(&mut suite);
    pods::tests(&mut suite);
    admission::tests(&mut suite);
    admin_callers::tests(&mut suite);
    rolled::tests(&mut suite);
    rollouts::tests(&mut suite);
    bad_input::tests(&mut suite);
    cli_check::tests(&mut suite);
    cli_explain::tests(&mut suite);
    cli_lookup::tests(&mut suite);
    cli_rebuild::tests(&mut suite);
    immutable::tests(&mut suite);
    cli_replay::tests(&mut suite);
    cli_restart::tests(&mut suite);
    demo::tests(&mut suite);
    events::tests(&mut suite);
    outcomes::tests(&mut suite);
    large_documents::tests(&mut suite);
    document_size::tests(&mut suite);
    foreign_documents::tests(&mut suite);
    forgiven_documents::tests(&mut suite);
    formats::tests(&mut suite);
    log::tests(&mut suite);
    notify::tests(&mut suite);
    outages::tests(&mut suite);
    own_roll::tests(&mut suite);
    own_image::tests(&mut suite);
    passed_over::tests(&mut suite);
    payloads::tests(&mut suite);
    printed::tests(&mut suite);
    probes::tests(&mut suite);
    promise::tests(&mut suite);
    pull::tests(&mut suite);
    pubsub_server::tests(&mut suite);
    shutdown::tests(&mut suite);
    slow_writes::tests(&mut suite);
    tier_failures::tests(&mut suite);
    unread::tests(&mut suite);
    usage::tests(&mut suite);
    waiting::tests(&mut suite);
    versions_in_use::tests(&mut suite);
    watch::tests(&mut suite);
    openapi::tests(&mut suite);
    contract::tests(&mut suite);
    packaging::tests(&mut suite);
    suite.run()
}

/// What proves the promise for a push, and can be pulled as well (`PUSHROLL_ENTRANCE=pull`).
fn add_proofs(suite: &mut Suite) {
    exactly_once::tests(suite);
    contention::tests(suite);
    crashes::tests(suite);
    bursts::tests(suite);
    cooldown::tests(suite);
    clocks::tests(suite);
    kills::tests(suite);
    storms::tests(suite);
    outages::tests(suite);
    interleavings::tests(suite);
}
