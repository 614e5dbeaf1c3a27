//! What pushroll's own ways cost the API server: every call of every step, by the audit log. A change of these
//! lists is a change of cost, wanted or not.

use std::collections::HashSet;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::mount_refresh::{create_pod, pod};
use crate::support::fixtures::{PushMessage, deployment, stateful_set};
use crate::support::ground::{ApiCall, Ground};
use crate::support::http::{get, send};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(each_step_of_the_service_has_its_api_calls);
    suite.on_both(a_look_for_what_waits_is_one_get);
    suite.on_both(each_command_has_its_api_calls);
}

/// One LIST of each kind.
const SCAN: [&str; 3] = ["list daemonsets", "list deployments", "list statefulsets"];

/// `verb resource` of each call, sorted: workloads are restarted, and kinds listed, side by side.
fn verbs_and_resources(calls: &[ApiCall]) -> Vec<String> {
    // How many pages a scan of the shared control plane has, other tests decide.
    let first_pages = calls.iter().filter(|call| !call.uri.contains("continue="));
    // And how often a controller writes its status between a GET and a PATCH, the controllers.
    let mut seen = HashSet::new();
    let first_pages = first_pages
        .filter(|call| call.verb == "list" || call.resource == "configmaps" || seen.insert((&call.verb, &call.uri)));
    let mut verbs_and_resources: Vec<String> =
        first_pages.map(|call| format!("{} {}", call.verb, call.resource)).collect();
    verbs_and_resources.sort();
    verbs_and_resources
}

fn sorted<const N: usize, const M: usize>(some: [&str; N], others: [&str; M]) -> Vec<String> {
    let mut all: Vec<String> = some.into_iter().chain(others).map(str::to_owned).collect();
    all.sort();
    all
}

/// What a service has asked for since the last time.
struct Meter<'a> {
    service: &'a Service,
    read: usize,
}

impl Meter<'_> {
    fn new_calls(&self) -> Vec<String> {
        verbs_and_resources(&self.service.api_calls()[self.read..])
    }

    #[track_caller]
    fn assert(&mut self, step: &str, expected: Vec<String>) {
        let calls = self.service.api_calls();
        let new = &calls[self.read..];
        assert_eq!(verbs_and_resources(new), expected, "{step}: {new:#?}");
        self.read = calls.len();
    }
}

/// Published so long ago that every scan since proves that nobody was missed.
fn long_ago(image: &str, digest_byte: u8) -> PushMessage {
    let published = Timestamp::now() - SignedDuration::from_secs(60);
    PushMessage { published, ..PushMessage::now(image, digest_byte) }
}

async fn push(service: &Service, message: &PushMessage, outcome: &str) {
    let answer = service.push(message).await;
    assert_eq!(answer.json()["outcome"], outcome, "{}", answer.text());
}

async fn each_step_of_the_service_has_its_api_calls(ground: Ground) {
    let namespace = ground.namespace();
    let start = || ground.service().arguments(["--namespaces", namespace]);
    let first = start().start_ready().await;
    eventually("the scan is written back", async || ground.cache_document().await).await;
    let mut meter = Meter { service: &first, read: 0 };
    meter.assert("start on an empty cluster", sorted(SCAN, ["get configmaps", "create configmaps"]));
    drop(first);

    let second = start().start_ready().await;
    let mut meter = Meter { service: &second, read: 0 };
    meter.assert("start on a ConfigMap", sorted(["get configmaps"], []));
    drop(second);

    let (web, old) = (ground.image("web"), ground.image("old"));
    let mut opted_out = deployment(namespace, "opted-out", &ground.image("opted-out"));
    opted_out["metadata"]["annotations"] = json!({"pushroll.dev/restart": "false"});
    for workload in [
        deployment(namespace, "web", &web),
        deployment(namespace, "old", &old),
        stateful_set(namespace, "old", &old),
        opted_out,
    ] {
        ground.create(&workload).await;
    }
    let service = start().start_ready().await;
    let mut meter = Meter { service: &service, read: 0 };
    meter.assert("start on a ConfigMap that is behind", sorted(["get configmaps"], []));
    let rebuild = async || send(Method::POST, &format!("{}/v1/rebuild", service.admin), &[], "").await;
    assert_eq!(rebuild().await.json()["result"], "changed");
    // Asked for while the start's own round is still under way, it is served by that round and its GET.
    let has_own_round = meter.new_calls().iter().any(|call| call == "get configmaps");
    let own_round: &[&str] = if has_own_round { &["get configmaps"] } else { &[] };
    let mut expected = sorted(SCAN, ["patch configmaps"]);
    expected.extend(own_round.iter().map(|call| (*call).to_owned()));
    expected.sort();
    meter.assert("a rebuild that finds a change", expected);
    assert_eq!(rebuild().await.json()["result"], "unchanged");
    meter.assert("a rebuild that finds none", sorted(SCAN, ["get configmaps"]));

    let now = PushMessage::now(&web, 1);
    push(&service, &now, "restarted").await;
    let proof = sorted(SCAN, ["get configmaps"]);
    let with = |more: &[&str]| {
        let mut all: Vec<String> = proof.iter().cloned().chain(more.iter().map(|call| (*call).to_owned())).collect();
        all.sort();
        all
    };
    meter.assert("a push, proven by a scan", with(&["get deployments", "patch deployments"]));
    push(&service, &now, "current").await;
    meter.assert("its redelivery, proven by the scan since its first receipt", sorted(["get deployments"], []));
    push(&service, &PushMessage::now(&ground.image("nobody"), 1), "not_in_use").await;
    meter.assert("a push of an image that nobody runs", with(&[]));

    let earlier = long_ago(&old, 1);
    // It is old enough for the pods to be younger. On the control plane there are pods, and they are.
    let looks = sorted(["get deployments", "list pods"], ["get statefulsets", "list pods"]);
    if ground.is_control_plane() {
        ground.rolled_out(&deployment(namespace, "old", &old)).await;
        ground.rolled_out(&stateful_set(namespace, "old", &old)).await;
        push(&service, &earlier, "current").await;
        meter.assert("a push that the index is proven for, and that the pods are younger than", looks);
    } else {
        push(&service, &earlier, "restarted").await;
        let mut two = looks;
        two.extend(["patch deployments", "patch statefulsets"].map(str::to_owned));
        meter.assert("a push that the index is proven for", two);
        push(&service, &earlier, "current").await;
        meter.assert("its redelivery", sorted(["get deployments", "get statefulsets"], []));
    }
    push(&service, &long_ago(&ground.image("nobody"), 1), "not_in_use").await;
    meter.assert("an image that nobody runs, proven", vec![]);
    push(&service, &long_ago(&ground.image("opted-out"), 1), "skipped").await;
    meter.assert("a workload that opted out", sorted(["get deployments"], []));

    let dry_run = format!("{}/v1/push?dry_run=true", service.admin);
    let answer = send(Method::POST, &dry_run, &[], PushMessage::now(&web, 2).body()).await;
    assert_eq!(answer.json()["outcome"], "dry_run", "{}", answer.text());
    meter.assert("a dry run", with(&["get deployments"]));
    let explain = get(&format!("{}/v1/explain?image={web}", service.admin)).await;
    assert_eq!(explain.json()["outcome"], "dry_run", "{}", explain.text());
    let others = ["list cronjobs", "list jobs", "list replicasets"];
    meter.assert("explain", with(&[&["get deployments"][..], &others].concat()));

    let junk = service.deliver(&[("x-goog-pubsub-message-id", "1")], "junk").await;
    assert_eq!(junk.json()["outcome"], "ignored", "{}", junk.text());
    for path in [&*format!("/v1/lookup?image={web}"), "/v1/status", "/livez", "/readyz?verbose", "/metrics"] {
        assert_eq!(get(&format!("{}{path}", service.internal)).await.status, 200, "{path}");
    }
    meter.assert("junk, a lookup, the status, the probes, the metrics", vec![]);
    drop(service);

    let reader = pod(namespace, "reader", Some("deployment-image-cache"));
    create_pod(&ground, &reader).await;
    let service = start().arguments(["--refresh-mounts"]).start_ready().await;
    let rebuild = async || send(Method::POST, &format!("{}/v1/rebuild", service.admin), &[], "").await;
    // The start's own round is over.
    rebuild().await;
    let mut meter = Meter { service: &service, read: service.api_calls().len() };
    ground.create(&deployment(namespace, "young", &web)).await;
    assert_eq!(rebuild().await.json()["result"], "changed");
    eventually("the pod is verbs_and_resources", async || {
        Some(()).filter(|()| service.patched().contains(&"reader".to_owned()))
    })
    .await;
    let verbs_and_resources = ["get configmaps", "patch configmaps", "list pods", "patch pods"];
    meter.assert(
        "a change that the pods which mount the cache are verbs_and_resources of",
        sorted(SCAN, verbs_and_resources),
    );
    assert_eq!(rebuild().await.json()["result"], "unchanged");
    meter.assert("no change", sorted(SCAN, ["get configmaps"]));
}

async fn a_look_for_what_waits_is_one_get(ground: Ground) {
    let service = ground.service().arguments(["--deferred-poll", "100ms"]).start_ready().await;
    // The last call of the start.
    eventually("the cache is written", async || ground.cache_document().await).await;
    let before = service.api_calls().len();
    let calls = eventually("it has looked", async || {
        let calls = service.api_calls().split_off(before);
        (calls.len() >= 3).then_some(calls)
    })
    .await;
    for call in &calls {
        assert!(call.verb == "get" && call.uri.ends_with("/configmaps/pushroll-waiting"), "{calls:#?}");
    }
}

async fn each_command_has_its_api_calls(ground: Ground) {
    let namespace = ground.namespace();
    let image = ground.image("web");
    let web = deployment(namespace, "web", &image);
    ground.create(&web).await;
    let scoped = ["--namespaces", namespace];
    let rebuild = [&["rebuild"], &scoped[..]].concat();
    let dry_run = [&["rebuild", "--dry-run"], &scoped[..]].concat();
    let explain = [&["explain", &*image], &scoped[..]].concat();
    let others = ["list cronjobs", "list jobs", "list replicasets"];
    let look = |configmap: &[&str]| {
        let mut all: Vec<String> = configmap.iter().chain(&SCAN).map(|call| (*call).to_owned()).collect();
        all.sort();
        all
    };
    let run = async |step: &str, arguments: &[&str], expected: Vec<String>| {
        let user = ground.fresh_user();
        let ran = ground.run_as(&user, arguments).await;
        assert_eq!(ran.code, 0, "{step}: {ran:?}");
        let calls = ground.api_calls(&user);
        assert_eq!(verbs_and_resources(&calls), expected, "{step}: {calls:#?}");
        ran.stdout
    };
    run("lookup without a ConfigMap", &["lookup", &image], look(&["get configmaps"])).await;
    run("rebuild --dry-run", &dry_run, look(&["get configmaps"])).await;
    run("rebuild without a ConfigMap", &rebuild, look(&["get configmaps", "create configmaps"])).await;
    let stdout = run("rebuild again", &rebuild, look(&["get configmaps"])).await;
    assert_eq!(stdout, "unchanged\n");
    run("lookup", &["lookup", &image], sorted(["get configmaps"], [])).await;
    run("explain", &explain, look(&[&["get configmaps", "get deployments"][..], &others].concat())).await;
    // A review for each thing that a rebuild needs; verbs_and_resources once.
    // And the write, as a dry run.
    let reviewed = ["create selfsubjectaccessreviews", "get configmaps", "patch configmaps"];
    run("check", &["check"], sorted(reviewed, [])).await;
    run("check --deep", &["check", "--deep"], look(&reviewed)).await;

    ground.create(&deployment(namespace, "other", &ground.image("other"))).await;
    let stdout = run("rebuild --dry-run of a change", &dry_run, look(&["get configmaps"])).await;
    assert_eq!(stdout, "changed\n");
    run("rebuild of a change", &rebuild, look(&["get configmaps", "patch configmaps"])).await;

    let immutable = [&["rebuild", "--immutable"], &scoped[..]].concat();
    run("rebuild --immutable", &immutable, look(&["list configmaps", "create configmaps"])).await;
    run("rebuild --immutable again", &immutable, look(&["list configmaps"])).await;
    assert_eq!(ground.generation(&web).await, 1, "a command that looks restarts nothing");
}
