//! Whatever happens in whatever order: pushes, deliveries, crashes, lost answers, conflicts, edits by others, rollbacks,
//! cooldowns, refusals, admission that changes what is written, controllers that put it back, permissions that are missing
//! for a while. proptest makes it up, a gate before the API server decides which call goes next, and a model says what
//! must hold (`interleavings/model.rs`).
//!
//! The cases are the same at each run. `PUSHROLL_INTERLEAVINGS` sets how many are tried, `PUSHROLL_SEED` which.

mod model;
mod plan;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};

use embedded_kubernetes::EmbeddedKubernetes;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::support::chance::random;
use crate::support::ground::Ground;
use crate::support::pulled::is_entrance_of_all;
use crate::support::suite::Suite;
use model::Broken;
use plan::{Plan, plans};
use world::{Place, World};

pub fn tests(suite: &mut Suite) {
    suite.plain(whatever_happens_in_whatever_order);
    suite.plain(whatever_happens_under_a_watch);
    suite.on_control_plane(whatever_happens_on_a_real_api_server);
    suite.pulled(whatever_happens_to_pulled_pushes);
}

async fn whatever_happens_in_whatever_order() {
    in_whatever_order(2000, is_entrance_of_all()).await;
}

async fn whatever_happens_to_pulled_pushes(_: Ground) {
    in_whatever_order(100, true).await;
}

async fn in_whatever_order(cases: u32, is_pulled: bool) {
    let embedded = move || async move {
        let embedded = EmbeddedKubernetes::new();
        let (namespace, prefix) = ("default".to_owned(), "case".to_owned());
        Place { api: embedded.client(), namespace, prefix, watches: false, is_pulled, embedded: Some(embedded) }
    };
    tokio::task::spawn_blocking(move || try_out(0, cases, 30, &embedded))
        .await
        .unwrap()
        .unwrap_or_else(|broken| panic!("{broken}"));
}

/// Few at a time have much to do: a watch is live a second after it was opened.
async fn whatever_happens_under_a_watch() {
    let is_pulled = is_entrance_of_all();
    let embedded = move || async move {
        let embedded = EmbeddedKubernetes::new();
        let (namespace, prefix) = ("default".to_owned(), "case".to_owned());
        Place { api: embedded.client(), namespace, prefix, watches: true, is_pulled, embedded: Some(embedded) }
    };
    let threads = (0..16).map(|thread| tokio::task::spawn_blocking(move || try_out(thread, 4, 30, &embedded)));
    for thread in threads.collect::<Vec<_>>() {
        thread.await.unwrap().unwrap_or_else(|broken| panic!("{broken}"));
    }
}

async fn whatever_happens_on_a_real_api_server(ground: Ground) {
    static CASES: AtomicUsize = AtomicUsize::new(0);
    let (user, is_pulled) = (ground.fresh_user(), is_entrance_of_all());
    let real = move || {
        let (ground, user) = (ground.clone(), user.clone());
        async move {
            let prefix = format!("case-{}", CASES.fetch_add(1, Ordering::SeqCst));
            let api = ground.client_as(&user).await;
            Place { api, namespace: ground.namespace().to_owned(), prefix, watches: false, is_pulled, embedded: None }
        }
    };
    tokio::task::spawn_blocking(move || try_out(0, 30, 20, &real))
        .await
        .unwrap()
        .unwrap_or_else(|broken| panic!("{broken}"));
}

/// Tries `cases` plans of up to `steps` steps, each at a place of its own.
fn try_out<F: Future<Output = Place>>(
    stream: u64,
    cases: u32,
    steps: usize,
    place: &impl Fn() -> F,
) -> Result<(), Broken> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("PUSHROLL_SEED").unwrap_or(1);
    let cases = number("PUSHROLL_INTERLEAVINGS").map_or(cases, |cases| u32::try_from(cases).unwrap());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 3000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, random(seed, stream));
    let outcome = runner.run(&plans(steps), |plan| play(&plan, place).map_err(TestCaseError::fail));
    outcome.map_err(|error| match error {
        TestError::Fail(reason, plan) => format!("seed {seed}/{stream}: {reason}\n{plan:?}"),
        TestError::Abort(reason) => format!("seed {seed}/{stream}: {reason}"),
    })
}

/// Plays a case; where a rule is broken says which, and all that led to it.
fn play<F: Future<Output = Place>>(plan: &Plan, place: &impl Fn() -> F) -> Result<(), Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(place().await, plan).await?;
        let played = world.play(plan).await.map_err(|broken| format!("{broken}\n{}", world.trace.join("\n")));
        world.leave().await;
        played
    })
}
