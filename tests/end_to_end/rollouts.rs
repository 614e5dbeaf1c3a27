//! What became of the last push of each image of each workload: `pushroll rollouts` and `GET /v1/rollouts`.

mod answers;
mod watched;

use serde_json::{Value, json};

use crate::support::command::{Ran, run};
use crate::support::fixtures::{PushMessage, digest};
use crate::support::ground::Ground;
use crate::support::kubelet::{Kubelet, Life};
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    answers::tests(suite);
    watched::tests(suite);
    suite.on_both(each_push_is_shown_as_it_ended);
    suite.on_both(a_push_that_waits_is_shown_beside_the_one_before);
    suite.on_both(a_later_restart_supersedes_a_push);
    suite.on_both(without_pods_it_says_so);
    suite.on_both(what_cannot_be_read_is_said);
}

/// A cluster whose pods the test plays, and a service.
struct Stage {
    ground: Ground,
    kubelet: Kubelet,
    service: Service,
}

impl Stage {
    async fn set(ground: Ground) -> Self {
        let kubelet = ground.kubelet().await;
        let arguments = ["--namespaces", ground.namespace(), "--deferred-poll", "100ms", "--watch"];
        let service = ground.service().arguments(arguments).start_ready().await;
        Self { ground, kubelet, service }
    }

    /// A Deployment of two pods with an image of its own, rolled out.
    async fn create(&self, name: &str, annotations: Value) -> (Value, String) {
        let image = self.ground.image(name);
        self.kubelet.push(&image, 1);
        let mut web = self.kubelet.deployment(name, &image, 2);
        web["metadata"]["annotations"] = annotations;
        self.ground.create(&web).await;
        self.kubelet.rolled_out(&web).await;
        (web, image)
    }

    /// Moves the tag, and delivers the push of it.
    async fn push(&self, image: &str, byte: u8) -> PushMessage {
        self.kubelet.push(image, byte);
        self.deliver(image, byte).await
    }

    async fn deliver(&self, image: &str, byte: u8) -> PushMessage {
        let message = PushMessage::now(image, byte);
        let answer = self.service.push(&message).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        message
    }

    async fn rollouts(&self, arguments: &[&str]) -> Ran {
        self.rollouts_as(&self.ground.fresh_user(), arguments).await
    }

    async fn rollouts_as(&self, user: &str, arguments: &[&str]) -> Ran {
        let all = ["rollouts", "--namespaces", self.ground.namespace()];
        let all: Vec<_> = all.into_iter().chain(arguments.iter().copied()).collect();
        self.ground.run_as(user, &all).await
    }

    /// The one push of a workload in an answer that is in this state.
    async fn in_state(&self, name: &str, state: &str, arguments: &[&str]) -> Value {
        eventually(&format!("{name} is {state}"), async || {
            let ran = self.rollouts(&[arguments, &["-o", "json"]].concat()).await;
            push_of(&ran.json(), name, state)
        })
        .await
    }
}

/// The push of a workload that is in this state.
fn push_of(answer: &Value, name: &str, state: &str) -> Option<Value> {
    let pushes = answer["rollouts"].as_array().unwrap().iter();
    pushes.into_iter().find(|push| push["name"] == name && push["state"] == state).cloned()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

async fn each_push_is_shown_as_it_ended(ground: Ground) {
    let stage = Stage::set(ground).await;
    let mut images = Vec::new();
    for name in ["good", "bad", "slow", "untouched"] {
        images.push(stage.create(name, json!({})).await);
    }
    let [(good, good_image), (_, bad_image), (_, slow_image), _] = &images[..] else { panic!() };
    stage.kubelet.refuse_pulls(bad_image, "ImagePullBackOff", "manifest unknown");
    stage.kubelet.digest_lives(3, Life::NotReady);
    let pushed = stage.push(good_image, 2).await;
    stage.deliver(bad_image, 2).await;
    stage.push(slow_image, 3).await;
    stage.kubelet.rolled_out(good).await;

    let failed = stage.in_state("bad", "failed", &[]).await;
    assert!(text(&failed, "reason").starts_with("ImagePullBackOff in pod bad-"), "{failed}");
    stage.in_state("good", "complete", &[]).await;
    stage.kubelet.pods_when(&images[2].0, "new pods", |pods| pods.len() > 2).await;
    let user = stage.ground.fresh_user();
    let ran = stage.rollouts_as(&user, &["-o", "json"]).await;
    let answer = ran.json();
    assert_eq!((ran.code, answer["rollouts"].as_array().unwrap().len()), (1, 3), "{ran:?}");
    let names: Vec<_> = answer["rollouts"].as_array().unwrap().iter().map(|push| text(push, "name")).collect();
    assert_eq!(names, ["slow", "bad", "good"], "the newest push first");
    let complete = push_of(&answer, "good", "complete").unwrap();
    let is_pushed = (&complete["digest"], &complete["message_id"], &complete["image"]);
    assert_eq!(is_pushed, (&json!(pushed.digest), &json!(pushed.id), &json!(good_image)));
    assert!(complete["published"].is_string() && complete["restarted_at"].is_string(), "{complete}");
    assert!(complete["runs"].is_null(), "without an image its pods are not looked at: {complete}");
    let slow = push_of(&answer, "slow", "under_way").unwrap();
    assert_eq!(slow["pods"], json!({"ready": 0, "wanted": 2}), "{slow}");
    let calls: Vec<_> =
        stage.ground.api_calls(&user).into_iter().map(|call| format!("{} {}", call.verb, call.resource)).collect();
    let mut sorted = calls.clone();
    sorted.sort_unstable();
    let expected =
        ["get configmaps", "list daemonsets", "list deployments", "list pods", "list pods", "list statefulsets"];
    assert_eq!(sorted, expected, "pods of rollouts that have not completed");

    let ran = stage.rollouts(&[good_image, "-o", "json"]).await;
    let answer = ran.json();
    assert_eq!((ran.code, answer["rollouts"].as_array().unwrap().len()), (0, 1), "{ran:?}");
    let complete = &answer["rollouts"][0];
    let expected = format!("2 of 2 pods run {}", digest(2));
    assert_eq!((&complete["runs"], text(complete, "reason")), (&json!("pushed_image"), &*expected));

    let ran = stage.rollouts(&[]).await;
    let row = ran.stdout.lines().find(|line| line.contains(" bad ")).unwrap();
    assert!(
        ran.stdout.starts_with("NAMESPACE") && row.contains("failed") && row.contains("ImagePullBackOff"),
        "{ran:?}"
    );
    let ran = stage.rollouts(&[slow_image, "-o", "name"]).await;
    assert_eq!((ran.code, ran.stdout), (1, format!("{}/deployment/slow\n", stage.ground.namespace())));
    let untouched = stage.ground.image("untouched");
    for arguments in [&[&*untouched][..], &["registry.example/nobody:1"]] {
        let ran = stage.rollouts(arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
        assert!(ran.stderr.contains("no workload was restarted for a push of"), "{ran:?}");
    }
    let ran = stage.rollouts(&[&untouched, "-o", "json"]).await;
    assert_eq!((ran.code, &ran.json()["rollouts"]), (3, &json!([])));
}

async fn a_push_that_waits_is_shown_beside_the_one_before(ground: Ground) {
    let stage = Stage::set(ground).await;
    let (web, image) = stage.create("web", json!({"pushroll.dev/cooldown": "1h"})).await;
    stage.push(&image, 2).await;
    let waits = stage.push(&image, 3).await;
    stage.kubelet.rolled_out(&web).await;
    let push = stage.in_state("web", "waits", &[]).await;
    assert_eq!((&push["message_id"], &push["digest"]), (&json!(waits.id), &json!(waits.digest)));
    assert_eq!(push["waits"]["why"], "cooldown", "{push}");
    assert!(push["waits"]["due"].is_string() && push["waits"]["since"].is_string(), "{push}");
    assert!(push["restarted_at"].is_null() && text(&push, "reason").contains("pushroll.dev/cooldown"), "{push}");
    let complete = stage.in_state("web", "complete", &[]).await;
    assert_eq!(complete["digest"], digest(2), "{complete}");
    let ran = stage.rollouts(&[&image]).await;
    assert_eq!((ran.code, ran.stdout.lines().count()), (1, 3), "one waits: {ran:?}");
}

async fn a_later_restart_supersedes_a_push(ground: Ground) {
    let stage = Stage::set(ground).await;
    let (web, image) = stage.create("web", json!({})).await;
    stage.push(&image, 2).await;
    stage.kubelet.rolled_out(&web).await;
    stage.in_state("web", "complete", &[]).await;
    let by_hand = json!({"spec": {"template": {"metadata": {"annotations": {
        "kubectl.kubernetes.io/restartedAt": "2036-11-20T09:16:40Z"}}}}});
    stage.ground.patch(&web, "kubectl-rollout", by_hand).await;
    stage.kubelet.rolled_out(&web).await;
    let push = stage.in_state("web", "superseded", &[&image]).await;
    let reason = text(&push, "reason");
    assert!(
        reason.contains("at 2036-11-20T09:16:40Z, or its pod template was put back; now: 2 of 2 pods are new"),
        "{push}"
    );
    assert!(push["runs"].is_null() && push["digest"] == digest(2), "{push}");
    assert_eq!(stage.rollouts(&[]).await.code, 0, "a later restart is no failure");

    let other = stage.ground.image("other");
    stage.kubelet.push(&other, 1);
    let container = json!({"name": "main", "image": other, "imagePullPolicy": "Always"});
    let change = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    stage.ground.patch(&web, "somebody", change).await;
    let push = stage.in_state("web", "superseded", &[&image]).await;
    assert!(text(&push, "reason").contains("does not run the image any more"), "{push}");
}

async fn without_pods_it_says_so(ground: Ground) {
    let stage = Stage::set(ground).await;
    let (web, image) = stage.create("web", json!({})).await;
    stage.push(&image, 2).await;
    stage.kubelet.rolled_out(&web).await;
    let refusal = "pods is forbidden: User \"u\" cannot list resource \"pods\"";
    let rule = move |request: ApiRequest| {
        let is_of_pods = request.uri.contains("/pods?");
        std::future::ready(if is_of_pods { Passage::Refuse(403, refusal) } else { Passage::Forward })
    };
    let proxy = ApiProxy::start(&stage.ground, rule).await;
    let rollouts = async || {
        let arguments = ["--kubeconfig", proxy.kubeconfig().to_str().unwrap(), "-n", stage.ground.namespace()];
        let more = ["rollouts", &image, "--namespaces", stage.ground.namespace(), "-o", "json"];
        run(&[&arguments[..], &more].concat()).await
    };
    let ran = rollouts().await;
    let push = ran.json()["rollouts"][0].clone();
    assert_eq!((ran.code, &push["state"], &push["runs"]), (0, &json!("complete"), &json!("not_checked")), "{ran:?}");
    assert!(text(&push, "reason").contains("cannot list resource \"pods\""), "{push}");

    stage.kubelet.digest_lives(3, Life::NotReady);
    stage.push(&image, 3).await;
    let push = eventually("it is under way", async || {
        let ran = rollouts().await;
        push_of(&ran.json(), "web", "under_way")
    })
    .await;
    assert!(push["pods"].is_null() && text(&push, "reason").contains("its pods were not looked at"), "{push}");
}

async fn what_cannot_be_read_is_said(ground: Ground) {
    let stage = Stage::set(ground).await;
    let (web, image) = stage.create("web", json!({})).await;
    stage.push(&image, 2).await;
    stage.kubelet.rolled_out(&web).await;
    let refused = async |path: &'static str| {
        let rule = move |request: ApiRequest| {
            let is_it = request.uri.contains(path);
            std::future::ready(if is_it { Passage::Refuse(403, "no permission here") } else { Passage::Forward })
        };
        let proxy = ApiProxy::start(&stage.ground, rule).await;
        let kubeconfig = proxy.kubeconfig().to_str().unwrap().to_owned();
        let arguments = ["--kubeconfig", &kubeconfig, "-n", stage.ground.namespace(), "rollouts"];
        let more = ["--namespaces", stage.ground.namespace(), "-o", "json"];
        run(&[&arguments[..], &more].concat()).await
    };
    let ran = refused("/daemonsets").await;
    let answer = ran.json();
    assert_eq!((ran.code, &answer["unseen_parts"][0]["kind"]), (1, &json!("DaemonSet")), "{ran:?}");
    assert!(push_of(&answer, "web", "complete").is_some() && ran.stderr.contains("no permission here"), "{ran:?}");
    let ran = refused("/configmaps/pushroll-waiting").await;
    let answer = ran.json();
    assert!(text(&answer, "waiting_unread").contains("no permission here") && ran.code == 1, "{ran:?}");
    assert!(push_of(&answer, "web", "complete").is_some(), "{answer}");
    assert_eq!(refused("/apis/apps").await.failed_with_one_sentence().matches("no permission here").count(), 1);

    let junk = json!({"spec": {"template": {"metadata": {"annotations": {"pushroll.dev/pushes": "{"}}}}});
    stage.ground.patch(&web, "somebody", junk).await;
    for arguments in [&[][..], &[&*image]] {
        let ran = stage.rollouts(&[arguments, &["-o", "json"]].concat()).await;
        let answer = ran.json();
        assert_eq!((ran.code, &answer["rollouts"]), (1, &json!([])), "{ran:?}");
        assert_eq!(answer["unreadable_records"][0]["name"], "web", "{answer}");
        assert!(ran.stderr.contains("deployment/web: its record"), "{ran:?}");
    }
    assert_eq!(stage.rollouts(&["registry.example/nobody:1"]).await.code, 3, "it does not run this image");
}
