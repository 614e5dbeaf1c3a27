//! `deploy/gcp/setup --pull`.

use super::{AGENT, PROJECT, Ran, run, value};

/// The Kubernetes account of the manifests, as IAM names it.
pub(super) const PRINCIPAL: &str = "principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/\
    acme.svc.id.goog/subject/ns/pushroll/sa/pushroll";
const ACCOUNT: &str = "pushroll-pull@acme.iam.gserviceaccount.com";

fn pull(environment: &[(&str, &str)]) -> Ran {
    let ran = run(&["--pull", PROJECT], environment);
    assert!(ran.output.status.success(), "{:?}", ran.output);
    ran
}

fn printed(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.output.stdout).into_owned()
}

/// `(subscription, member, role)` of each role on a subscription, but for those of Pub/Sub itself.
fn roles(ran: &Ran) -> Vec<(&str, &str, &str)> {
    let begins = "pubsub subscriptions add-iam-policy-binding ";
    let bindings = ran.calls.iter().filter(|call| call.starts_with(begins));
    let roles = bindings.map(|call| (value(call, begins.trim_end()), value(call, "--member"), value(call, "--role")));
    roles.filter(|(_, member, _)| *member != AGENT).collect()
}

fn expected(member: &str) -> [(&str, &str, &str); 3] {
    [
        ("pushroll", member, "roles/pubsub.subscriber"),
        ("pushroll", member, "roles/pubsub.viewer"),
        ("pushroll-dead", member, "roles/pubsub.subscriber"),
    ]
}

pub(super) async fn the_gcloud_script_asks_for_what_pulling_needs() {
    let ran = pull(&[]);
    assert_eq!(printed(&ran), "PUSHROLL_PULL=projects/acme/subscriptions/pushroll\n");
    ran.call("pubsub topics create gcr");
    // The same subscription as for a push, without an endpoint.
    let pushes = run(&[PROJECT, super::ENDPOINT], &[]);
    let subscription = ran.call("pubsub subscriptions create pushroll --topic gcr");
    let pushed = pushes.call("pubsub subscriptions create pushroll --topic gcr");
    let (settings, endpoint) = pushed.split_once(" --push-endpoint").unwrap();
    assert_eq!(subscription.split_once(" --project").unwrap().0, settings);
    assert!(endpoint.contains("--push-auth-service-account") && !subscription.contains("--push"), "{subscription}");
    ran.call("pubsub subscriptions create pushroll-dead --topic pushroll-dead");
    let subscriber = ran.call(&format!("pubsub subscriptions add-iam-policy-binding pushroll --member {AGENT}"));
    assert_eq!(value(subscriber, "--role"), "roles/pubsub.subscriber");
    assert_eq!(value(ran.call("pubsub topics add-iam-policy-binding pushroll-dead"), "--member"), AGENT);

    assert_eq!(roles(&ran), expected(PRINCIPAL));
    assert!(!ran.has("iam "), "no Google account: {:?}", ran.calls);

    let elsewhere = [("CLUSTER_PROJECT", "clusters"), ("KUBERNETES_ACCOUNT", "tools/roller")];
    let member = PRINCIPAL.replace("acme", "clusters").replace("pushroll/sa/pushroll", "tools/sa/roller");
    let ran = pull(&elsewhere);
    assert_eq!(roles(&ran), expected(&member));
    ran.call("projects describe clusters");
    let ran = pull(&[("NAME", "east")]);
    assert_eq!(printed(&ran), "PUSHROLL_PULL=projects/acme/subscriptions/east\n");
    assert_eq!(roles(&ran)[2], ("east-dead", PRINCIPAL, "roles/pubsub.subscriber"));
}

pub(super) async fn the_gcloud_script_can_make_an_account_to_pull_as() {
    let ran = pull(&[("ACCOUNT", "1"), ("CLUSTER_PROJECT", "clusters")]);
    assert!(printed(&ran).contains(&format!(": iam.gke.io/gcp-service-account={ACCOUNT}\n")), "{}", printed(&ran));
    ran.call("iam service-accounts create pushroll-pull");
    let binding = ran.call(&format!("iam service-accounts add-iam-policy-binding {ACCOUNT}"));
    assert_eq!(value(binding, "--role"), "roles/iam.workloadIdentityUser");
    assert_eq!(value(binding, "--member"), "serviceAccount:clusters.svc.id.goog[pushroll/pushroll]");
    let member = format!("serviceAccount:{ACCOUNT}");
    assert_eq!(roles(&ran), expected(&member));
}

pub(super) async fn the_gcloud_script_sets_what_is_there_to_pull() {
    let first = pull(&[("ACCOUNT", "1")]);
    let made =
        first.call("pubsub subscriptions create pushroll ").replace("create pushroll --topic gcr", "update pushroll");
    let ran = pull(&[("THERE", "1"), ("ACCOUNT", "1")]);
    assert!(!ran.calls.iter().any(|call| call.split(" --").next().unwrap().contains(" create ")), "{:?}", ran.calls);
    assert_eq!(ran.call("pubsub subscriptions update pushroll "), made);
    assert!(!ran.has("pubsub subscriptions modify-push-config"), "{:?}", ran.calls);

    // A subscription that pushes does so no more; what it holds is kept.
    let ran = pull(&[("THERE", "1"), ("PUSHES_TO", super::ENDPOINT)]);
    assert!(ran.call("pubsub subscriptions modify-push-config pushroll").contains("--push-endpoint  --project"));
}
