use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::*;

/// What has happened, each with the second in which it happened.
#[derive(Clone)]
struct Events {
    all: Arc<Mutex<Vec<(u64, &'static str)>>>,
    start: Instant,
}

impl Events {
    fn new() -> Self {
        Self { all: Arc::default(), start: Instant::now() }
    }

    fn note(&self, event: &'static str) {
        self.all.lock().push((self.start.elapsed().as_secs(), event));
    }

    fn all(&self) -> Vec<(u64, &'static str)> {
        self.all.lock().clone()
    }
}

const SECOND: Duration = Duration::from_secs(1);
const SHUTDOWN_AT: u32 = 10;
const DRAIN_DELAY: u32 = 5;

/// A public listener that works for three seconds after its token is cancelled, and an internal one that ends at once.
fn service(events: &Events) -> Lifecycle {
    let mut lifecycle = Lifecycle::new(Arc::default());
    let public = events.clone();
    lifecycle.entrance("public", |end| async move {
        end.cancelled().await;
        public.note("public takes nothing new");
        sleep(SECOND * 3).await;
        public.note("public has ended");
    });
    let internal = events.clone();
    lifecycle.background("internal", |end| async move {
        end.cancelled().await;
        internal.note("internal has ended");
    });
    lifecycle
}

/// Runs it to its end, and notes when it is not ready any more.
async fn run(lifecycle: Lifecycle, events: &Events, shutdown: Shutdown) -> Result<(), String> {
    let (noted, draining) = (events.clone(), lifecycle.draining.clone());
    let not_ready = tokio::spawn(async move {
        while !draining.load(Ordering::Relaxed) {
            sleep(SECOND / 10).await;
        }
        noted.note("not ready");
    });
    let asked = async {
        sleep(SECOND * SHUTDOWN_AT).await;
        shutdown
    };
    let result = lifecycle.run(SECOND * DRAIN_DELAY, asked).await;
    not_ready.await.unwrap();
    result.map_err(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn sigterm_waits_for_the_delay_and_the_internal_listener_outlives_the_public_one() {
    let events = Events::new();
    run(service(&events), &events, Shutdown::AfterDelay).await.unwrap();
    let expected =
        [(10, "not ready"), (15, "public takes nothing new"), (18, "public has ended"), (18, "internal has ended")];
    assert_eq!(events.all(), expected);
}

#[tokio::test(start_paused = true)]
async fn sigint_waits_for_no_delay() {
    let events = Events::new();
    run(service(&events), &events, Shutdown::AtOnce).await.unwrap();
    let times: Vec<u64> = events.all().into_iter().map(|(second, _)| second).collect();
    assert_eq!(times, [10, 10, 13, 13], "{:?}", events.all());
}

#[tokio::test(start_paused = true)]
async fn a_background_task_that_ends_at_any_stage_ends_the_service() {
    for (dies_at, closes_at) in [(4, 4), (12, 12), (16, 15)] as [(u32, u64); 3] {
        let events = Events::new();
        let mut lifecycle = service(&events);
        lifecycle.background("index", |_| sleep(SECOND * dies_at));
        let error = run(lifecycle, &events, Shutdown::AfterDelay).await.unwrap_err();
        assert_eq!(error, "the index ended unexpectedly: it returned", "at {dies_at}");
        let events = events.all();
        // What is in flight is finished all the same.
        let [closed, ended] = [(closes_at, "public takes nothing new"), (closes_at + 3, "public has ended")];
        assert!(events.contains(&closed) && events.contains(&ended), "at {dies_at}: {events:?}");
        assert!(events.contains(&(dies_at.into(), "internal has ended")), "at {dies_at}: {events:?}");
        let not_ready = events.iter().find(|(_, event)| *event == "not ready").unwrap().0;
        assert_eq!(not_ready, u64::from(dies_at.min(SHUTDOWN_AT)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_entrance_may_end_while_draining_and_not_before() {
    for (dies_at, is_error) in [(4, true), (12, true), (16, false)] {
        let events = Events::new();
        let mut lifecycle = service(&events);
        lifecycle.entrance("pull", |_| sleep(SECOND * dies_at));
        let result = run(lifecycle, &events, Shutdown::AfterDelay).await;
        let expected = if is_error { Err("the pull ended unexpectedly: it returned".to_owned()) } else { Ok(()) };
        assert_eq!(result, expected, "at {dies_at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_even_while_draining() {
    let events = Events::new();
    let mut lifecycle = service(&events);
    lifecycle.entrance("pull", |end| async move {
        end.cancelled().await;
        panic!("a bug");
    });
    let error = run(lifecycle, &events, Shutdown::AtOnce).await.unwrap_err();
    assert!(error.starts_with("the pull ended unexpectedly") && error.contains("a bug"), "{error}");
}
