//! Wrong usage and a wrong environment: one sentence that says what to do, exit 1 or 2.

use std::net::TcpListener;

use crate::support::command::{run, run_with};
use crate::support::fixtures::deployment;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.plain(wrong_usage_exits_2_and_names_what_is_wrong);
    suite.plain(a_switch_of_the_environment_that_is_neither_is_wrong_usage);
    suite.plain(help_and_version_are_data);
    suite.plain(serve_wants_to_be_told_whose_pushes_to_take);
    suite.plain(every_flag_of_serve_has_its_environment_variable);
    suite.plain(no_kubeconfig_is_one_sentence);
    suite.on_embedded(a_port_in_use_is_one_sentence);
    suite.on_embedded(serve_takes_its_settings_from_the_environment);
}

async fn wrong_usage_exits_2_and_names_what_is_wrong() {
    let serve = |flag: &'static str, value: &'static str| vec!["serve", flag, value];
    for (arguments, named) in [
        (vec![], "Usage"),
        (vec!["frobnicate"], "frobnicate"),
        (vec!["lookup"], "IMAGE"),
        (vec!["lookup", "a/UPPER"], "lower case"),
        (vec!["lookup", ""], "empty"),
        (vec!["lookup", "nginx", "-o", "yaml"], "table, json, name"),
        (vec!["lookup", "nginx", "--frobnicate"], "--frobnicate"),
        (vec!["explain", "a b"], "image reference"),
        (vec!["rebuild", "--namespaces", "Not_A_Namespace"], "--namespaces"),
        (vec!["rebuild", "--namespaces", ""], "--namespaces"),
        (vec!["rebuild", "--set-volume", "shop/deployment/web"], "--immutable"),
        (vec!["rebuild", "--immutable", "--set-volume", "web"], "NAMESPACE/KIND/NAME"),
        (vec!["restart"], "IMAGE"),
        (vec!["restart", "nginx", "-w", "shop/deployment/web"], "cannot be used with"),
        (vec!["restart", "Not an image"], "image reference"),
        (vec!["restart", "-w", "web"], "NAMESPACE/KIND/NAME"),
        (vec!["restart", "-w", "shop/pod/web"], "deployment, statefulset, daemonset"),
        (vec!["restart", "-w", "shop/deployment/"], "NAMESPACE/KIND/NAME"),
        (vec!["restart", "-w", "shop/deployment/web?x"], "lower-case letters"),
        (vec!["restart", "-w", "Shop/deployment/web"], "namespace"),
        (vec!["restart", "nginx", "--wait", "--dry-run"], "--dry-run"),
        (vec!["restart", "nginx", "--wait", "--timeout", "0s"], "longer than zero"),
        (vec!["restart", "nginx", "--selector", "=,"], "--selector"),
        (vec!["check", "--max-age", "0s"], "longer than zero"),
        (vec!["check", "--namespaces", "a,,b"], "--namespaces"),
        (vec!["check", "--cache-configmap", "Deployment_Cache"], "no ConfigMap can be called that"),
        (vec!["check", "--cache-configmap", ""], "it is empty"),
        (vec!["rebuild", "--cache-configmap", "kube-system/cache"], "--namespace"),
        (vec!["lookup", "nginx", "--cache-key", "a/b"], "no key of a ConfigMap can be called that"),
        (vec!["lookup", "nginx", "-n", "not a namespace"], "name of a namespace"),
        (vec!["explain", "nginx", "--cache-key", ".."], "begins with"),
        (vec!["restart", "nginx", "--cache-configmap", "a..b"], "--cache-configmap"),
        (vec!["store", "keys", "Settings"], "no ConfigMap can be called that"),
        (vec!["store", "set", "a b", "key", "value"], "no ConfigMap can be called that"),
        (vec!["rollouts", "Not an image"], "image reference"),
        (vec!["rollouts", "nginx", "web"], "unexpected argument"),
        (vec!["rollouts", "--timeout", "5m"], "--watch"),
        (vec!["rollouts", "--watch", "--timeout", "0s"], "longer than zero"),
        (vec!["rollouts", "--namespaces", "a,,b"], "--namespaces"),
        (vec!["rollouts", "--waiting-configmap", "a b"], "--waiting-configmap"),
        (vec!["replay"], "FILE"),
        (vec!["replay", "file", "--image", "nginx:1"], "--image"),
        (vec!["replay", "--digest", "sha256:x"], "--digest"),
        (vec!["replay", "--image", "nginx:1", "--digest", "sha256:x"], "--digest"),
        (vec!["replay", "file", "--to", "not a url"], "--to"),
        (vec!["demo", "--twice"], "--twice"),
        (serve("--listen", "nowhere"), "--listen"),
        (serve("--internal-listen", ":9090"), "--internal-listen"),
        (serve("--admin-listen", "127.0.0.1:99999"), "--admin-listen"),
        (serve("--mount-poll", "0s"), "longer than zero"),
        (serve("--mount-poll", "soon"), "500ms, 5s or 10m"),
        (vec!["serve", "--rebuild-interval=-5s"], "--rebuild-interval"),
        (serve("--hold", "8"), "500ms, 5s or 10m"),
        (serve("--refresh-interval", "0s"), "longer than zero"),
        (serve("--clock-margin", "x"), "500ms, 5s or 10m"),
        (serve("--unseen-grace", "10"), "500ms, 5s or 10m"),
        (serve("--drain-delay", "x"), "500ms, 5s or 10m"),
        (serve("--drain-timeout", "x"), "500ms, 5s or 10m"),
        (serve("--poison", "keep"), "ack, nack"),
        (serve("--max-body", "much"), "14MiB"),
        (serve("--concurrency", "0"), "--concurrency"),
        (serve("--namespaces", "a,,b"), "--namespaces"),
        (serve("--namespaces", "a, b"), "--namespaces"),
        (serve("--exclude-namespaces", "A"), "--exclude-namespaces"),
        (serve("--selector", "=,"), "--selector"),
        (serve("--audience", ""), "--audience"),
        (serve("--audience", "a, b"), "--audience"),
        (serve("--service-account", "pushroll-push"), "gserviceaccount.com"),
        (serve("--service-account", "@example.com"), "gserviceaccount.com"),
        (serve("--service-account", "a@example.com,"), "gserviceaccount.com"),
        (serve("--jwks-url", "certs"), "expected"),
        (serve("--jwks-url", "/certs"), "expected a URL"),
        (serve("--jwks-url", "http://keys.example.com/certs"), "https"),
        (serve("--jwks-url", "http://127.0.0.1.example.com/certs"), "https"),
        (serve("--jwks-url", "file://localhost/certs"), "https"),
        (serve("--log-format", "xml"), "text, json"),
        (serve("--max-body", "0"), "larger than zero"),
        (serve("--max-body", "1EiB"), "at most 1GiB"),
        (serve("--max-body", "NaN"), "14MiB"),
        (serve("--hold", "99999999999h"), "no longer than a year"),
        (serve("--hold", "100000h"), "no longer than a year"),
        (serve("--drain-delay", "1000000000s"), "no longer than a year"),
        (serve("--clock-margin", "NaN"), "500ms, 5s or 10m"),
        (serve("--deferred-poll", "0s"), "longer than zero"),
        (serve("--body-timeout", "0s"), "longer than zero"),
        (serve("--max-connections", "0"), "--max-connections"),
        (serve("--max-requests", "99999999999999999999"), "--max-requests"),
        (serve("--concurrency", "\u{661}"), "--concurrency"),
        (serve("--namespaces", "\u{e4}"), "--namespaces"),
        (serve("--cache-dir", ""), "--cache-dir"),
        (serve("--listen", "[::]"), "--listen"),
        (serve("--cache-configmap", "cache_"), "no ConfigMap can be called that"),
        (vec!["serve", "--cache-configmap=-cache"], "--cache-configmap"),
        (serve("--cache-key", ""), "it is empty"),
        (serve("--cache-key", "images cache.json"), "other characters"),
        (serve("--cache-key", "\u{e4}.json"), "other characters"),
        (serve("--namespace", "Kube"), "--namespace"),
        (serve("--notify", ""), "NAME=KIND:TARGET"),
        (serve("--notify", "chat"), "NAME=KIND:TARGET"),
        (serve("--notify", "chat=slack"), "NAME=KIND:TARGET"),
        (serve("--notify", "chat=slack:/f,"), "NAME=KIND:TARGET"),
        (serve("--notify", "chat=slack:/f, audit=slack:/g"), "lower-case letters"),
        (serve("--notify", "Chat=slack:/f"), "lower-case letters"),
        (serve("--notify", "=slack:/f"), "lower-case letters"),
        (serve("--notify", "chat=irc:/f"), "cloudevents, slack, googlechat, teams"),
        (serve("--notify", "chat=slack:"), "chat has no TARGET"),
        (serve("--notify", "chat=slack:https://"), "one URL such as"),
        (serve("--notify", "chat=slack:ftp://host/path"), "begins with https://"),
        (serve("--notify", "chat=slack:https://user:password@host/"), "not supported"),
        (serve("--notify", "chat=slack:/f,chat=teams:/g"), "two sinks are called chat"),
        (serve("--notify-source", ""), "//pushroll/prod-eu"),
        (serve("--notify-source", "prod eu"), "no spaces"),
        (serve("--pull", ""), "projects/PROJECT/subscriptions/NAME"),
        (serve("--pull", "pushroll"), "projects/PROJECT/subscriptions/NAME"),
        (serve("--pull", "projects/acme/topics/gcr"), "a topic"),
        (serve("--pull", "projects/acme/subscriptions/a b"), "alone"),
        (serve("--pull", "projects/acme/subscriptions/abc,"), "projects/PROJECT/subscriptions/NAME"),
        (serve("--pull-endpoint", "http://pubsub.example.com"), "https"),
        (serve("--pull-endpoint", "https://pubsub.example.com/v1"), "without a path"),
        (serve("--pull-endpoint", "pubsub.example.com"), "https"),
        (serve("--pull-max-messages", "0"), "--pull-max-messages"),
        (serve("--pull-max-lease", "0s"), "longer than zero"),
        (serve("--pull-renew", "often"), "500ms, 5s or 10m"),
        (serve("--pull-renew", "999ms"), "at least 1s"),
        (vec!["restart", "--from", "pushroll-dead"], "projects/PROJECT/subscriptions/NAME"),
        (vec!["restart", "nginx", "--from", "projects/acme/subscriptions/dead"], "cannot be used with"),
    ] {
        let ran = run(&arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(named), "{arguments:?} does not name {named:?}: {ran:?}");
        assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
    }
}

async fn a_switch_of_the_environment_that_is_neither_is_wrong_usage() {
    for variable in ["PUSHROLL_WATCH", "PUSHROLL_OPT_IN", "PUSHROLL_ALLOW_STALE", "PUSHROLL_INSECURE_NO_AUTH"] {
        let ran = run_with(&["serve"], &[(variable, "flase")], "").await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains("expected true or false") && ran.stderr.contains("flase"), "{ran:?}");
    }
    for value in ["", "0", "off", "False", "no"] {
        let ran = run_with(&["serve"], &[("PUSHROLL_INSECURE_NO_AUTH", value)], "").await;
        assert!(ran.failed_with_one_sentence().contains("--insecure-no-auth"), "{value}: {ran:?}");
    }
}

async fn help_and_version_are_data() {
    let ran = run(&["--version"]).await;
    assert_eq!((ran.code, ran.stdout), (0, format!("pushroll {}\n", env!("CARGO_PKG_VERSION"))));
    for command in ["serve", "demo", "lookup", "rebuild", "check", "explain", "restart", "rollouts", "replay", "notify"]
    {
        let ran = run(&[command, "--help"]).await;
        assert!(
            ran.code == 0 && ran.stderr.is_empty() && ran.stdout.contains(&format!("Usage: pushroll {command}")),
            "{ran:?}"
        );
    }
}

async fn serve_wants_to_be_told_whose_pushes_to_take() {
    let serve = async |environment: Vec<(&str, &str)>| {
        run_with(&["serve", "--kubeconfig", "/nonexistent"], &environment, "").await
    };
    let audience = ("PUSHROLL_AUDIENCE", "https://a.example/v1/push,https://b.example/v1/push");
    let account = ("PUSHROLL_SERVICE_ACCOUNT", "a@example.com,b@example.com");
    let (yes, no) = (("PUSHROLL_INSECURE_NO_AUTH", "true"), ("PUSHROLL_INSECURE_NO_AUTH", "false"));
    for environment in [vec![], vec![no], vec![audience], vec![account], vec![account, no]] {
        let ran = serve(environment.clone()).await;
        let message = ran.failed_with_one_sentence();
        for flag in ["--audience", "--service-account", "--insecure-no-auth"] {
            assert!(message.contains(flag), "{environment:?}: {message}");
        }
    }
    for environment in [vec![audience, yes], vec![account, yes], vec![audience, account, yes]] {
        let ran = serve(environment.clone()).await;
        assert!(ran.failed_with_one_sentence().contains("give the one or the other"), "{environment:?}: {ran:?}");
    }
    // Beyond it: that there is no Kubernetes is the next to be said.
    for environment in [vec![yes], vec![audience, account], vec![audience, account, no]] {
        let ran = serve(environment.clone()).await;
        assert!(ran.failed_with_one_sentence().contains("/nonexistent"), "{environment:?}: {ran:?}");
    }
    let twice = ["--audience", "a", "--audience", "b", "--service-account", "a@b", "--service-account", "c@d"];
    let ran = run(&[&["serve", "--kubeconfig", "/nonexistent"][..], &twice].concat()).await;
    assert!(ran.failed_with_one_sentence().contains("/nonexistent"), "{ran:?}");
}

/// Each flag of the table of `serve` that exists by now.
const FLAGS: [&str; 43] = [
    "listen",
    "internal-listen",
    "admin-listen",
    "admin-insecure-remote",
    "audience",
    "service-account",
    "jwks-url",
    "insecure-no-auth",
    "cache-dir",
    "cache-configmap",
    "cache-key",
    "mount-poll",
    "rebuild-interval",
    "hold",
    "clock-margin",
    "refresh-interval",
    "refresh-mounts",
    "unseen-grace",
    "waiting-configmap",
    "watch",
    "allow-stale",
    "poison",
    "max-body",
    "max-connections",
    "max-requests",
    "body-timeout",
    "namespaces",
    "exclude-namespaces",
    "selector",
    "opt-in",
    "concurrency",
    "deferred-poll",
    "drain-delay",
    "drain-timeout",
    "kubeconfig",
    "log-format",
    "notify",
    "notify-source",
    "pull",
    "pull-endpoint",
    "pull-max-messages",
    "pull-max-lease",
    "pull-renew",
];

async fn every_flag_of_serve_has_its_environment_variable() {
    let help = run(&["serve", "--help"]).await.stdout;
    // A flag, and everything up to the next one.
    let flags: Vec<&str> = help.split("\n      --").chain(help.split(", --")).collect();
    for flag in FLAGS {
        let described = flags
            .iter()
            .find(|text| text.split([' ', '\n']).next() == Some(flag))
            .unwrap_or_else(|| panic!("--{flag}: {help}"));
        // Its value may be a secret, which help does not show.
        let shown = if flag == "notify" { "]" } else { "=" };
        let variable = format!("[env: PUSHROLL_{}{shown}", flag.to_uppercase().replace('-', "_"));
        assert!(described.contains(&variable), "--{flag}: {described}");
    }
    for (flag, default) in [
        ("listen", "[::]:8080"),
        ("internal-listen", "[::]:9090"),
        ("admin-listen", "127.0.0.1:9091"),
        ("jwks-url", "https://www.googleapis.com/oauth2/v3/certs"),
        ("cache-dir", "/etc/cache"),
        ("cache-configmap", "deployment-image-cache"),
        ("cache-key", "cache.json"),
        ("mount-poll", "1s"),
        ("rebuild-interval", "5s"),
        ("hold", "8s"),
        ("clock-margin", "10s"),
        ("unseen-grace", "10m"),
        ("poison", "ack"),
        ("max-body", "14MiB"),
        ("max-connections", "12000"),
        ("max-requests", "512"),
        ("body-timeout", "5s"),
        ("concurrency", "16"),
        ("deferred-poll", "10s"),
        ("waiting-configmap", "pushroll-waiting"),
        ("drain-delay", "5s"),
        ("drain-timeout", "25s"),
        ("notify-source", "pushroll"),
        ("pull-endpoint", "https://pubsub.googleapis.com/"),
        ("pull-max-messages", "1000"),
        ("pull-max-lease", "60m"),
        ("pull-renew", "5m"),
    ] {
        let described = flags.iter().find(|text| text.split([' ', '\n']).next() == Some(flag)).unwrap();
        assert!(described.contains(&format!("[default: {default}]")), "--{flag}: {described}");
    }
}

async fn no_kubeconfig_is_one_sentence() {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (garbage, empty) = (file("garbage", "\u{1}{{{ not: [yaml"), file("empty", ""));
    let no_context = file("no-context", "apiVersion: v1\nkind: Config\ncurrent-context: nowhere\n");
    let directory = home.path().to_str().unwrap();
    let commands: [&[&str]; 4] = [
        &["lookup", "nginx", "--cache-dir", "/nonexistent"],
        &["explain", "nginx"],
        &["rebuild"],
        &[
            "serve",
            "--insecure-no-auth",
            "--listen",
            "127.0.0.1:0",
            "--internal-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ],
    ];
    let away = [("HOME", directory), ("KUBERNETES_SERVICE_HOST", ""), ("KUBERNETES_SERVICE_PORT", "")];
    for command in commands {
        for kubeconfig in ["/nonexistent/kubeconfig", directory, &garbage, &empty, &no_context] {
            let ran = run_with(&[command, &["--kubeconfig", kubeconfig]].concat(), &away, "").await;
            assert!(ran.failed_with_one_sentence().contains(kubeconfig), "{command:?} {kubeconfig}: {ran:?}");
        }
        for kubeconfig in [None, Some("/nonexistent/kubeconfig"), Some(directory), Some(&garbage), Some(&empty)] {
            let variable = kubeconfig.map(|path| ("KUBECONFIG", path));
            let environment: Vec<_> = away.into_iter().chain(variable).collect();
            let ran = run_with(command, &environment, "").await;
            assert!(ran.failed_with_one_sentence().contains("--kubeconfig"), "{command:?}: {ran:?}");
        }
    }
}

async fn a_port_in_use_is_one_sentence(ground: Ground) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--internal-listen", "--admin-listen"] {
        let mut arguments = vec!["serve", "--insecure-no-auth"];
        for each in ["--listen", "--internal-listen", "--admin-listen"] {
            arguments.extend([each, if each == flag { &address } else { "127.0.0.1:0" }]);
        }
        let ran = ground.run_as("somebody", &arguments).await;
        let message = ran.failed_with_one_sentence();
        assert!(message.contains(&address) && message.contains(flag) && message.contains("in use"), "{message}");
    }
}

/// Not only named in the help: what stands in the environment counts, and a flag counts more.
async fn serve_takes_its_settings_from_the_environment(ground: Ground) {
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    let service = ground
        .service()
        .environment(&[("PUSHROLL_POISON", "nack"), ("PUSHROLL_MAX_BODY", "1KiB"), ("PUSHROLL_MOUNT_POLL", "1h")])
        .start_ready()
        .await;
    service.deliver(&[("x-goog-pubsub-message-id", "1")], "junk").await.problem(422);
    service.deliver(&[], vec![b' '; 1025]).await.problem(413);
    assert_eq!(get(&format!("{}/livez", service.internal)).await.status, 200);

    let builder = ground.service().environment(&[("PUSHROLL_POISON", "nack")]).arguments(["--poison", "ack"]);
    let service = builder.start_ready().await;
    assert_eq!(service.deliver(&[("x-goog-pubsub-message-id", "1")], "junk").await.status, 200);
}
