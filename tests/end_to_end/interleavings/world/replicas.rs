//! The replicas: started, and asked to look for what waits.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use pushroll::cache::WatchConfig;

use super::super::model::Broken;
use super::pulled::Pulled;
use super::{LIMIT, World};
use crate::support::gate::Stall;
use crate::support::pulled::OwnSubscription;
use crate::support::replica::Replica;

pub(super) struct Running {
    pub(super) replica: Replica,
    pub(super) sender: usize,
    pub(super) stall: Stall,
    /// Deliveries and looks that it works on.
    pub(super) under_way: Arc<AtomicUsize>,
    pub(super) pulled: Option<Pulled>,
}

impl World {
    pub(super) async fn start(&mut self) -> Running {
        let sender = self.next_sender;
        self.next_sender += 1;
        let stall = Stall::default();
        let client = self.gate.client(sender, &self.place.api, &stall);
        let watch = self.place.watches.then(|| WatchConfig::new(format!("replica-{sender}")));
        let waiting = self.place.waiting();
        let mut replica =
            Replica::start(&self.place.namespace, &waiting, client, self.clock(), watch, self.unseen_grace);
        if self.place.watches {
            let began = Instant::now();
            while !replica.watch_is_live() {
                assert!(began.elapsed() < LIMIT, "the watch does not become live");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        let mut pulled = None;
        if self.place.is_pulled {
            let own = OwnSubscription::create().await;
            let subscription = replica.pull(own.pull_args(), self.clock());
            pulled = Some(Pulled { own, subscription, answers: 0, not_answered: 0 });
        }
        Running { replica, sender, stall, under_way: Arc::default(), pulled }
    }

    /// Waits until everything that is alive waits: at the gate, or for somebody who does.
    pub(super) async fn settle(&mut self) -> Result<(), Broken> {
        let (began, mut quiet) = (Instant::now(), 0);
        let mut seen = self.gate.activity().1;
        // On a real API server others have their say as well, in their own time.
        let enough = if self.place.embedded.is_some() { 1 } else { 3 };
        while quiet < enough {
            for _ in 0..40 {
                tokio::task::yield_now().await;
            }
            let (is_still, arrivals) = self.gate.activity();
            quiet = if is_still && arrivals == seen { quiet + 1 } else { 0 };
            seen = arrivals;
            if self.place.embedded.is_none() || (quiet == 0 && !is_still) {
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            if began.elapsed() > LIMIT {
                return Err("it does not come to rest".to_owned());
            }
        }
        // What is sent from now on knows what is kept by now.
        for (number, sender) in self.gate.patches() {
            let kept = if self.blind.contains(&sender) { Arc::default() } else { Arc::clone(self.model.kept()) };
            self.known_kept.entry(number).or_insert(kept);
        }
        self.collect_pulled();
        let answered = std::mem::take(&mut *self.answered.lock().unwrap());
        for (message, status, answer) in answered {
            self.trace.push(format!("   {} is answered {status} {answer}", self.pushes[message].id));
            if status == 200 {
                self.model.acknowledged(message)?;
            }
        }
        Ok(())
    }

    pub(super) async fn look(&mut self, replica: usize) -> Result<(), Broken> {
        let count = self.replicas.len();
        let Running { replica, under_way, .. } = &mut self.replicas[replica % count];
        replica.look(under_way);
        self.settle().await
    }

    pub(super) async fn look_for_unseen(&mut self, replica: usize) -> Result<(), Broken> {
        let count = self.replicas.len();
        let Running { replica, under_way, .. } = &mut self.replicas[replica % count];
        replica.look_for_unseen(under_way);
        self.settle().await
    }
}
