//! A model of a workload in place of the API server: a record, and a restart that takes a while. Time is counted in
//! yields of a runtime with one thread.

use jiff::Timestamp;
use proptest::prelude::*;
use tokio::task::yield_now;

use super::*;
use crate::workload::WorkloadKind;

fn push(published: Option<i64>) -> Arc<Push> {
    let at = |seconds| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
    let message_id = published.map(|published| published.to_string());
    Arc::new(Push {
        image: "web:1".parse().unwrap(),
        digest: None,
        published: published.map(at),
        received: at(100),
        message_id,
        clock_agrees: true,
        waiting_since: None,
    })
}

async fn pass(time: u64) {
    for _ in 0..time {
        yield_now().await;
    }
}

/// The workload: what it was restarted for, one after the other.
#[derive(Default)]
struct Model {
    restarts: Mutex<Vec<Arc<Push>>>,
    turns: Turns,
    queued: Gauge,
}

impl Model {
    /// As a restart does: wait for the turn, look, write. Returns the newest push that it restarted for.
    async fn work(&self, own: &Arc<Push>) -> Option<Arc<Push>> {
        let workload = WorkloadRef::new("n", WorkloadKind::Deployment, "w");
        let turn = self.turns.wait(&workload, own, &self.queued).await;
        let is_done = || {
            let restarts = self.restarts.lock();
            own.order().is_some() && restarts.iter().any(|done| done.order() >= own.order())
        };
        if is_done() {
            return None;
        }
        let others = turn.others();
        pass(10).await;
        // The precondition of the PATCH: without a turn another push may have been first.
        if is_done() {
            return None;
        }
        let newer = others.iter().filter(|other| own.order().is_some() && other.order() > own.order());
        let newest = newer.max_by(|a, b| a.order().cmp(&b.order())).unwrap_or(own);
        self.restarts.lock().push(Arc::clone(newest));
        turn.settled([newest]);
        Some(Arc::clone(newest))
    }
}

/// The push that one restarted for, if it did.
type Answer = Option<Option<i64>>;

/// What came of it: pushes by their publish time.
struct Played {
    restarts: Vec<Option<i64>>,
    /// `None` where it gave up.
    answers: Vec<Option<Answer>>,
    queues_left: usize,
}

/// All arrive in this order while the first works. A push with a limit gives up when it has passed.
fn play(pushes: &[(Option<i64>, Option<u64>)]) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let model = Arc::new(Model::default());
        let published = |push: &Arc<Push>| push.published.map(|time| time.as_second() - 1_700_000_000);
        let mut tasks = Vec::new();
        for (time, limit) in pushes {
            let (model, own, limit) = (Arc::clone(&model), push(*time), limit.unwrap_or(u64::MAX));
            tasks.push(tokio::spawn(async move {
                tokio::select! {
                    biased;
                    restarted = model.work(&own) => Some(restarted),
                    () = pass(limit) => None,
                }
            }));
        }
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap().map(|restarted| restarted.as_ref().map(published)));
        }
        let restarts = model.restarts.lock().iter().map(published).collect();
        assert_eq!(model.queued.get(), 0);
        let queues_left = model.turns.0.lock().len();
        Played { restarts, answers, queues_left }
    })
}

#[test]
fn ten_at_once_are_two_restarts_the_last_for_the_newest() {
    let pushes = [1, 5, 3, 9, 2, 10, 4, 8, 6, 7].map(|time| (Some(time), None));
    let Played { restarts, answers, queues_left } = play(&pushes);
    assert_eq!(restarts, [Some(1), Some(10)]);
    assert_eq!(answers[1], Some(Some(Some(10))), "the next in line works for the newest");
    assert_eq!(queues_left, 0);
}

#[test]
fn those_without_a_publish_time_neither_swallow_nor_are_swallowed() {
    let Played { restarts, queues_left, .. } =
        play(&[(Some(1), None), (None, None), (Some(3), None), (None, None), (Some(2), None)]);
    assert_eq!(restarts, [Some(1), None, Some(3), None]);
    assert_eq!(queues_left, 0);
}

#[test]
fn one_message_many_times_is_one_restart() {
    assert_eq!(play(&[(Some(1), None); 10]).restarts, [Some(1)]);
}

proptest! {
    /// Whoever gives up at whatever moment: each of the others is answered with a restart for it or a newer one.
    #[test]
    fn nobody_is_lost(pushes in prop::collection::vec((prop::option::weighted(0.9, 1..20_i64), prop::option::of(0..40_u64)), 1..12)) {
        let Played { restarts, answers, queues_left } = play(&pushes);
        prop_assert_eq!(queues_left, 0);
        let unordered = |limited: bool| pushes.iter().filter(|(time, limit)| time.is_none() && (limited || limit.is_none())).count();
        let rolled = restarts.iter().filter(|time| time.is_none()).count();
        prop_assert!((unordered(false)..=unordered(true)).contains(&rolled), "{:?}", restarts);
        for ((time, _), answer) in pushes.iter().zip(&answers) {
            if time.is_some() && answer.is_some() {
                prop_assert!(restarts.iter().any(|done| done >= time), "{:?} {:?}", time, restarts);
            }
        }
        let ordered: Vec<_> = restarts.iter().flatten().collect();
        prop_assert!(ordered.is_sorted_by(|a, b| a < b), "{:?}", ordered);
        // Nobody gives up: the first, and what came while it worked.
        if pushes.iter().all(|(_, limit)| limit.is_none()) {
            prop_assert!(ordered.len() <= 2 + unordered(true), "{:?}", ordered);
        }
    }
}
