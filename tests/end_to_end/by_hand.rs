//! Pushes, and people with kubectl in between: the same digest published again is done already where all pods run it,
//! whatever people have done; another digest, and the first one again, always roll.
//!
//! The same steps by merge patches that leave the same traces (on both grounds), and by the real commands.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, daemon_set, deployment, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::kubectl::kubectl_name;
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const RECORD: &str = "pushroll.dev/pushes";

/// Of a workload: namespace, name, image.
type Manifest = fn(&str, &str, &str) -> Value;

pub fn tests(suite: &mut Suite) {
    suite.on_both(the_same_digest_again_rolls_what_a_person_made_run_another);
    suite.on_control_plane(the_same_digest_again_rolls_what_kubectl_made_run_another);
    suite.on_both(the_same_push_again_is_done_whatever_a_person_does_in_between);
    suite.on_both(there_and_back_rolls_twice_whatever_a_person_does_in_between);
    suite.on_control_plane(there_and_back_rolls_twice_whatever_kubectl_does_in_between);
    suite.on_control_plane(what_kubectl_has_restarted_since_the_push_is_current);
}

async fn the_same_digest_again_rolls_what_a_person_made_run_another(ground: Ground) {
    the_same_digest_again(ground, Hands::Patches).await;
}

async fn the_same_digest_again_rolls_what_kubectl_made_run_another(ground: Ground) {
    the_same_digest_again(ground, Hands::Kubectl).await;
}

async fn there_and_back_rolls_twice_whatever_a_person_does_in_between(ground: Ground) {
    there_and_back(ground, Hands::Patches).await;
}

async fn there_and_back_rolls_twice_whatever_kubectl_does_in_between(ground: Ground) {
    there_and_back(ground, Hands::Kubectl).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Nothing,
    Restart,
    Undo,
    PauseAndResume,
    Scale,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hands {
    Patches,
    Kubectl,
}

/// A person at work. Remembers what `undo` would bring back.
struct Person<'a> {
    ground: &'a Ground,
    hands: Hands,
    /// The annotations of the pod templates of each workload, the oldest first.
    revisions: BTreeMap<String, Vec<Value>>,
}

impl Act {
    fn all_for(kind: &str) -> &'static [Self] {
        match kind {
            "Deployment" => &[Self::Nothing, Self::Restart, Self::Undo, Self::PauseAndResume, Self::Scale],
            "StatefulSet" => &[Self::Restart, Self::Undo, Self::Scale],
            _ => &[Self::Restart, Self::Undo],
        }
    }
}

impl<'a> Person<'a> {
    fn new(ground: &'a Ground, hands: Hands) -> Self {
        Self { ground, hands, revisions: BTreeMap::new() }
    }

    /// To be called after each change of a pod template, the creation included.
    async fn look_at(&mut self, workload: &Value) {
        if self.hands == Hands::Kubectl {
            self.ground.observed(workload).await;
        }
        let template = self.ground.get(workload).await["spec"]["template"]["metadata"]["annotations"].clone();
        self.revisions.entry(kubectl_name(workload)).or_default().push(template);
    }

    async fn act(&mut self, workload: &Value, act: Act) {
        self.wait_for_the_next_second(workload).await;
        match self.hands {
            Hands::Patches => self.patch(workload, act).await,
            Hands::Kubectl => self.kubectl(workload, act).await,
        }
        self.look_at(workload).await;
    }

    async fn kubectl(&self, workload: &Value, act: Act) {
        let name = kubectl_name(workload);
        let verbs: &[&[&str]] = match act {
            Act::Nothing => &[],
            Act::Restart => &[&["rollout", "restart"]],
            Act::Undo => &[&["rollout", "undo"]],
            Act::PauseAndResume => &[&["rollout", "pause"], &["rollout", "resume"]],
            Act::Scale => &[&["scale", "--replicas=2"]],
        };
        for verb in verbs {
            self.ground.kubectl(&[verb, &[name.as_str()][..]].concat()).await;
        }
    }

    async fn patch(&self, workload: &Value, act: Act) {
        let annotations =
            |annotations: Value| json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        let now = format!("{:.0}", Timestamp::now());
        let steps: Vec<(&str, Value)> = match act {
            Act::Nothing => vec![],
            Act::Restart => vec![("kubectl-rollout", annotations(json!({RESTARTED_AT: now})))],
            Act::Undo => {
                let [.., before, _] = &self.revisions[&kubectl_name(workload)][..] else { panic!("nothing to undo") };
                let restored = json!({RESTARTED_AT: before[RESTARTED_AT], RECORD: before[RECORD]});
                vec![("kubectl", annotations(restored))]
            }
            Act::PauseAndResume => vec![
                ("kubectl-rollout", json!({"spec": {"paused": true}})),
                ("kubectl-rollout", json!({"spec": {"paused": null}})),
            ],
            Act::Scale => vec![("kubectl", json!({"spec": {"replicas": 2}}))],
        };
        for (manager, patch) in steps {
            self.ground.patch(workload, manager, patch).await;
        }
    }

    /// `kubectl rollout restart` in the second of the last restart writes what is there already: nothing.
    async fn wait_for_the_next_second(&self, workload: &Value) {
        let template = self.ground.get(workload).await["spec"]["template"].clone();
        let Some(last) = template["metadata"]["annotations"][RESTARTED_AT].as_str() else { return };
        let next = last.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(1);
        eventually("a second has passed", async || (Timestamp::now() > next).then_some(())).await;
    }
}

/// One workload of each kind and for each of `acts`, all of the same image.
fn workloads_for<T: Copy + std::fmt::Debug>(
    ground: &Ground,
    image: &str,
    acts: impl Fn(&str) -> Vec<T>,
) -> Vec<(Value, T)> {
    let kinds: [(&str, Manifest); 3] =
        [("Deployment", deployment), ("StatefulSet", stateful_set), ("DaemonSet", daemon_set)];
    let of_kind = |(kind, workload): (&str, Manifest)| {
        let numbered = acts(kind).into_iter().enumerate();
        numbered
            .map(|(number, act)| {
                (workload(ground.namespace(), &format!("{}-{number}", kind.to_lowercase()), image), act)
            })
            .collect::<Vec<_>>()
    };
    kinds.into_iter().flat_map(of_kind).collect()
}

async fn push(service: &Service, image: &str, digest_byte: u8) -> Value {
    let answer = service.push(&PushMessage::now(image, digest_byte)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn the_same_digest_again(ground: Ground, hands: Hands) {
    let (kubelet, image) = (ground.kubelet().await, ground.image("web"));
    kubelet.push(&image, 0xa1);
    let workloads = workloads_for(&ground, &image, |kind| Act::all_for(kind).to_vec());
    let workloads: Vec<_> = workloads.into_iter().map(|(workload, act)| (kubelet.plays(workload), act)).collect();
    let mut person = Person::new(&ground, hands);
    for (workload, _) in &workloads {
        ground.create(workload).await;
        person.look_at(workload).await;
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    assert_eq!(push(&service, &image, 0xa1).await["outcome"], "restarted");
    for (workload, _) in &workloads {
        person.look_at(workload).await;
        kubelet.rolled_out(workload).await;
    }
    for is_moved in [false, true] {
        // The tag moves and moves back, and nobody publishes that. What starts meanwhile pulls it.
        if is_moved {
            kubelet.push(&image, 0xa2);
        }
        for (workload, act) in &workloads {
            person.act(workload, *act).await;
        }
        for (workload, _) in &workloads {
            kubelet.rolled_out(workload).await;
        }
        kubelet.push(&image, 0xa1);
        let again = push(&service, &image, 0xa1).await;
        for (workload, act) in &workloads {
            // An undo takes the record back, so nothing says that a look at the pods is worth it.
            let rolls = *act == Act::Undo || (is_moved && *act == Act::Restart);
            let result = result_of(&again, workload);
            assert_eq!(result["code"], if rolls { "runs_image" } else { "same_digest" }, "{act:?}: {result}");
        }
    }
}

/// But where undo has taken the record away with the rest.
async fn the_same_push_again_is_done_whatever_a_person_does_in_between(ground: Ground) {
    let image = ground.image("web");
    let acts = |kind: &str| Act::all_for(kind).iter().copied().filter(|act| *act != Act::Undo).collect();
    let workloads = workloads_for(&ground, &image, acts);
    for (workload, _) in &workloads {
        ground.create(workload).await;
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let message = PushMessage::now(&image, 0xa1);
    assert_eq!(service.push(&message).await.json()["outcome"], "restarted");
    let mut person = Person::new(&ground, Hands::Patches);
    for (workload, act) in &workloads {
        person.act(workload, *act).await;
    }
    let redelivery = service.push(&message).await.json();
    for (workload, act) in &workloads {
        assert_eq!(result_of(&redelivery, workload)["code"], "already_restarted", "{act:?}");
    }
}

/// What happens after the first push and after the second: every pair, or those that matter.
fn pairs(kind: &str, every_pair: bool) -> Vec<(Act, Act)> {
    use Act::{PauseAndResume, Restart, Scale, Undo};
    match kind {
        _ if every_pair => {
            let acts = Act::all_for(kind).iter();
            acts.flat_map(|first| Act::all_for(kind).iter().map(move |second| (*first, *second))).collect()
        }
        "Deployment" => vec![
            (Restart, Restart),
            (Restart, Undo),
            (Undo, Restart),
            (Undo, Undo),
            (PauseAndResume, Scale),
            (Scale, PauseAndResume),
        ],
        _ => vec![(Restart, Undo), (Undo, Restart)],
    }
}

async fn there_and_back(ground: Ground, hands: Hands) {
    let image = ground.image("web");
    let every_pair = !ground.is_control_plane();
    let workloads = workloads_for(&ground, &image, |kind| pairs(kind, every_pair));
    let mut person = Person::new(&ground, hands);
    for (workload, _) in &workloads {
        ground.create(workload).await;
        person.look_at(workload).await;
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    for (step, digest_byte) in [0xa1, 0xa2, 0xa1].into_iter().enumerate() {
        let mut before = Vec::new();
        for (workload, _) in &workloads {
            before.push(ground.generation(workload).await);
        }
        let answer = push(&service, &image, digest_byte).await;
        for ((workload, acts), before) in workloads.iter().zip(before) {
            let result = result_of(&answer, workload);
            assert_eq!(result["action"], "restarted", "step {step} of {acts:?}: {result}");
            assert_eq!(ground.generation(workload).await, before + 1, "step {step} of {acts:?}");
            person.look_at(workload).await;
            match step {
                0 => person.act(workload, acts.0).await,
                1 => person.act(workload, acts.1).await,
                _ => {}
            }
        }
    }
}

async fn what_kubectl_has_restarted_since_the_push_is_current(ground: Ground) {
    let image = ground.image("web");
    let workloads = workloads_for(&ground, &image, |_| vec![Act::Restart]);
    let mut person = Person::new(&ground, Hands::Kubectl);
    for (workload, act) in &workloads {
        ground.create(workload).await;
        person.look_at(workload).await;
        person.act(workload, *act).await;
    }
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let published = Timestamp::now() - SignedDuration::from_mins(5);
    let answer = service.push(&PushMessage { published, ..PushMessage::now(&image, 0xa1) }).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("current")), "{}", answer.text());
    for (workload, _) in &workloads {
        assert_eq!(result_of(&answer.json(), workload)["code"], "restarted_by_other");
    }
    assert_eq!(service.patched(), [""; 0]);
}
