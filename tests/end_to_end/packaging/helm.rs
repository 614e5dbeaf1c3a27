//! `deploy/helm/pushroll`: the same as kustomize, object by object, and what only a chart has.

mod chart;
mod difference;
mod installed;

use serde_json::{Value, json};

use super::manifests::{BASE, Manifests, NAMESPACE, run};
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use chart::{CHART, all_values, helm, read, render, values};
use difference::differences;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(the_chart_is_what_kustomize_renders);
    suite.on_control_plane(the_chart_passes_the_linter);
    suite.on_control_plane(a_wrong_value_of_the_chart_is_named);
    suite.on_control_plane(every_value_of_the_chart_has_a_default_and_a_type);
    suite.on_control_plane(the_chart_has_the_version_of_the_program);
    suite.on_control_plane(other_settings_of_the_chart_are_other_pods);
    suite.on_control_plane(the_notes_of_the_chart_name_the_next_command);
    installed::tests(suite);
}

/// The files of values for one of these overlays, and the release that each is for. An overlay with several pushrolls has
/// one for each, named after the overlay and the release.
fn releases(overlay: &str, overlays: &[String]) -> Vec<(String, String)> {
    let prefix = format!("{overlay}-");
    let is_of_several = |name: &String| name.starts_with(&prefix) && !overlays.contains(name);
    let names = all_values().into_iter().filter(|name| name == overlay || is_of_several(name));
    names.map(|name| (name.strip_prefix(&prefix).unwrap_or("pushroll").to_owned(), name)).collect()
}

/// The base and the overlays that are examples do not say whose pushes to take; the chart has to know.
fn with_sender(mut manifests: Manifests) -> Manifests {
    for object in manifests.objects.iter_mut().filter(|object| object["kind"] == "ConfigMap") {
        let data = object["data"].as_object_mut().unwrap();
        if !data.contains_key("PUSHROLL_AUDIENCE") && !data.contains_key("PUSHROLL_PULL") {
            data.insert("PUSHROLL_AUDIENCE".to_owned(), json!("https://pushroll.example.com/v1/push"));
            let account = json!("pushroll-push@example.iam.gserviceaccount.com");
            data.insert("PUSHROLL_SERVICE_ACCOUNT".to_owned(), account);
        }
    }
    manifests
}

async fn the_chart_is_what_kustomize_renders(ground: Ground) {
    let overlays = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/overlays")).unwrap();
    let overlays = overlays.map(|overlay| overlay.unwrap().file_name().into_string().unwrap());
    let overlays: Vec<_> = overlays.chain([BASE.to_owned()]).collect();
    let mut compared = Vec::new();
    for overlay in &overlays {
        let directory = if overlay == BASE { overlay.clone() } else { format!("overlays/{overlay}") };
        let kustomize = with_sender(Manifests::render(&ground, &directory));
        let mut chart = Manifests { objects: Vec::new() };
        let releases = releases(overlay, &overlays);
        assert!(!releases.is_empty(), "{overlay}: add {}", values(overlay));
        for (release, name) in releases {
            chart.objects.extend(render(&ground, &release, NAMESPACE, &["--values", &values(&name)]).objects);
            compared.push(name);
        }
        assert!(chart.objects.len() > 20, "{overlay}");
        let differences = differences(chart, kustomize);
        assert!(differences.is_empty(), "the chart and {directory} differ:\n{}", differences.join("\n"));
    }
    compared.sort();
    assert_eq!(compared, all_values(), "each file of values is for an overlay");
}

async fn the_chart_passes_the_linter(ground: Ground) {
    for name in all_values() {
        run(helm(&ground).args(["lint", "--strict", "--values", &values(&name), CHART]));
    }
}

async fn a_wrong_value_of_the_chart_is_named(ground: Ground) {
    let sink = "notify.sinks[0].name=chat,notify.sinks[0].secretName=chat";
    let two_sinks = format!(
        "{sink},notify.sinks[0].kind=slack,notify.sinks[1].name=chat,notify.sinks[1].kind=teams,notify.sinks[1].secretName=b"
    );
    let unknown_sink = format!("{sink},notify.sinks[0].kind=irc");
    let no_sender = "push.audience=,push.serviceAccount=";
    let only_pulls =
        format!("{no_sender},pull.subscription=projects/acme/subscriptions/pushroll,gke.gateway.enabled=true");
    // What is set, and what the message says of it.
    let wrong = [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("image.tags=latest", "at '/image': additional properties 'tags' not allowed"),
        ("resources.limit.memory=1Gi", "at '/resources': additional properties 'limit' not allowed"),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("replicas=-1", "at '/replicas': minimum: got -1, want 0"),
        ("readPods=maybe", "at '/readPods': got string, want boolean"),
        ("drain.delaySeconds=10s", "at '/drain/delaySeconds': got string, want integer"),
        ("drain.timeoutSeconds=0", "at '/drain/timeoutSeconds'"),
        ("image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of '', 'Always'"),
        ("image.digest=sha256:123", "at '/image/digest'"),
        ("namespaces={shop,Payments}", "at '/namespaces/1': 'Payments' does not match"),
        ("namespaces=shop", "at '/namespaces': got string, want array"),
        ("instance=shop_1", "at '/instance': 'shop_1' does not match"),
        ("push.audience=a b", "at '/push/audience': 'a b' does not match"),
        ("push.serviceAccount=pushroll", "at '/push/serviceAccount': 'pushroll' does not match"),
        ("pull.subscription=projects/acme/topics/gcr", "at '/pull/subscription'"),
        ("refresh.schedule=often", "at '/refresh/schedule': 'often' does not match"),
        ("refresh.immutableWorkload=job/a", "at '/refresh/immutableWorkload'"),
        (&unknown_sink, "at '/notify/sinks/0/kind': value must be one of 'cloudevents'"),
        ("networkPolicy.egressPorts={https}", "at '/networkPolicy/egressPorts/0'"),
        ("admissionPolicy.webhookPrefixes={'}", "at '/admissionPolicy/webhookPrefixes/0'"),
        (no_sender, "set push.audience and push.serviceAccount"),
        ("push.serviceAccount=", "push.audience is set and push.serviceAccount is not"),
        ("push.audience=", "push.serviceAccount is set and push.audience is not"),
        (
            "gke.gateway.enabled=true,gke.ingress.enabled=true",
            "gke.gateway.enabled and gke.ingress.enabled are both true",
        ),
        ("gke.ingress.enabled=true", "gke.ingress.host is not set"),
        (&only_pulls, "gke.gateway.enabled is true, but pushroll only pulls"),
        ("refresh.immutableWorkload=deployment/reader", "refresh.enabled is not"),
        (&two_sinks, "two of notify.sinks have the name chat"),
    ];
    let output = |release: &str, set: &str| {
        let mut template = helm(&ground);
        let output =
            template.args(["template", release, CHART, "--values", &values(BASE), "--set", set]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (set, expected) in wrong {
        let (success, message) = output("pushroll", set);
        assert!(!success && message.contains(expected), "{set}: {message}");
    }
    let (success, message) = output("a-release-with-a-name-that-is-long-enough", "replicas=1");
    assert!(!success && message.contains("set instance to at most 35"), "{message}");
    assert!(output("a-release-with-a-name-that-is-long-enough", "instance=shop").0);
}

/// An object of the schema and the values have the same members, and no others are taken.
fn assert_described(path: &str, schema: &Value, values: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], false, "{path}");
    let values = values.as_object().unwrap();
    if values.is_empty() {
        return;
    }
    // Of Kubernetes' own objects the values need not have all.
    if !path.ends_with("resources") {
        let known: Vec<_> = properties.keys().filter(|key| *key != "global").collect();
        assert!(known.iter().all(|key| values.contains_key(*key)), "{path} has no default for each of {known:?}");
    }
    for (key, value) in values {
        assert_described(&format!("{path}.{key}"), &properties[key], value);
    }
}

async fn every_value_of_the_chart_has_a_default_and_a_type(_: Ground) {
    assert_described("values", &read("values.schema.json"), &read("values.yaml"));
}

async fn the_chart_has_the_version_of_the_program(_: Ground) {
    let chart: Value = read("Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((&chart["version"], &chart["appVersion"]), (&json!(version), &json!(version)));
    assert_eq!(chart["annotations"]["artifacthub.io/license"], env!("CARGO_PKG_LICENSE"));
    let links = chart["annotations"]["artifacthub.io/links"].as_str().unwrap();
    let links: Vec<Value> = serde_yaml_ng::from_str(links).unwrap();
    for link in links {
        let url = link["url"].as_str().unwrap();
        assert!(link["name"].is_string() && url.starts_with(env!("CARGO_PKG_REPOSITORY")), "{link}");
        if let Some((_, file)) = url.split_once("/blob/main/") {
            assert!(std::fs::exists(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap(), "{url}");
        }
    }
}

async fn other_settings_of_the_chart_are_other_pods(ground: Ground) {
    let template = |set: &str| {
        let manifests = render(&ground, "pushroll", NAMESPACE, &["--values", &values(BASE), "--set", set]);
        manifests.pod_template().clone()
    };
    assert_ne!(template("cacheConfigMap=a,push.audience=a"), template("cacheConfigMap=a,push.audience=b"));
    assert_eq!(template("replicas=2"), template("replicas=3"));
}

async fn the_notes_of_the_chart_name_the_next_command(ground: Ground) {
    let notes = |values_of: &str| {
        let mut install = helm(&ground);
        install.args([
            "install",
            "shop",
            CHART,
            "--namespace",
            "tools",
            "--dry-run=client",
            "--values",
            &values(values_of),
        ]);
        run(&mut install).stdout.split_once("\nNOTES:\n").unwrap().1.to_owned()
    };
    let [pushed_to, with_gateway, pulls] = [BASE, "gke", "gke-pull"].map(notes);
    for notes in [&pushed_to, &with_gateway, &pulls] {
        assert!(notes.contains("kubectl -n tools rollout status deployment/pushroll-shop"), "{notes}");
        assert!(notes.contains("kubectl -n tools exec deployment/pushroll-shop -- /pushroll check"), "{notes}");
    }
    assert!(pushed_to.contains("port 80 of the Service pushroll-shop"), "{pushed_to}");
    assert!(pushed_to.contains("deploy/gcp/setup PROJECT https://"), "{pushed_to}");
    assert!(with_gateway.contains("the load balancer"), "{with_gateway}");
    assert!(pulls.contains("KUBERNETES_ACCOUNT=tools/pushroll-shop deploy/gcp/setup --pull PROJECT"), "{pulls}");
    assert!(!pulls.contains("https://"), "{pulls}");
}
