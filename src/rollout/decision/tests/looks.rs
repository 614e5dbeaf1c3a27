//! When the pods are looked at, and what they say.

use super::*;
use crate::cluster::PodObject;
use crate::rollout::decision::pods::PodLook;

fn rolled_out(change: impl FnOnce(&mut Value)) -> WorkloadObject {
    object(|v| {
        v["status"] = json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        change(v);
    })
}

/// A pod of the image that was created at `created` and runs the digest; `change` edits its JSON.
fn pod(created: i64, byte: &str, change: impl FnOnce(&mut Value)) -> PodObject {
    let mut value = json!({
        "metadata": {"name": "web-1", "creationTimestamp": at(created).to_string(),
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5", "uid": "r", "controller": true}]},
        "spec": {"containers": [{"name": "web", "image": IMAGE}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "web", "imageID": format!("registry.example/web@{}", digest(byte))}]},
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

fn server() -> ServerClock {
    let (server, now) = (ServerClock::unknown(), at(1000));
    let date = now.to_zoned(jiff::tz::TimeZone::UTC);
    server.observe(&jiff::fmt::rfc2822::to_string(&date).unwrap(), now, now);
    server
}

fn clocks(server: &ServerClock) -> Clocks<'_> {
    Clocks { now: at(1000), server, margin: Duration::from_secs(10) }
}

struct Asked<'a> {
    workload: WorkloadRef,
    object: &'a WorkloadObject,
    push: &'a Push,
}

impl Asked<'_> {
    /// The question, the number of pods looked at, and the decision after that.
    fn of(&self, pods: &[PodObject]) -> (Option<Question>, usize, Code) {
        let server = server();
        let clocks = clocks(&server);
        let decide =
            |known: Known<'_>| decide(&self.workload, self.object, self.push, known, &Policy::everything(), clocks);
        let code = |decision| match decision {
            Decision::Restart(restart) => restart.code,
            Decision::Wait(wait) => wait.code,
            Decision::Leave(leave) => leave.code,
            Decision::Look(question) => panic!("{question:?} again"),
        };
        let question = match decide(Known { is_fresh: true, ..Known::default() }) {
            Decision::Look(question) => question,
            other => return (None, 0, code(other)),
        };
        let look = PodLook { workload: &self.workload, object: self.object, push: self.push, question };
        let (mut seen, mut looked_at) = (look.nothing_seen(), 0);
        for pod in pods {
            looked_at += 1;
            if look.see(pod, &mut seen, clocks).is_break() {
                break;
            }
        }
        (Some(question), looked_at, code(decide(Known { pods: Some(Ok(&seen)), is_fresh: true, ..Known::default() })))
    }
}

fn asked(object: &WorkloadObject, push: &Push, pods: &[PodObject]) -> (Option<Question>, usize, Code) {
    Asked { workload: web(), object, push }.of(pods)
}

fn code_of(object: &WorkloadObject, push: &Push, pods: &[PodObject]) -> Code {
    asked(object, push, pods).2
}

#[test]
fn the_pods_are_looked_at_where_that_is_worth_a_list() {
    let first = push(100, "1", "aa");
    let done = rolled_out(|v| recorded(v, &first, &[]));
    let question = |object: &WorkloadObject, push: &Push| asked(object, push, &[]).0;
    assert_eq!(question(&done, &first), None, "the record says so");
    assert_eq!(question(&done, &push(995, "2", "bb")), None, "at once, with a new digest");
    assert_eq!(question(&done, &push(995, "2", "aa")), Some(Question::IsDone), "at once, with the recorded digest");
    assert_eq!(question(&done, &push(985, "2", "bb")), Some(Question::IsDone), "older than the margin");
    assert_eq!(question(&done, &push(1200, "2", "bb")), None, "from the future");
    let without_digest = Push { digest: None, ..push(900, "2", "bb") };
    assert_eq!(question(&done, &without_digest), Some(Question::AreYounger));
    let unknown = Push { clock_agrees: false, ..without_digest };
    assert_eq!(question(&done, &unknown), None, "no pod can be shown to be younger");
    let rolling = object(|v| recorded(v, &first, &[]));
    assert_eq!(question(&rolling, &push(995, "2", "aa")), None, "a rollout is under way");
    assert_eq!(question(&rolling, &push(900, "2", "aa")), Some(Question::AreYounger));
    let volume = rolled_out(|v| {
        recorded(v, &first, &[]);
        v["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "image": {"reference": IMAGE}}]);
    });
    assert_eq!(question(&volume, &push(995, "2", "aa")), None);
    assert_eq!(question(&volume, &push(900, "2", "aa")), Some(Question::AreYounger));
    let cools = |v: &mut Value| {
        recorded(v, &first, &[managed(FIELD_MANAGER, 990, &OURS, &[])]);
        v["metadata"]["annotations"] = json!({"pushroll.dev/cooldown": "10m"});
    };
    assert_eq!(question(&rolled_out(cools), &push(995, "2", "aa")), Some(Question::IsDone));
    let waits = Push { waiting_since: Some(at(800)), ..push(795, "2", "aa") };
    assert_eq!(asked(&rolled_out(cools), &waits, &[]), (None, 0, Code::Cooldown), "not before it is due");
    assert_eq!(question(&done, &waits), Some(Question::IsDone));
}

#[test]
fn the_same_digest_is_what_all_pods_run() {
    let web = rolled_out(|_| {});
    let the_push = push(900, "2", "aa");
    let runs = |change: fn(&mut Value)| pod(500, "aa", change);
    let as_it_is = |_: &mut Value| {};
    let with = |other: PodObject| code_of(&web, &the_push, &[runs(as_it_is), other]);
    assert_eq!(with(runs(as_it_is)), Code::SameDigest);
    assert_eq!(with(pod(500, "bb", as_it_is)), Code::RunsImage);
    assert_eq!(with(runs(|v| v["status"] = json!({}))), Code::RunsImage, "no status");
    assert_eq!(with(runs(|v| v["status"]["containerStatuses"][0]["imageID"] = json!(""))), Code::RunsImage);
    assert_eq!(with(runs(|v| v["status"]["containerStatuses"][0]["name"] = json!("renamed"))), Code::RunsImage);
    let local = |v: &mut Value| v["status"]["containerStatuses"][0]["imageID"] = json!(digest("aa"));
    assert_eq!(with(runs(local)), Code::RunsImage, "a local id");
    let pullable = |v: &mut Value| {
        v["status"]["containerStatuses"][0]["imageID"] = json!(format!("docker-pullable://r/web@{}", digest("aa")));
    };
    assert_eq!(with(runs(pullable)), Code::SameDigest);
    let old = |v: &mut Value| v["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "b", "image": "b"}));
    assert_eq!(with(runs(old)), Code::SameDigest, "containers of other images do not count");
    let init = |byte: &str| {
        let image_id = format!("registry.example/web@{}", digest(byte));
        pod(500, "aa", |v| {
            v["spec"]["initContainers"] = json!([{"name": "i", "image": IMAGE, "restartPolicy": "Always"}]);
            v["status"]["initContainerStatuses"] = json!([{"name": "i", "imageID": image_id}]);
        })
    };
    assert_eq!((with(init("aa")), with(init("bb"))), (Code::SameDigest, Code::RunsImage));
    let volume = |v: &mut Value| v["spec"]["volumes"] = json!([{"name": "v", "image": {"reference": IMAGE}}]);
    assert_eq!(with(runs(volume)), Code::RunsImage, "an image volume");
    assert_eq!(code_of(&web, &the_push, &[]), Code::RunsImage, "no pods");
    let elsewhere = |v: &mut Value| v["spec"]["containers"][0]["image"] = json!("mirror/web:1");
    assert_eq!(code_of(&web, &the_push, &[runs(elsewhere)]), Code::RunsImage, "no pod names the image");
}

#[test]
fn which_pods_count() {
    let the_push = push(900, "2", "aa");
    let web = rolled_out(|_| {});
    let other = |change: fn(&mut Value)| pod(500, "bb", change);
    let with = |other: PodObject| code_of(&web, &the_push, &[pod(500, "aa", |_| {}), other]);
    assert_eq!(with(other(|v| v["status"]["phase"] = json!("Failed"))), Code::SameDigest);
    assert_eq!(with(other(|v| v["status"]["phase"] = json!("Succeeded"))), Code::SameDigest);
    assert_eq!(with(other(|v| v["metadata"]["deletionTimestamp"] = json!(at(5).to_string()))), Code::SameDigest);
    assert_eq!(with(other(|v| v["metadata"]["ownerReferences"] = json!([]))), Code::RunsImage, "an orphan");
    let owned = |kind: &str, name: &str, uid: &str| {
        let owner = json!([{"kind": kind, "name": name, "uid": uid, "controller": true}]);
        pod(500, "bb", |v| v["metadata"]["ownerReferences"] = owner)
    };
    assert_eq!(with(owned("ReplicaSet", "other-5", "x")), Code::RunsImage, "it may be adopted");
    assert_eq!(with(owned("Job", "web", "x")), Code::SameDigest);
    assert_eq!(with(owned("StatefulSet", "web", "x")), Code::SameDigest);

    let set = rolled_out(|v| {
        v["status"] = json!({"readyReplicas": 1, "updatedReplicas": 1});
    });
    let workload = WorkloadRef::new("n", WorkloadKind::StatefulSet, "web");
    let asked = Asked { workload, object: &set, push: &the_push };
    let ours = json!([{"kind": "StatefulSet", "name": "web", "uid": "u", "controller": true}]);
    let ours = pod(500, "aa", |v| v["metadata"]["ownerReferences"] = ours);
    let with = |other: PodObject| asked.of(&[ours.clone(), other]).2;
    assert_eq!(with(owned("StatefulSet", "web", "u")), Code::RunsImage);
    assert_eq!(with(owned("StatefulSet", "web", "x")), Code::RunsImage, "of a former one of the name");
    assert_eq!(with(owned("StatefulSet", "other", "x")), Code::SameDigest);
    assert_eq!(with(owned("DaemonSet", "web", "x")), Code::SameDigest);
    assert_eq!(with(owned("ReplicaSet", "web-5", "x")), Code::SameDigest);
}

#[test]
fn younger_pods_have_pulled_what_the_push_brought() {
    let web = object(|_| {});
    let the_push = push(500, "2", "aa");
    let pods = |created: &[i64]| created.iter().map(|created| pod(*created, "bb", |_| {})).collect::<Vec<_>>();
    let code = |created: &[i64]| code_of(&web, &the_push, &pods(created));
    assert_eq!(code(&[600, 700]), Code::Younger);
    assert_eq!(code(&[600, 520]), Code::RunsImage, "each clock may be off by the margin");
    assert_eq!(code(&[600, 400]), Code::RunsImage);
    assert_eq!(code(&[2000]), Code::RunsImage, "in the future");
    assert_eq!(code(&[]), Code::RunsImage);
    let pending = pod(600, "bb", |v| v["status"] = json!({"phase": "Pending"}));
    assert_eq!(code_of(&web, &the_push, &[pending]), Code::Younger);
    let no_time = pod(600, "bb", |v| v["metadata"]["creationTimestamp"] = json!(null));
    assert_eq!(code_of(&web, &the_push, &[no_time]), Code::RunsImage);
    let waits = Push { waiting_since: Some(at(500)), clock_agrees: false, ..push(400, "2", "aa") };
    assert_eq!(code_of(&web, &waits, &pods(&[504])), Code::Younger);
    assert_eq!(code_of(&web, &waits, &pods(&[503])), Code::RunsImage);
}

#[test]
fn a_look_ends_with_the_first_pod_that_settles_it() {
    let web = rolled_out(|_| {});
    let the_push = push(500, "2", "aa");
    let looked_at = |pods: &[(i64, &str)]| {
        let pods: Vec<_> = pods.iter().map(|(created, byte)| pod(*created, byte, |_| {})).collect();
        asked(&web, &the_push, &pods).1
    };
    assert_eq!(looked_at(&[(400, "bb"), (400, "bb"), (400, "bb")]), 1);
    assert_eq!(looked_at(&[(400, "aa"), (600, "bb"), (400, "bb")]), 2, "one says no to each");
    assert_eq!(looked_at(&[(600, "bb"), (400, "aa"), (400, "bb")]), 2);
    assert_eq!(looked_at(&[(400, "aa"), (400, "aa"), (400, "aa")]), 3);
}

#[test]
fn a_restart_by_someone_else_is_a_reason_to_look() {
    let restarted = |at_second: i64| {
        let at = at(at_second).to_string();
        object(|v| {
            v["spec"]["template"]["metadata"]["annotations"] = json!({RESTARTED_AT_ANNOTATION: at});
            v["metadata"]["managedFields"] =
                json!([managed("kubectl-rollout", at_second, &[RESTARTED_AT_ANNOTATION], &[])]);
        })
    };
    let the_push = Push { clock_agrees: false, digest: None, ..push(500, "2", "aa") };
    let pods = |created| [pod(created, "bb", |_| {})];
    assert_eq!(code_of(&restarted(600), &the_push, &pods(601)), Code::RestartedByOther);
    assert_eq!(code_of(&restarted(600), &the_push, &pods(400)), Code::RunsImage, "an old pod is left");
    assert_eq!(code_of(&restarted(600), &the_push, &[]), Code::RestartedByOther, "its pods are yet to be made");
    assert_eq!(asked(&restarted(400), &the_push, &[]).0, None);
}

#[test]
fn a_restart_by_someone_else_is_believed_only_where_pods_may_never_be_listed() {
    let web = object(|v| {
        v["spec"]["template"]["metadata"]["annotations"] = json!({RESTARTED_AT_ANNOTATION: at(600).to_string()});
        v["metadata"]["managedFields"] = json!([managed("kubectl-rollout", 600, &[RESTARTED_AT_ANNOTATION], &[])]);
    });
    let the_push = push(500, "2", "aa");
    let with = |not_seen: &PodsNotSeen| {
        let known = Known { pods: Some(Err(not_seen)), is_fresh: true, ..Known::default() };
        match decide(&super::web(), &web, &the_push, known, &Policy::everything(), clocks(&server())) {
            Decision::Leave(leave) => leave.code,
            Decision::Restart(restart) => restart.code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with(&not_permitted()), Code::RestartedByOther);
    assert_eq!(with(&PodsNotSeen::Failed("500".to_owned())), Code::RunsImage);
}

#[test]
fn an_image_that_has_changed_is_rolled_away_from_while_a_pod_runs_it() {
    let the_push = push(995, "2", "aa");
    let moved_on = |status: Value| {
        object(|v| {
            v["metadata"]["generation"] = json!(2);
            v["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/web:2");
            v["status"] = status;
        })
    };
    let complete = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
    let (rolling, rolled) = (moved_on(json!({"observedGeneration": 1})), moved_on(complete));
    let old = pod(400, "aa", |_| {});
    let new = pod(900, "cc", |v| v["spec"]["containers"][0]["image"] = json!("registry.example/web:2"));
    assert_eq!(asked(&rolled, &the_push, &[]), (None, 0, Code::ImageChanged));
    let look = Some(Question::RunsImage);
    assert_eq!(asked(&rolling, &the_push, &[new.clone(), old.clone(), old]), (look, 2, Code::RollingAway));
    assert_eq!(asked(&rolling, &the_push, &[new]), (look, 1, Code::ImageChanged), "an undo would make new pods");
    assert_eq!(code(&rolling, &the_push), Code::RollingAway, "they cannot be looked at");
    // A canary: its partition keeps the old pods, though the rollout counts as complete.
    let canary = object(|v| {
        v["spec"]["replicas"] = json!(3);
        v["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/web:2");
        v["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
        v["status"] = json!({
            "readyReplicas": 3, "updatedReplicas": 1, "currentRevision": "web-1", "updateRevision": "web-2"});
    });
    let owner = json!([{"kind": "StatefulSet", "name": "web", "uid": "u", "controller": true}]);
    let old = pod(400, "aa", |v| v["metadata"]["ownerReferences"] = owner);
    let workload = WorkloadRef::new("n", WorkloadKind::StatefulSet, "web");
    let asked = Asked { workload, object: &canary, push: &the_push };
    assert_eq!(asked.of(&[old]), (look, 1, Code::RollingAway));
    let on_delete = object(|v| {
        v["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/web:2");
        v["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    });
    assert_eq!(code(&on_delete, &the_push), Code::ImageChanged);
}
