//! What must hold, whoever does what when. The model plays the registry, which knows what each tag points to, and the
//! kubelets, which pull when a pod template changes. It knows nothing of how pushroll decides.
//!
//! - **Nothing is missed.** When all is quiet, the pods of each workload run what its tags point to. When a push is
//!   acknowledged, each workload that runs the tag has pulled since it was published, or runs that very digest, or the
//!   push (or a newer one of the tag) waits durably on the workload, or Pub/Sub keeps another that will restart it.
//! - **Nothing is done twice.** Each restart is for a push that the workload was not restarted for before, unless
//!   somebody else has put an older record back or changed its images meanwhile.
//! - **Nothing is done out of order.** What a record says of a tag never becomes older by our hand.
//! - **Nobody else's is touched.** Whoever does not run the tag, or opts out, is left alone; and of a workload nothing
//!   changes but `restartedAt`, the record and the mark of what waits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const RECORD: &str = "pushroll.dev/pushes";
const DEFERRED: &str = "pushroll.dev/deferred";
const RESTART: &str = "pushroll.dev/restart";

/// What Kubernetes itself counts on a workload.
const COUNTS: [&str; 2] = ["deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"];

/// How something broke a rule.
pub type Broken = String;

#[derive(Debug, Default)]
pub struct Model {
    /// Image reference to what it points to.
    registry: BTreeMap<String, String>,
    pub messages: Vec<Published>,
    workloads: BTreeMap<String, Workload>,
    /// Counts what happens, so that it can be said what was first.
    now: usize,
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

#[derive(Debug)]
struct Workload {
    object: Value,
    /// What its pods have pulled of each image, and when.
    pulled: BTreeMap<String, (String, usize)>,
    /// Paused with another template: the pods pull on resume.
    pulls_on_resume: bool,
    /// The messages that it was restarted for.
    rolled: BTreeSet<String>,
    /// It has opted out at some time: pushes in between are none of its business, and leave no trace.
    has_opted_out: bool,
    /// Each pod template that it had, with the annotations that its ReplicaSet then got.
    revisions: Vec<(Value, Value)>,
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

    /// What `kubectl rollout undo` puts back: the pod template, and the annotations of a Deployment.
    pub fn revision(&self, name: &str, ago: usize) -> Option<(Value, Value)> {
        let revisions = &self.workloads.get(name)?.revisions;
        revisions.len().checked_sub(1 + ago).map(|place| revisions[place].clone())
    }

    pub fn created(&mut self, name: &str, object: Value) {
        self.now += 1;
        let mut workload = Workload {
            pulled: BTreeMap::new(),
            pulls_on_resume: false,
            rolled: BTreeSet::new(),
            has_opted_out: false,
            revisions: vec![(object["spec"]["template"].clone(), object["metadata"]["annotations"].clone())],
            object,
        };
        workload.pull(&self.registry, self.now);
        self.workloads.insert(name.to_owned(), workload);
    }

    pub fn deleted(&mut self, name: &str) {
        self.workloads.remove(name);
    }

    /// Somebody else has written a workload.
    pub fn edited(&mut self, name: &str, after: Value) {
        self.now += 1;
        let workload = self.workloads.get_mut(name).unwrap();
        let before = std::mem::replace(&mut workload.object, after);
        let after = &workload.object;
        if record_text(&before) != record_text(after) || images(&before) != images(after) {
            workload.rolled.clear();
        }
        workload.has_opted_out |= after["metadata"]["annotations"][RESTART] == "false";
        workload.written(&before, &self.registry, self.now);
    }

    /// A call of ours has written a workload. Says what it did.
    pub fn written(&mut self, name: &str, after: Value) -> Result<String, Broken> {
        self.now += 1;
        let Some(workload) = self.workloads.get_mut(name) else {
            return Err(format!("{name} was written, and is not there"));
        };
        let before = std::mem::replace(&mut workload.object, after);
        let after = &workload.object;
        if others(&before) != others(after) {
            return Err(format!("{name}: somebody else's was changed: {} became {}", others(&before), others(after)));
        }
        if before["metadata"]["uid"] != after["metadata"]["uid"] {
            return Err(format!("{name} is another now"));
        }
        if before["spec"]["template"] == after["spec"]["template"] {
            let mark = &after["metadata"]["annotations"][DEFERRED];
            return Ok(format!("{name} is marked: {mark}"));
        }
        if before["metadata"]["annotations"][RESTART] == "false" {
            return Err(format!("{name} opts out, and was restarted"));
        }
        let (old, new) = (record(&before), record(after));
        if template_annotation(&before, RESTARTED_AT) == template_annotation(after, RESTARTED_AT) {
            return Err(format!("{name} has another record, and was not restarted"));
        }
        let runs = images(after);
        let ids: Vec<&str> = new
            .iter()
            .filter(|(image, recorded)| old.get(*image).is_none_or(|old| id(old) != id(recorded)))
            .map(|(_, recorded)| id(recorded))
            .collect();
        if ids.is_empty() {
            return Err(format!("{name} was restarted for no push: the record is {new:?} as before"));
        }
        for id in &ids {
            let Some(message) = self.messages.iter().find(|message| message.id == **id) else {
                return Err(format!("{name}: the record names a message {id} that nobody has published"));
            };
            if !runs.contains(&message.image) {
                return Err(format!("{name} was restarted for {}, which it does not run", message.image));
            }
            if !workload.rolled.insert((*id).to_owned()) {
                return Err(format!("{name} was restarted for the message {id} a second time"));
            }
        }
        for (image, recorded) in &new {
            if old.get(image).is_some_and(|old| order(old) > order(recorded)) {
                return Err(format!("{name}: the record of {image} became older: {:?}, {recorded}", old.get(image)));
            }
        }
        let done = format!("{name} is restarted for {}", ids.join(", "));
        workload.written(&before, &self.registry, self.now);
        Ok(done)
    }

    /// Pub/Sub has a 2xx for a message.
    pub fn acknowledged(&mut self, place: usize) -> Result<(), Broken> {
        self.messages[place].is_acknowledged = true;
        let message = &self.messages[place];
        for (name, workload) in &self.workloads {
            let runs_it = images(&workload.object).contains(&message.image);
            if runs_it && !workload.has_opted_out && !workload.has_seen(message) && !self.is_still_to_come(message) {
                let pulled = workload.pulled.get(&message.image);
                return Err(format!(
                    "the push {} of {} was acknowledged, and {name} neither has it nor keeps it for later: its pods \
                     have {pulled:?}, and {:#}",
                    message.id, message.image, workload.object["metadata"]["annotations"]
                ));
            }
        }
        Ok(())
    }

    /// Whether Pub/Sub still has an older push of the tag that brings something else. A push may be acknowledged because
    /// its digest is the one in the record, and the pods have pulled what came in between: that one's turn is to come.
    fn is_still_to_come(&self, message: &Published) -> bool {
        let comes = |other: &&Published| other.at < message.at && !other.is_acknowledged;
        let mut others = self.messages.iter().filter(comes);
        others.any(|other| other.image == message.image && other.digest != message.digest)
    }

    /// Who has something that waits.
    pub fn deferring(&self) -> Vec<String> {
        let waits = |workload: &Workload| !workload.object["metadata"]["labels"][DEFERRED].is_null();
        self.workloads.iter().filter(|(_, workload)| waits(workload)).map(|(name, _)| name.clone()).collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.workloads.keys().cloned().collect()
    }

    /// To hold when all is quiet.
    pub fn at_rest(&self) -> Result<(), Broken> {
        for (name, workload) in self.workloads.iter().filter(|(_, workload)| !workload.has_opted_out) {
            for image in images(&workload.object) {
                let (runs, points_to) =
                    (workload.pulled.get(&image).map(|(digest, _)| digest), self.registry.get(&image));
                if runs != points_to {
                    return Err(format!("in the end the pods of {name} run {runs:?}, and {image} is {points_to:?}"));
                }
            }
        }
        Ok(())
    }

    /// The pod templates as they are.
    pub fn templates(&self) -> BTreeMap<String, Value> {
        self.workloads
            .iter()
            .map(|(name, workload)| (name.clone(), workload.object["spec"]["template"].clone()))
            .collect()
    }
}

impl Workload {
    fn written(&mut self, before: &Value, registry: &BTreeMap<String, String>, now: usize) {
        let is_paused = self.object["spec"]["paused"] == true;
        let annotations = self.object["metadata"]["annotations"].clone();
        if before["spec"]["template"] != self.object["spec"]["template"] {
            self.revisions.push((self.object["spec"]["template"].clone(), annotations));
            self.pulls_on_resume = true;
        } else if let Some((_, last)) = self.revisions.last_mut() {
            *last = annotations;
        }
        if self.pulls_on_resume && !is_paused {
            self.pulls_on_resume = false;
            self.pull(registry, now);
        }
    }

    fn pull(&mut self, registry: &BTreeMap<String, String>, now: usize) {
        let digest = |image: &String| registry.get(image).cloned().unwrap_or_default();
        self.pulled = images(&self.object).into_iter().map(|image| (image.clone(), (digest(&image), now))).collect();
    }

    fn has_seen(&self, message: &Published) -> bool {
        let has_pulled =
            self.pulled.get(&message.image).is_some_and(|(digest, at)| *at >= message.at || *digest == message.digest);
        let metadata = &self.object["metadata"];
        let waiting = metadata["annotations"][DEFERRED].as_str().filter(|_| !metadata["labels"][DEFERRED].is_null());
        let waiting: Value = waiting.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let own = (message.published.clone(), message.id.clone());
        let waits = order(&waiting[&message.image]) >= own;
        has_pulled || self.pulls_on_resume || waits
    }
}

/// What a workload runs.
pub fn images(object: &Value) -> BTreeSet<String> {
    let containers = object["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
    containers.iter().filter_map(|container| container["image"].as_str().map(str::to_owned)).collect()
}

fn template_annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["spec"]["template"]["metadata"]["annotations"][key].as_str()
}

fn record_text(object: &Value) -> Option<&str> {
    template_annotation(object, RECORD)
}

fn record(object: &Value) -> BTreeMap<String, Value> {
    record_text(object).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn id(recorded: &Value) -> &str {
    recorded["message_id"].as_str().unwrap_or_default()
}

/// All ids of a case are equally long.
fn order(recorded: &Value) -> (String, String) {
    let published = recorded["published"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    (published.map(|time| format!("{time:.3}")).unwrap_or_default(), id(recorded).to_owned())
}

/// What is nobody's to change but its owner's.
fn others(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut spec = object["spec"].clone();
    let of_pods = spec["template"]["metadata"]["annotations"].take();
    let annotations = without(&metadata["annotations"], &[DEFERRED, COUNTS[0], COUNTS[1]]);
    let (labels, of_pods) = (without(&metadata["labels"], &[DEFERRED]), without(&of_pods, &[RESTARTED_AT, RECORD]));
    json!({"labels": labels, "annotations": annotations, "annotations of pods": of_pods, "spec": spec})
}

fn without(map: &Value, keys: &[&str]) -> BTreeMap<String, Value> {
    let entries = map.as_object().into_iter().flatten().filter(|(key, _)| !keys.contains(&key.as_str()));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}
