//! A workload whose template has changed to another image while its old pods are alive.

use serde_json::{Value, json};

use super::{code, ends_with, service};
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::kubelet::{Kubelet, image_id};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;
use crate::support::waiting::{entries, record};

pub fn tests(suite: &mut Suite) {
    suite.on_both(an_undo_of_a_rollout_away_from_the_image_misses_no_push);
    suite.on_both(a_rollout_away_that_is_complete_ends_the_wait);
    suite.on_both(a_pin_is_rolled_away_to_as_well);
    suite.on_both(under_a_watch_an_undo_misses_no_push);
    suite.on_both(explain_says_that_it_rolls_away);
}

/// The image, and another one that nobody can pull.
struct Stuck {
    ground: Ground,
    kubelet: Kubelet,
    image: String,
    other: String,
    web: Value,
}

impl Stuck {
    async fn of(ground: &Ground, kind: impl Fn(&Kubelet, &str) -> Value) -> Self {
        let (kubelet, image, other) = (ground.kubelet().await, ground.image("web"), ground.image("other"));
        kubelet.push(&image, 1);
        kubelet.refuse_pulls(&other, "ErrImagePull", "no such image");
        let web = kind(&kubelet, &image);
        ground.create(&web).await;
        kubelet.rolled_out(&web).await;
        Self { ground: ground.clone(), kubelet, image, other, web }
    }

    async fn change_image(&self, image: &str) {
        let containers = json!([{"name": "main", "image": image, "imagePullPolicy": "Always"}]);
        self.ground
            .patch(&self.web, "someone", json!({"spec": {"template": {"spec": {"containers": containers}}}}))
            .await;
    }

    /// The tag moves, and the push of that waits.
    async fn push_that_waits(&self, service: &Service) -> PushMessage {
        self.change_image(&self.other).await;
        self.kubelet.waits_for(&self.web, "ErrImagePull").await;
        self.kubelet.push(&self.image, 2);
        let push = PushMessage::now(&self.image, 2);
        let answer = service.push(&push).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("deferred")), "{}", answer.text());
        let result = &answer.json()["workloads"][0];
        assert_eq!((&result["action"], &result["code"]), (&json!("deferred"), &json!("rolling_away")), "{result}");
        let waits = entries(&self.ground, "push.").await;
        assert_eq!((waits.len(), &waits[0]["why"]), (1, &json!("rolling_away")), "{waits:?}");
        let line = "pushroll_waiting{why=\"rolling_away\"} 1";
        let metrics = format!("{}/metrics", service.internal);
        eventually("it is counted", async || get(&metrics).await.text().contains(line).then_some(())).await;
        push
    }

    async fn nothing_waits(&self) {
        let is_empty = async || entries(&self.ground, "push.").await.is_empty().then_some(());
        eventually("nothing waits any more", is_empty).await;
    }

    async fn all_run(&self, byte: u8) {
        let run_it = |pods: &[Value]| !pods.is_empty() && pods.iter().all(|pod| ends_with(image_id(pod), byte));
        self.kubelet.pods_when(&self.web, "its pods run the digest", run_it).await;
    }
}

fn deployment(kubelet: &Kubelet, image: &str) -> Value {
    kubelet.deployment("web", image, 2)
}

fn stateful_set(kubelet: &Kubelet, image: &str) -> Value {
    kubelet.stateful_set("web", image, 2)
}

async fn an_undo_of_a_rollout_away_from_the_image_misses_no_push(ground: Ground) {
    let stuck = Stuck::of(&ground, deployment).await;
    let service = service(&ground).await;
    let push = stuck.push_that_waits(&service).await;
    stuck.change_image(&stuck.image).await;
    stuck.all_run(2).await;
    stuck.nothing_waits().await;
    assert_eq!(record(&ground.get(&stuck.web).await)[&stuck.image]["message_id"], push.id);
}

async fn a_rollout_away_that_is_complete_ends_the_wait(ground: Ground) {
    let stuck = Stuck::of(&ground, stateful_set).await;
    let service = service(&ground).await;
    stuck.push_that_waits(&service).await;
    stuck.kubelet.push(&stuck.other, 9);
    stuck.nothing_waits().await;
    stuck.all_run(9).await;
    let said = |line: &Value| line["message"].to_string().contains("a push waits no longer: it does not run");
    assert!(service.log().iter().any(said), "{:?}", service.log());
    let generation = ground.generation(&stuck.web).await;
    assert_eq!(generation, 2, "the change of the image alone");
}

async fn a_pin_is_rolled_away_to_as_well(ground: Ground) {
    let stuck = Stuck::of(&ground, deployment).await;
    let service = service(&ground).await;
    let pinned = format!("{}@{}", stuck.image, crate::support::fixtures::digest(9));
    stuck.kubelet.refuse_pulls(&pinned, "ErrImagePull", "no such digest");
    let stuck = Stuck { other: pinned, ..stuck };
    let push = stuck.push_that_waits(&service).await;
    stuck.kubelet.push(&stuck.other, 9);
    stuck.nothing_waits().await;
    assert_eq!(code(&service, &push, &stuck.web).await, "pinned_by_digest");
}

/// Under a watch the index follows the template at once, so a push that has come before waits for something else first.
async fn under_a_watch_an_undo_misses_no_push(ground: Ground) {
    let stuck = Stuck::of(&ground, |kubelet, image| {
        let mut web = deployment(kubelet, image);
        web["metadata"]["annotations"] = json!({"pushroll.dev/cooldown": "3s"});
        web
    })
    .await;
    let arguments = ["--hold", "60s", "--namespaces", ground.namespace(), "--deferred-poll", "100ms", "--watch"];
    let service = ground.service().arguments(arguments).start_ready().await;
    service.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    assert_eq!(code(&service, &PushMessage::now(&stuck.image, 1), &stuck.web).await, "runs_image");
    assert_eq!(code(&service, &PushMessage::now(&stuck.image, 2), &stuck.web).await, "cooldown");
    stuck.kubelet.push(&stuck.image, 2);
    stuck.change_image(&stuck.other).await;
    let rolls_away = async || (entries(&ground, "push.").await.first()?["why"] == "rolling_away").then_some(());
    eventually("it waits for the end of the rollout", rolls_away).await;
    stuck.change_image(&stuck.image).await;
    stuck.all_run(2).await;
    stuck.nothing_waits().await;
}

async fn explain_says_that_it_rolls_away(ground: Ground) {
    let stuck = Stuck::of(&ground, deployment).await;
    let service = service(&ground).await;
    stuck.change_image(&stuck.other).await;
    stuck.kubelet.waits_for(&stuck.web, "ErrImagePull").await;
    let url = format!("{}/v1/explain?image={}", service.admin, stuck.image);
    let explained = get(&url).await.json();
    assert_eq!(explained["workloads"][0]["code"], "rolling_away", "{explained}");
    assert_eq!(entries(&ground, "push.").await, [Value::Null; 0]);
}
