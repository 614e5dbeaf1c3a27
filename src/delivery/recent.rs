//! The last answers, for the status.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::telemetry::Serialized;

/// How many answers are remembered.
const ANSWERS: usize = 50;
/// And with how many workloads in all: one answer with thousands of them pushes older ones out.
const WORKLOADS: usize = 2_000;

#[derive(Debug, Default)]
pub(super) struct RecentAnswers(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    /// Each with the number of its workloads, the newest first.
    answers: VecDeque<(Serialized, usize)>,
    workloads: usize,
}

impl RecentAnswers {
    /// Remembers an answer, and forgets the oldest ones beyond the limits.
    pub(super) fn add(&self, answer: Serialized, workloads: usize) {
        let mut recent = self.0.lock();
        recent.answers.push_front((answer, workloads));
        recent.workloads += workloads;
        while recent.answers.len() > ANSWERS || (recent.answers.len() > 1 && recent.workloads > WORKLOADS) {
            let Some((_, workloads)) = recent.answers.pop_back() else { return };
            recent.workloads -= workloads;
        }
    }

    /// The newest first.
    pub(super) fn all(&self) -> Vec<Serialized> {
        self.0.lock().answers.iter().map(|(answer, _)| answer.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_beyond_either_limit() {
        let recent = RecentAnswers::default();
        let add = |number: usize, workloads| recent.add(Serialized::of(&number), workloads);
        let numbers = || recent.all().iter().map(|answer| answer.as_str().parse().unwrap()).collect::<Vec<usize>>();
        (0..ANSWERS + 2).for_each(|number| add(number, 1));
        assert_eq!(numbers(), (2..ANSWERS + 2).rev().collect::<Vec<_>>());
        add(100, WORKLOADS - 2);
        assert_eq!(numbers(), [100, ANSWERS + 1, ANSWERS]);
        add(101, WORKLOADS + 1);
        assert_eq!(numbers(), [101], "the newest is kept, however large");
        add(102, 0);
        assert_eq!(numbers(), [102]);
    }
}
