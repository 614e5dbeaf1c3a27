//! What must hold, whoever does what when. The model plays the registry, which knows what each tag points to, and the
//! kubelets, which pull when a pod template changes. It knows nothing of how pushroll decides.
//!
//! - **Nothing is missed.** When all is quiet, the pods of each workload run what its tags point to. When a push is
//!   acknowledged, each workload that runs the tag has pulled since it was published, or runs that very digest, or the
//!   push (or a newer one of the tag) waits durably in the ConfigMap. What is removed from the ConfigMap is done. A push that waits for a kind of workloads that cannot be seen waits for each
//!   of them. Somebody who undoes a rollout while the pods from before it are alive takes back the pushes that were done,
//!   and none that waits; so does a controller that puts the pod template back.
//! - **Nothing is done twice.** Each restart is for a push that the workload was not restarted for before, unless
//!   somebody else has put an older record back or changed its images meanwhile. That holds also for a record that
//!   admission removes from the pod template, or a controller with the template, once it is kept in the ConfigMap: for
//!   each restart that is sent after that.
//! - **Nothing is done out of order.** What a record says of a tag never becomes older by our hand.
//! - **Nobody else's is touched.** Whoever does not run the tag, or opts out, is left alone; and of a workload nothing
//!   changes but `restartedAt` and the record.
//!
//! The old pods of a rollout are there until it is complete, and a LIST shows them.
//!
//! A restart whose annotations admission removes restarts nothing, unless there were some before. A call that is refused
//! changes nothing, because it never arrives.

mod object;
mod people;
mod restarts;
mod rollouts;
mod stored;
mod workload;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

pub use object::{has_controller, images, record};
pub use restarts::Sent;
pub use stored::Kept;
use stored::Stored;
use workload::{Order, Workload};

/// How something broke a rule.
pub type Broken = String;

#[derive(Debug, Default)]
pub struct Model {
    /// Image reference to what it points to.
    registry: BTreeMap<String, String>,
    pub messages: Vec<Published>,
    workloads: BTreeMap<String, Workload>,
    stored: Stored,
    /// Counts what happens, so that it can be said what was first.
    now: usize,
    /// By the API server's clock, which pods are created by.
    pub time: Timestamp,
}

/// A message of a push.
#[derive(Debug, Clone)]
pub struct Published {
    pub id: String,
    pub image: String,
    pub digest: String,
    /// As in the message, and comparable as text.
    pub published: String,
    pub is_acknowledged: bool,
    at: usize,
}

impl Published {
    fn order(&self) -> Order {
        (self.published.clone(), self.id.clone())
    }
}

impl Model {
    /// The registry moves a tag and publishes that.
    pub fn publish(&mut self, id: String, image: &str, digest: String, published: String) {
        self.now += 1;
        self.registry.insert(image.to_owned(), digest.clone());
        let image = image.to_owned();
        self.messages.push(Published { id, image, digest, published, is_acknowledged: false, at: self.now });
    }

    /// An image that is there from the start.
    pub fn push_silently(&mut self, image: &str, digest: String) {
        self.registry.insert(image.to_owned(), digest);
    }

    pub fn object(&self, name: &str) -> Option<&Value> {
        self.workloads.get(name).map(|workload| &workload.object)
    }

    pub fn names(&self) -> Vec<String> {
        self.workloads.keys().cloned().collect()
    }

    /// Pub/Sub has a 2xx for a message.
    pub fn acknowledged(&mut self, place: usize) -> Result<(), Broken> {
        self.messages[place].is_acknowledged = true;
        let message = &self.messages[place];
        for (name, workload) in self.workloads.iter().filter(|(_, workload)| !workload.has_opted_out) {
            let runs_it = images(&workload.object).contains(&message.image);
            if runs_it && !self.has_seen(name, message) {
                return Err(format!(
                    "the push {} of {} was acknowledged, and {name} neither has it nor keeps it for later: its pods \
                     are {:?}, and {:?} wait",
                    message.id,
                    message.image,
                    workload.pods,
                    self.stored.waiting.keys()
                ));
            }
        }
        Ok(())
    }

    /// To hold when all is quiet.
    pub fn at_rest(&self) -> Result<(), Broken> {
        if !self.stored.waiting.is_empty() {
            let keys = self.stored.waiting.keys();
            let of_missing = |entry: &Value| entry["name"].as_str().is_some_and(|name| self.object(name).is_none());
            if !self.stored.waiting.values().all(of_missing) {
                return Err(format!("in the end {keys:?} wait"));
            }
        }
        for (name, workload) in self.workloads.iter().filter(|(_, workload)| !workload.has_opted_out) {
            for image in images(&workload.object) {
                let pulled = workload.pods.pulled.get(&image).map(|(digest, _)| digest);
                let points_to = self.registry.get(&image);
                let newest = self.messages.iter().rfind(|message| message.image == image);
                if pulled != points_to && !newest.is_some_and(|newest| workload.is_forgiven(newest)) {
                    return Err(format!("in the end the pods of {name} run {pulled:?}, and {image} is {points_to:?}"));
                }
            }
        }
        Ok(())
    }

    /// The pod templates as they are.
    pub fn templates(&self) -> BTreeMap<String, Value> {
        let template = |workload: &Workload| workload.object["spec"]["template"].clone();
        self.workloads.iter().map(|(name, workload)| (name.clone(), template(workload))).collect()
    }
}
