//! Pub/Sub as an endpoint sees it: every message is delivered until it is answered with 2xx, at least once, with a
//! growing pause in between, and so many at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::fixtures::PushMessage;
use super::http::try_send;
use super::wait::eventually;

/// The pause after the first nack, and the longest. Pub/Sub's are 10 and 600 s.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Messages on their way.
pub struct Deliverer {
    so_far: Arc<SoFar>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct SoFar {
    acked: AtomicUsize,
    deliveries: Mutex<Vec<Delivery>>,
}

/// One delivery of one message.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its status; what broke where there was no answer.
    pub result: Result<u16, String>,
    /// The answer, for those who read why a test failed.
    #[allow(dead_code, reason = "it is shown, and not looked at")]
    pub text: String,
    pub took: Duration,
}

impl Deliverer {
    /// Begins to deliver to these push URLs in turn, at most `at_once`. A redelivery goes to another than before.
    pub fn start(endpoints: &[&str], at_once: usize, messages: impl IntoIterator<Item = PushMessage>) -> Self {
        let (so_far, permits) = (Arc::<SoFar>::default(), Arc::new(Semaphore::new(at_once)));
        let endpoints: Arc<[String]> = endpoints.iter().map(|base| format!("{base}/v1/push")).collect();
        let deliver = |(number, message)| {
            let (so_far, permits, endpoints) = (Arc::clone(&so_far), Arc::clone(&permits), Arc::clone(&endpoints));
            tokio::spawn(async move { so_far.deliver(number, message, &endpoints, &permits).await })
        };
        let tasks = messages.into_iter().enumerate().map(deliver).collect();
        Self { so_far, tasks }
    }

    pub fn acked(&self) -> usize {
        self.so_far.acked.load(Ordering::SeqCst)
    }

    /// Deliveries that were not acknowledged.
    pub fn nacked(&self) -> usize {
        self.so_far.deliveries.lock().unwrap().iter().filter(|delivery| !delivery.is_ack()).count()
    }

    pub async fn until_acked(&self, messages: usize) {
        eventually("so many are acknowledged", async || (self.acked() >= messages).then_some(())).await;
    }

    pub async fn until_nacked(&self, deliveries: usize) {
        eventually("so many are not acknowledged", async || (self.nacked() >= deliveries).then_some(())).await;
    }

    /// Waits until every message is acknowledged, as long as that goes on; gives all deliveries.
    pub async fn all_acked(self) -> Vec<Delivery> {
        while self.acked() < self.tasks.len() {
            let before = self.acked();
            eventually("one more is acknowledged", async || (self.acked() > before).then_some(())).await;
        }
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut self.so_far.deliveries.lock().unwrap())
    }
}

impl SoFar {
    async fn deliver(&self, number: usize, message: PushMessage, endpoints: &[String], permits: &Semaphore) {
        let mut pause = LEAST_PAUSE;
        for attempt in 0.. {
            let permit = permits.acquire().await.unwrap();
            let delivery = deliver_once(&endpoints[(number + attempt) % endpoints.len()], &message).await;
            drop(permit);
            let is_ack = delivery.is_ack();
            self.deliveries.lock().unwrap().push(delivery);
            if is_ack {
                self.acked.fetch_add(1, Ordering::SeqCst);
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn deliver_once(url: &str, message: &PushMessage) -> Delivery {
    let began = Instant::now();
    let answer = try_send(Method::POST, url, &[("content-type", "application/json")], message.body()).await;
    let took = began.elapsed();
    match answer {
        Ok(answer) => Delivery { result: Ok(answer.status.as_u16()), text: answer.text(), took },
        Err(error) => Delivery { result: Err(error.to_string()), text: String::new(), took },
    }
}

impl Delivery {
    pub fn is_ack(&self) -> bool {
        matches!(self.result, Ok(200..=299))
    }
}

/// How often each came.
pub fn results(deliveries: &[Delivery]) -> BTreeMap<String, usize> {
    let mut results = BTreeMap::new();
    for delivery in deliveries {
        let result = delivery.result.as_ref().map_or_else(Clone::clone, u16::to_string);
        *results.entry(result).or_default() += 1;
    }
    results
}
