//! `deploy/gcp`: what the script asks of `gcloud`, and that the Terraform module says the same. No Google Cloud is asked:
//! a function of the same name writes down what it was called with.

mod pull;

use std::path::Path;
use std::process::{Command, Output};

use crate::support::command;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.plain(the_gcloud_script_asks_for_what_pushroll_needs);
    suite.plain(the_gcloud_script_changes_nothing_that_is_there);
    suite.plain(the_gcloud_script_refuses_what_it_cannot_use);
    suite.plain(pull::the_gcloud_script_asks_for_what_pulling_needs);
    suite.plain(pull::the_gcloud_script_can_make_an_account_to_pull_as);
    suite.plain(pull::the_gcloud_script_sets_what_is_there_to_pull);
    suite.plain(terraform_says_what_the_gcloud_script_says);
}

const GCP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/gcp");
const PROJECT: &str = "acme";
const ENDPOINT: &str = "https://pushroll.example.com/v1/push";
const ACCOUNT: &str = "pushroll-push@acme.iam.gserviceaccount.com";
const AGENT: &str = "serviceAccount:service-123@gcp-sa-pubsub.iam.gserviceaccount.com";

/// In place of gcloud: writes its arguments down. A `describe` with a format tells something; any other finds nothing in
/// a project where nothing is `THERE`. A function, which bash takes from the environment: a program that was just written
/// may be "busy", since another test forks meanwhile.
const GCLOUD: (&str, &str) = (
    "BASH_FUNC_gcloud%%",
    r#"() {
    echo "$*" >> "$CALLS"
    case "$*" in
        *"projects describe"*) echo 123 ;;
        *describe*"value(address)"*) echo 203.0.113.7 ;;
        *describe*"value(pushConfig.pushEndpoint)"*) echo "$PUSHES_TO" ;;
        *describe*) [ -n "$THERE" ] ;;
    esac
}"#,
);

/// What the script was answered with, and each call of gcloud.
struct Ran {
    output: Output,
    calls: Vec<String>,
}

impl Ran {
    /// The one call that begins so.
    fn call(&self, begins: &str) -> &str {
        let found: Vec<_> = self.calls.iter().filter(|call| call.starts_with(begins)).collect();
        let [call] = found[..] else { panic!("{begins}: {:?}", self.calls) };
        call
    }

    fn has(&self, begins: &str) -> bool {
        self.calls.iter().any(|call| call.starts_with(begins))
    }
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let calls = directory.path().join("calls");
    let mut script = Command::new(format!("{GCP}/setup"));
    script
        .args(arguments)
        .env("CALLS", &calls)
        .envs([("THERE", ""), ("PUSHES_TO", ""), GCLOUD])
        .envs(environment.iter().copied());
    let output = script.output().unwrap();
    let calls = std::fs::read_to_string(&calls).unwrap_or_default().lines().map(str::to_owned).collect();
    Ran { output, calls }
}

/// What follows a flag.
fn value<'a>(call: &'a str, flag: &str) -> &'a str {
    let after = call.split_once(&format!("{flag} ")).unwrap_or_else(|| panic!("no {flag}: {call}")).1;
    after.split_whitespace().next().unwrap()
}

async fn the_gcloud_script_asks_for_what_pushroll_needs() {
    let ran = run(&[PROJECT, ENDPOINT], &[]);
    let stdout = String::from_utf8_lossy(&ran.output.stdout);
    assert!(ran.output.status.success(), "{:?}", ran.output);
    assert_eq!(stdout, format!("PUSHROLL_AUDIENCE={ENDPOINT}\nPUSHROLL_SERVICE_ACCOUNT={ACCOUNT}\n"));
    for call in ran.calls.iter().filter(|call| !call.starts_with("projects describe")) {
        assert_eq!(value(call, "--project"), PROJECT, "{call}");
    }

    ran.call("pubsub topics create gcr");
    ran.call("iam service-accounts create pushroll-push");
    let tokens = ran.call(&format!("iam service-accounts add-iam-policy-binding {ACCOUNT}"));
    assert_eq!((value(tokens, "--member"), value(tokens, "--role")), (AGENT, "roles/iam.serviceAccountTokenCreator"));

    let subscription = ran.call("pubsub subscriptions create pushroll --topic gcr");
    for (flag, expected) in [
        ("--push-endpoint", ENDPOINT),
        ("--push-auth-token-audience", ENDPOINT),
        ("--push-auth-service-account", ACCOUNT),
        ("--expiration-period", "never"),
        ("--dead-letter-topic", "pushroll-dead"),
    ] {
        assert_eq!(value(subscription, flag), expected, "{flag}");
    }
    assert!(!subscription.contains("ordering") && !subscription.contains("no-wrapper"), "{subscription}");
    // Pub/Sub waits longer than pushroll holds a push.
    let help = command::run(&["serve", "--help"]).await.stdout;
    let hold = help.split_once("--hold <").unwrap().1.split_once("[default: ").unwrap().1.split_once("s]").unwrap().0;
    let deadline: u32 = value(subscription, "--ack-deadline").parse().unwrap();
    assert!(deadline > hold.parse().unwrap() && (10..=600).contains(&deadline), "{deadline} s over {hold} s");

    // What is given up is kept, and Pub/Sub may move it there: publish the one, acknowledge the other.
    let dead = ran.call("pubsub subscriptions create pushroll-dead --topic pushroll-dead");
    assert_eq!(value(dead, "--expiration-period"), "never");
    let publisher = ran.call("pubsub topics add-iam-policy-binding pushroll-dead");
    assert_eq!((value(publisher, "--member"), value(publisher, "--role")), (AGENT, "roles/pubsub.publisher"));
    let subscriber = ran.call("pubsub subscriptions add-iam-policy-binding pushroll ");
    assert_eq!((value(subscriber, "--member"), value(subscriber, "--role")), (AGENT, "roles/pubsub.subscriber"));
    assert!(!ran.has("compute") && !ran.has("certificate-manager"), "only where asked for: {:?}", ran.calls);

    let ran = run(&[PROJECT, ENDPOINT], &[("NAME", "east"), ("ADDRESS", "1"), ("CERTIFICATE", "1")]);
    let stdout = String::from_utf8_lossy(&ran.output.stdout);
    assert!(stdout.contains("let pushroll.example.com resolve to: 203.0.113.7\n"), "{stdout}");
    assert!(stdout.contains("SERVICE_ACCOUNT=east-push@acme.iam.gserviceaccount.com"), "{stdout}");
    ran.call("compute addresses create east --global");
    assert_eq!(value(ran.call("certificate-manager certificates create east"), "--domains"), "pushroll.example.com");
    let entry = ran.call("certificate-manager maps entries create east");
    assert_eq!((value(entry, "--map"), value(entry, "--hostname")), ("east", "pushroll.example.com"));
}

async fn the_gcloud_script_changes_nothing_that_is_there() {
    let ran = run(&[PROJECT, ENDPOINT], &[("THERE", "1"), ("ADDRESS", "1"), ("CERTIFICATE", "1")]);
    assert!(ran.output.status.success(), "{:?}", ran.output);
    let created: Vec<_> =
        ran.calls.iter().filter(|call| call.split(" --").next().unwrap().contains(" create ")).collect();
    assert!(created.is_empty(), "{created:?}");
    // The settings of the subscription are set to what they were made with.
    let first = run(&[PROJECT, ENDPOINT], &[]);
    let made =
        first.call("pubsub subscriptions create pushroll ").replace("create pushroll --topic gcr", "update pushroll");
    assert_eq!(ran.call("pubsub subscriptions update pushroll "), made);
}

async fn the_gcloud_script_refuses_what_it_cannot_use() {
    let refused: [&[&str]; 9] = [
        &[],
        &[PROJECT],
        &[PROJECT, "http://pushroll.example.com/v1/push"],
        &[PROJECT, "https://pushroll.example.com"],
        &["--pull"],
        &["--pull", ""],
        &["--pull", "projects/acme"],
        &["--pull", PROJECT, ENDPOINT],
        &[PROJECT, "--pull"],
    ];
    let environments: [(&str, &str); 4] =
        [("ADDRESS", "1"), ("CERTIFICATE", "1"), ("KUBERNETES_ACCOUNT", "pushroll"), ("KUBERNETES_ACCOUNT", "a/b/c")];
    let to_pull: &[&str] = &["--pull", PROJECT];
    let refused = refused.iter().map(|arguments| (*arguments, &[][..]));
    for (arguments, environment) in refused.chain(environments.chunks(1).map(|environment| (to_pull, environment))) {
        let ran = run(arguments, environment);
        assert_eq!(ran.output.status.code(), Some(2), "{arguments:?} {environment:?}");
        assert!(ran.calls.is_empty(), "{arguments:?} {environment:?}: {:?}", ran.calls);
        let stderr = String::from_utf8_lossy(&ran.output.stderr);
        assert!(stderr.starts_with("setup: ") && stderr.lines().count() == 1, "{stderr}");
    }
}

/// Not that Terraform would take it, which needs Google's provider: that both set the same.
async fn terraform_says_what_the_gcloud_script_says() {
    let read = |file: &str| std::fs::read_to_string(Path::new(GCP).join("terraform").join(file)).unwrap();
    let module = read("main.tf") + &read("pull.tf") + &read("variables.tf");
    let ran = run(&[PROJECT, ENDPOINT], &[]);
    let subscription = ran.call("pubsub subscriptions create pushroll ");
    let seconds = |text: &str| match text.split_at(text.len() - 1) {
        (number, "d") => format!("{}s", number.parse::<u64>().unwrap() * 86_400),
        _ => text.to_owned(),
    };
    let is_said = |text: String| assert!(module.contains(&text), "{text}");
    is_said(format!("minimum_backoff = \"{}\"", value(subscription, "--min-retry-delay")));
    is_said(format!("maximum_backoff = \"{}\"", value(subscription, "--max-retry-delay")));
    for call in [subscription, ran.call("pubsub subscriptions create pushroll-dead ")] {
        let retention = seconds(value(call, "--message-retention-duration"));
        is_said(format!("message_retention_duration = \"{retention}\""));
    }
    for (variable, flag) in
        [("ack_deadline_seconds", "--ack-deadline"), ("max_delivery_attempts", "--max-delivery-attempts")]
    {
        let (_, declared) = module.split_once(&format!("variable \"{variable}\"")).unwrap();
        let default = declared.split_once("default     = ").unwrap().1.lines().next().unwrap();
        assert_eq!(default, value(subscription, flag), "{variable}");
    }
    let to_pull = run(&["--pull", PROJECT], &[("ACCOUNT", "1")]);
    for call in ran.calls.iter().chain(&to_pull.calls).filter(|call| call.contains("--role")) {
        is_said(format!("= \"{}\"", value(call, "--role")));
    }
    // To pull, both name the Kubernetes account in the same way.
    let principal = pull::PRINCIPAL.replace("123", "${local.cluster_project_number}");
    let principal = principal.replace("acme", "${local.cluster_project}").replace("ns/pushroll", "ns/${var.namespace}");
    is_said(principal.replace("sa/pushroll", "sa/${var.kubernetes_account}"));
    is_said("serviceAccount:${local.cluster_project}.svc.id.goog[${var.namespace}/${var.kubernetes_account}]".into());
    is_said("account_id   = \"${var.name}-pull\"".into());
    assert_eq!(module.matches("ttl = \"\"").count(), 2, "neither subscription expires");
}
