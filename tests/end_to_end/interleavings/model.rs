//! What must hold, whoever does what when. The model plays the registry, which knows what each tag points to, and the
//! kubelets, which pull when a pod template changes. It knows nothing of how pushroll decides.
//!
//! - **Nothing is missed.** When all is quiet, the pods of each workload run what its tags point to. When a push is
//!   acknowledged, each workload that runs the tag has pulled since it was published, or runs that very digest, or the
//!   push (or a newer one of the tag) waits durably in the ConfigMap, or Pub/Sub keeps another that will restart it. What
//!   is removed from the ConfigMap is done. Somebody who undoes a rollout while the pods from before it are alive takes
//!   back the pushes that were done, and none that waits.
//! - **Nothing is done twice.** Each restart is for a push that the workload was not restarted for before, unless
//!   somebody else has put an older record back or changed its images meanwhile.
//! - **Nothing is done out of order.** What a record says of a tag never becomes older by our hand.
//! - **Nobody else's is touched.** Whoever does not run the tag, or opts out, is left alone; and of a workload nothing
//!   changes but `restartedAt` and the record.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const RECORD: &str = "pushroll.dev/pushes";
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
    /// What waits, by its key in the ConfigMap.
    waiting: BTreeMap<String, Value>,
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
    /// The pushes that somebody has taken back by undoing a rollout.
    taken_back: BTreeSet<String>,
    /// Each pod template that it had.
    revisions: Vec<Revision>,
}

#[derive(Debug, Clone)]
struct Revision {
    template: Value,
    /// The annotations that its ReplicaSet then got.
    annotations: Value,
    /// What its pods have pulled.
    pulled: BTreeMap<String, (String, usize)>,
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
        let Revision { template, annotations, .. } = &revisions[revisions.len().checked_sub(1 + ago)?];
        Some((template.clone(), annotations.clone()))
    }

    /// As [`Self::revision`], of one whose pods may still be there and that ran the same images ever since: a push of an
    /// image that the workload did not run meanwhile is none of its business.
    pub fn living_revision(&self, name: &str, ago: usize) -> Option<(Value, Value)> {
        let workload = self.workloads.get(name)?;
        let place = workload.revisions.len().checked_sub(1 + ago)?;
        let images_of = |revision: &Revision| images(&json!({"spec": {"template": revision.template}}));
        let is_same = |revision: &Revision| images_of(revision) == images(&workload.object);
        let is_other = workload.revisions[place].template != workload.object["spec"]["template"];
        (is_other && workload.revisions[place..].iter().all(is_same)).then(|| self.revision(name, ago)).flatten()
    }

    /// Somebody has undone a rollout before it had replaced the pods of the revision so long ago.
    pub fn undone(&mut self, name: &str, after: Value, ago: usize) {
        self.now += 1;
        let waits = |message: &Published| {
            self.waiting.values().any(|entry| entry["name"] == name && entry["message_id"] == message.id)
        };
        let done = self.messages.iter().filter(|message| message.is_acknowledged && !waits(message));
        let done: BTreeSet<String> = done.map(|message| message.id.clone()).collect();
        let workload = self.workloads.get_mut(name).unwrap();
        let pulled = workload.revisions[workload.revisions.len() - 1 - ago].pulled.clone();
        workload.object = after;
        workload.rolled.clear();
        workload.taken_back.extend(done);
        workload.pulled = pulled;
        workload.note_revision();
    }

    /// The ConfigMap of what waits was written. What was removed from it must be done.
    pub fn waiting_written(&mut self, data: &Value) -> Result<String, Broken> {
        let entries = data.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("push."));
        let entries = entries.map(|(key, text)| (key.clone(), serde_json::from_str(text.as_str().unwrap()).unwrap()));
        let before = std::mem::replace(&mut self.waiting, entries.collect());
        for (key, entry) in before.iter().filter(|(key, _)| !self.waiting.contains_key(*key)) {
            let Some(workload) = entry["name"].as_str().and_then(|name| self.workloads.get(name)) else { continue };
            let Some(message) = self.messages.iter().find(|message| entry["message_id"] == message.id) else {
                continue;
            };
            let runs_it = images(&workload.object).contains(&message.image);
            if runs_it && !workload.has_opted_out && !self.has_seen(workload, message) {
                return Err(format!("{key} waits no longer, and its workload has not pulled since"));
            }
        }
        Ok(format!("{:?} wait", self.waiting.keys()))
    }

    fn has_seen(&self, workload: &Workload, message: &Published) -> bool {
        let name = &workload.object["metadata"]["name"];
        let own = (message.published.clone(), message.id.clone());
        let is_of_it = |entry: &&Value| entry["name"] == *name && entry["image"] == message.image;
        let waits = self.waiting.values().filter(is_of_it).any(|entry| order(entry) >= own);
        waits || workload.has_seen(message)
    }

    pub fn created(&mut self, name: &str, object: Value) {
        self.now += 1;
        let mut workload = Workload {
            pulled: BTreeMap::new(),
            pulls_on_resume: false,
            rolled: BTreeSet::new(),
            has_opted_out: false,
            taken_back: BTreeSet::new(),
            revisions: Vec::new(),
            object,
        };
        workload.pull(&self.registry, self.now);
        workload.note_revision();
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
            return Err(format!("{name} was written, and not restarted"));
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
            if runs_it
                && !workload.has_opted_out
                && !self.has_seen(workload, message)
                && !self.is_still_to_come(message, name)
            {
                let pulled = workload.pulled.get(&message.image);
                return Err(format!(
                    "the push {} of {} was acknowledged, and {name} neither has it nor keeps it for later: its pods \
                     have {pulled:?}, and {:?} wait",
                    message.id,
                    message.image,
                    self.waiting.keys()
                ));
            }
        }
        Ok(())
    }

    /// Whether an older push of the tag that brings something else is still to come, from Pub/Sub or because it waits. A
    /// push may be acknowledged because its digest is the one in the record, and the pods have pulled what came in
    /// between: that one will restart the workload.
    fn is_still_to_come(&self, message: &Published, workload: &str) -> bool {
        if self.waiting.values().any(|entry| entry["name"] == workload && entry["image"] == message.image) {
            return true;
        }
        let comes = |other: &&Published| other.at < message.at && !other.is_acknowledged;
        let mut others = self.messages.iter().filter(comes);
        others.any(|other| other.image == message.image && other.digest != message.digest)
    }

    /// Who has something that waits.
    pub fn deferring(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self.waiting.values().filter_map(|entry| entry["name"].as_str()).collect();
        names.into_iter().filter(|name| self.workloads.contains_key(*name)).map(str::to_owned).collect()
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
                let newest = self.messages.iter().rfind(|message| message.image == image);
                let is_taken_back = newest.is_some_and(|newest| workload.taken_back.contains(&newest.id));
                if runs != points_to && !is_taken_back {
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
        let is_new = before["spec"]["template"] != self.object["spec"]["template"];
        self.pulls_on_resume |= is_new;
        if self.pulls_on_resume && !is_paused {
            self.pulls_on_resume = false;
            self.pull(registry, now);
        }
        if is_new {
            self.note_revision();
        } else if let Some(last) = self.revisions.last_mut() {
            (last.annotations, last.pulled) = (self.object["metadata"]["annotations"].clone(), self.pulled.clone());
        }
    }

    fn note_revision(&mut self) {
        let (template, annotations) = (&self.object["spec"]["template"], &self.object["metadata"]["annotations"]);
        let (template, annotations) = (template.clone(), annotations.clone());
        self.revisions.push(Revision { template, annotations, pulled: self.pulled.clone() });
    }

    fn pull(&mut self, registry: &BTreeMap<String, String>, now: usize) {
        let digest = |image: &String| registry.get(image).cloned().unwrap_or_default();
        self.pulled = images(&self.object).into_iter().map(|image| (image.clone(), (digest(&image), now))).collect();
        self.taken_back.clear();
    }

    fn has_seen(&self, message: &Published) -> bool {
        let has_pulled =
            self.pulled.get(&message.image).is_some_and(|(digest, at)| *at >= message.at || *digest == message.digest);
        has_pulled || self.pulls_on_resume || self.taken_back.contains(&message.id)
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
    let annotations = without(&metadata["annotations"], &COUNTS);
    let (labels, of_pods) = (&metadata["labels"], without(&of_pods, &[RESTARTED_AT, RECORD]));
    json!({"labels": labels, "annotations": annotations, "annotations of pods": of_pods, "spec": spec})
}

fn without(map: &Value, keys: &[&str]) -> BTreeMap<String, Value> {
    let entries = map.as_object().into_iter().flatten().filter(|(key, _)| !keys.contains(&key.as_str()));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}
