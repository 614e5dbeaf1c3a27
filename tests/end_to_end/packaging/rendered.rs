//! What the manifests promise, held against the program and the API server.

use serde_json::{Value, json};

use super::manifests::{BASE, Manifests, NAMESPACE, run};
use crate::support::command;
use crate::support::control_plane::ADMIN;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::kubernetes::JSON;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(the_base_fits_the_program);
    suite.on_control_plane(the_base_fits_itself);
    suite.on_control_plane(the_base_has_no_more_power_than_it_needs);
    suite.on_control_plane(the_pods_of_the_base_are_admitted_and_run);
    suite.on_control_plane(the_command_lines_of_the_deployments_are_understood);
    suite.on_control_plane(the_probes_of_the_base_are_answered);
}

/// The default that `serve --help` shows for a flag.
async fn default_of(flag: &str) -> String {
    let help = command::run(&["serve", "--help"]).await.stdout;
    let after = help.split_once(&format!("{flag} <")).unwrap_or_else(|| panic!("no {flag} in {help}")).1;
    // An IPv6 address has such brackets, too.
    let default = after.split_once("[default: ").unwrap().1.split_whitespace().next().unwrap();
    default.strip_suffix(']').unwrap().to_owned()
}

fn port(container: &Value, name: &str) -> i64 {
    let ports = container["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == name).unwrap_or_else(|| panic!("no port {name}"));
    port["containerPort"].as_i64().unwrap()
}

fn seconds(text: &str) -> i64 {
    text.strip_suffix('s').unwrap().parse().unwrap()
}

async fn the_base_fits_the_program(ground: Ground) {
    let base = Manifests::render(&ground, BASE);
    let container = base.container();
    for (name, flag) in [("public", "--listen"), ("internal", "--internal-listen"), ("admin", "--admin-listen")] {
        let address = default_of(flag).await;
        assert!(address.ends_with(&format!(":{}", port(container, name))), "{name}: {address}");
    }
    assert!(default_of("--admin-listen").await.starts_with("127.0.0.1:"));

    let config_map = default_of("--cache-configmap").await;
    let volumes = base.pod_template()["spec"]["volumes"].clone();
    assert_eq!(volumes, json!([{"name": "cache", "configMap": {"name": config_map, "optional": true}}]));
    let mounts = container["volumeMounts"].clone();
    let cache_dir = default_of("--cache-dir").await;
    assert_eq!(mounts, json!([{"name": "cache", "mountPath": cache_dir, "readOnly": true}]), "and no subPath");
    let waiting = default_of("--waiting-configmap").await;
    for role in base.of_kind("Role") {
        let named = if role["metadata"]["name"] == "pushroll-waiting" { &waiting } else { &config_map };
        assert_eq!(role["rules"][0]["resourceNames"], json!([named]), "{role}");
    }
    assert!(base.environment(container).contains(&("PUSHROLL_WAITING_CONFIGMAP".to_owned(), waiting)));
    assert!(base.environment(container).contains(&("PUSHROLL_CACHE_CONFIGMAP".to_owned(), config_map)));

    // How long pushes are still taken, how long those in flight are waited for, and then some. The drain is longer
    // than a push may take; there is no preStop hook: it would take from the same time, and the process not know.
    let arguments = container["args"].as_array().unwrap();
    let given = |flag: &str| {
        let value =
            arguments.iter().find_map(|argument| argument.as_str()?.strip_prefix(&format!("{flag}=")).map(seconds));
        value.unwrap_or_else(|| panic!("{flag} in {arguments:?}"))
    };
    let (delay, drain) = (given("--drain-delay"), given("--drain-timeout"));
    let grace = base.pod_template()["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap();
    assert!(delay + drain + 1 < grace, "{delay} + {drain} + 1 < {grace}");
    assert!(delay >= seconds(&default_of("--drain-delay").await), "{delay}");
    assert!(drain > seconds(&default_of("--hold").await), "{drain}");
    assert_eq!(container["lifecycle"], json!(null));
    assert!(container["image"].as_str().unwrap().ends_with(&format!(":{}", env!("CARGO_PKG_VERSION"))));
}

async fn the_base_fits_itself(ground: Ground) {
    let base = Manifests::render(&ground, BASE);
    assert_eq!(
        base.names(),
        [
            "ClusterRole/pushroll-event-writer",
            "ClusterRole/pushroll-pod-reader",
            "ClusterRole/pushroll-reader",
            "ClusterRole/pushroll-refresher",
            "ClusterRole/pushroll-restarter",
            "ClusterRole/pushroll-watcher",
            "ClusterRoleBinding/pushroll-event-writer",
            "ClusterRoleBinding/pushroll-pod-reader",
            "ClusterRoleBinding/pushroll-reader",
            "ClusterRoleBinding/pushroll-refresher",
            "ClusterRoleBinding/pushroll-restarter",
            "ClusterRoleBinding/pushroll-watcher",
            "ConfigMap/pushroll-settings",
            "Deployment/pushroll",
            "Namespace/pushroll",
            "PodDisruptionBudget/pushroll",
            "Role/pushroll-reader",
            "Role/pushroll-refresher",
            "Role/pushroll-waiting",
            "Role/pushroll-watcher",
            "RoleBinding/pushroll-reader",
            "RoleBinding/pushroll-refresher",
            "RoleBinding/pushroll-waiting",
            "RoleBinding/pushroll-watcher",
            "Service/pushroll",
            "Service/pushroll-internal",
            "ServiceAccount/pushroll",
        ]
    );
    let labels = &base.pod_template()["metadata"]["labels"];
    let selects = |selector: &Value| {
        let wanted = selector.as_object().unwrap();
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
    };
    let mut exposed = Vec::new();
    for service in base.of_kind("Service") {
        assert!(selects(&service["spec"]["selector"]), "{service}");
        assert_eq!(service["spec"]["type"], "ClusterIP");
        for port in service["spec"]["ports"].as_array().unwrap() {
            exposed.push((service["metadata"]["name"].as_str().unwrap(), port["targetPort"].as_str().unwrap()));
        }
    }
    // A listener each, and the admin listener nowhere.
    assert_eq!(exposed, [("pushroll", "public"), ("pushroll-internal", "internal")]);
    let budget = &base.get("PodDisruptionBudget", "pushroll")["spec"];
    assert!(selects(&budget["selector"]["matchLabels"]) && budget["maxUnavailable"] == 1, "{budget}");
    assert!(selects(&base.get("Deployment", "pushroll")["spec"]["selector"]["matchLabels"]));
    let spread = base.pod_template()["spec"]["topologySpreadConstraints"].as_array().unwrap();
    assert!(spread.len() == 2 && spread.iter().all(|one| selects(&one["labelSelector"]["matchLabels"])));
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        for binding in base.of_kind(kind) {
            let account = json!([{"kind": "ServiceAccount", "name": "pushroll", "namespace": NAMESPACE}]);
            assert_eq!(binding["subjects"], account);
            assert_eq!(binding["roleRef"]["name"], binding["metadata"]["name"]);
        }
    }
}

async fn the_base_has_no_more_power_than_it_needs(ground: Ground) {
    let base = Manifests::render(&ground, BASE);
    let pod = &base.pod_template()["spec"];
    assert_eq!(pod["serviceAccountName"], "pushroll");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert_eq!(pod.get(host), None, "{host}");
    }
    let security = json!({"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}});
    assert_eq!(base.container()["securityContext"], security);
    let resources = &base.container()["resources"];
    assert!(resources["requests"]["memory"].is_string() && resources["limits"]["memory"].is_string(), "{resources}");
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
}

async fn the_pods_of_the_base_are_admitted_and_run(ground: Ground) {
    let base = Manifests::base_applied(&ground);
    let in_namespace = |arguments: &[&str]| {
        run(ground.real().kubectl_as(ADMIN).args(["--namespace", NAMESPACE]).args(arguments)).stdout
    };
    in_namespace(&["rollout", "status", "--timeout=60s", "deployment/pushroll"]);
    let replicas = base.get("Deployment", "pushroll")["spec"]["replicas"].as_i64().unwrap();
    let phases = in_namespace(&["get", "pods", "-o", "jsonpath={.items[*].status.phase}"]);
    assert_eq!(phases.split_whitespace().filter(|phase| *phase == "Running").count() as i64, replicas, "{phases}");
    let allowed = in_namespace(&["get", "poddisruptionbudget/pushroll", "-o", "jsonpath={.spec.maxUnavailable}"]);
    assert_eq!(allowed, "1");

    // The proof that the level is enforced: the same pod with one thing more is not admitted.
    let pod = |change: &str, value: Value| {
        let mut pod = json!({"metadata": {"name": "other"}, "spec": base.pod_template()["spec"]});
        *pod["spec"]["containers"][0].pointer_mut(change).unwrap() = value;
        pod.to_string()
    };
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All");
    let escalation = "/securityContext/allowPrivilegeEscalation";
    let answer = ground.ask("POST", &path, JSON, pod(escalation, json!(true))).await;
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(answer.status == 403 && message.contains("violates PodSecurity \"restricted:latest\""), "{message}");
    assert_eq!(ground.ask("POST", &path, JSON, pod(escalation, json!(false))).await.status, 201);
}

/// Arguments and environment of each pushroll, as far as the start: there is no API server where they look. The base
/// does not know whose pushes to take, and says what to set.
async fn the_command_lines_of_the_deployments_are_understood(ground: Ground) {
    let audience = ("PUSHROLL_AUDIENCE", "https://pushroll.example.com/v1/push");
    let account = ("PUSHROLL_SERVICE_ACCOUNT", "pushroll-push@example.iam.gserviceaccount.com");
    let overlays = ["cronjob", "namespaced", "side-by-side", "gke", "gke-pull", "gke-ingress"]
        .map(|name| format!("overlays/{name}"));
    for directory in [BASE].into_iter().chain(overlays.iter().map(String::as_str)) {
        let manifests = Manifests::render(&ground, directory);
        for deployment in manifests.of_kind("Deployment") {
            let container = &deployment["spec"]["template"]["spec"]["containers"][0];
            let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
            let arguments: Vec<&str> = arguments.chain(["--kubeconfig", "/nowhere"]).collect();
            let environment = manifests.environment(container);
            let mut environment: Vec<_> =
                environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            if directory == BASE {
                let ran = command::run_with(&arguments, &environment, "").await;
                let message = ran.failed_with_one_sentence();
                assert!(message.contains(audience.0) && message.contains(account.0), "{message}");
                environment.extend([audience, account]);
            }
            let ran = command::run_with(&arguments, &environment, "").await;
            let message = ran.failed_with_one_sentence();
            assert!(message.contains("the kubeconfig /nowhere cannot be used"), "{directory}: {message}");
        }
    }
}

async fn the_probes_of_the_base_are_answered(ground: Ground) {
    let base = Manifests::render(&ground, BASE);
    let service = ground.service().start_ready().await;
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let http = &base.container()[probe]["httpGet"];
        assert_eq!(http["port"], "internal", "{probe}");
        let answer = get(&format!("{}{}", service.internal, http["path"].as_str().unwrap())).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok\n"), "{probe}");
    }
    assert_eq!(base.container()["readinessProbe"]["httpGet"]["path"], "/readyz");
    // Not ready must not mean killed: an API server that is away would have it killed again and again.
    for probe in ["livenessProbe", "startupProbe"] {
        assert_eq!(base.container()[probe]["httpGet"]["path"], "/livez", "{probe}");
    }
}
