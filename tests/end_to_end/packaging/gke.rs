//! On GKE: what leads in, who reaches which port, and the share of the API server.
//!
//! Kubernetes' own kinds are applied to the real API server, with every field known to it. Google's kinds and the Gateway
//! API's are not served there: their fields are held against a list of those that Google's and the Gateway API's own
//! types have, and their values against the program. No network plugin and no load balancer runs here.

use serde_json::{Value, json};

use super::manifests::{Manifests, NAMESPACE, run};
use crate::support::command;
use crate::support::control_plane::ADMIN;
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::kubernetes::JSON;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(what_leads_in_on_gke_fits_the_program);
    suite.on_control_plane(the_network_policy_keeps_to_the_ports_of_the_pods);
    suite.on_control_plane(pushroll_has_its_own_share_of_the_api_server);
}

/// By a Gateway, and by an Ingress.
const OVERLAYS: [&str; 2] = ["overlays/gke", "overlays/gke-ingress"];

/// Every field that the objects of a kind may have here, as a path; `[]` is any item of a list.
///
/// Sources: sigs.k8s.io/gateway-api v1.4.0 (its CRDs); GKE's CRDs of the policies, as in gke-networking-recipes;
/// k8s.io/ingress-gce, `pkg/apis/backendconfig/v1/types.go`; GKE's page on managed certificates.
const KNOWN: [(&str, &str, &[&str]); 6] = [
    (
        "Gateway",
        "gateway.networking.k8s.io/v1",
        &[
            "spec.gatewayClassName",
            "spec.addresses[].type",
            "spec.addresses[].value",
            "spec.listeners[].name",
            "spec.listeners[].protocol",
            "spec.listeners[].port",
            "spec.listeners[].allowedRoutes.namespaces.from",
        ],
    ),
    (
        "HTTPRoute",
        "gateway.networking.k8s.io/v1",
        &[
            "spec.parentRefs[].name",
            "spec.rules[].matches[].path.type",
            "spec.rules[].matches[].path.value",
            "spec.rules[].backendRefs[].name",
            "spec.rules[].backendRefs[].port",
        ],
    ),
    (
        "HealthCheckPolicy",
        "networking.gke.io/v1",
        &[
            "spec.targetRef.group",
            "spec.targetRef.kind",
            "spec.targetRef.name",
            "spec.default.checkIntervalSec",
            "spec.default.timeoutSec",
            "spec.default.healthyThreshold",
            "spec.default.unhealthyThreshold",
            "spec.default.config.type",
            "spec.default.config.httpHealthCheck.portSpecification",
            "spec.default.config.httpHealthCheck.port",
            "spec.default.config.httpHealthCheck.requestPath",
        ],
    ),
    (
        "GCPBackendPolicy",
        "networking.gke.io/v1",
        &[
            "spec.targetRef.group",
            "spec.targetRef.kind",
            "spec.targetRef.name",
            "spec.default.timeoutSec",
            "spec.default.connectionDraining.drainingTimeoutSec",
            "spec.default.logging.enabled",
        ],
    ),
    (
        "BackendConfig",
        "cloud.google.com/v1",
        &[
            "spec.healthCheck.type",
            "spec.healthCheck.port",
            "spec.healthCheck.requestPath",
            "spec.healthCheck.checkIntervalSec",
            "spec.healthCheck.timeoutSec",
            "spec.healthCheck.healthyThreshold",
            "spec.healthCheck.unhealthyThreshold",
            "spec.timeoutSec",
            "spec.connectionDraining.drainingTimeoutSec",
            "spec.logging.enable",
        ],
    ),
    ("ManagedCertificate", "networking.gke.io/v1", &["spec.domains[]"]),
];

/// The paths of all values below `value`.
fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| paths(member, &format!("{path}.{name}"), found));
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{path}[]"), found)),
        _ => found.push(path.to_owned()),
    }
}

/// The seconds of a duration that `serve` has as its default.
async fn default_seconds(flag: &str) -> i64 {
    let help = command::run(&["serve", "--help"]).await.stdout;
    let after = help.split_once(&format!("{flag} <")).unwrap_or_else(|| panic!("no {flag} in {help}")).1;
    let default = after.split_once("[default: ").unwrap().1.split_once(']').unwrap().0;
    default.strip_suffix('s').unwrap_or_else(|| panic!("{flag}: {default}")).parse().unwrap()
}

/// What the load balancer is told, whichever way leads in.
struct LoadBalancer {
    health_check: Value,
    health_path: String,
    timeout: i64,
    draining: i64,
    paths: Vec<(String, String)>,
}

fn load_balancer(manifests: &Manifests, overlay: &str) -> LoadBalancer {
    let number = |value: &Value| value.as_i64().unwrap_or_else(|| panic!("{overlay}: {value}"));
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{overlay}: {value}")).to_owned();
    if overlay == OVERLAYS[0] {
        let [check, backend] = ["HealthCheckPolicy", "GCPBackendPolicy"].map(|kind| manifests.get(kind, "pushroll"));
        for policy in [check, backend] {
            let service = json!({"group": "", "kind": "Service", "name": "pushroll"});
            assert_eq!(policy["spec"]["targetRef"], service);
        }
        let check = &check["spec"]["default"]["config"]["httpHealthCheck"];
        assert_eq!(check["portSpecification"], "USE_FIXED_PORT");
        let route = &manifests.get("HTTPRoute", "pushroll")["spec"];
        assert_eq!(route["parentRefs"], json!([{"name": manifests.get("Gateway", "pushroll")["metadata"]["name"]}]));
        let [rule] = &route["rules"].as_array().unwrap()[..] else { panic!("{route}") };
        assert_eq!(rule["backendRefs"], json!([{"name": "pushroll", "port": service_port(manifests)["port"]}]));
        let matches = rule["matches"].as_array().unwrap().iter().map(|one| &one["path"]);
        let policy = &backend["spec"]["default"];
        LoadBalancer {
            health_check: check["port"].clone(),
            health_path: text(&check["requestPath"]),
            timeout: number(&policy["timeoutSec"]),
            draining: number(&policy["connectionDraining"]["drainingTimeoutSec"]),
            paths: matches.map(|path| (text(&path["type"]), text(&path["value"]))).collect(),
        }
    } else {
        let config = &manifests.get("BackendConfig", "pushroll")["spec"];
        let annotations = &manifests.get("Service", "pushroll")["metadata"]["annotations"];
        let annotation = |name: &str| serde_json::from_str::<Value>(annotations[name].as_str().unwrap()).unwrap();
        assert_eq!(annotation("cloud.google.com/backend-config"), json!({"default": "pushroll"}));
        assert_eq!(annotation("cloud.google.com/neg"), json!({"ingress": true}), "or the health check asks the nodes");
        let ingress = manifests.get("Ingress", "pushroll");
        let certificate = &manifests.get("ManagedCertificate", "pushroll")["metadata"]["name"];
        assert_eq!(ingress["metadata"]["annotations"]["networking.gke.io/managed-certificates"], *certificate);
        let [rule] = &ingress["spec"]["rules"].as_array().unwrap()[..] else { panic!("{ingress}") };
        let paths = rule["http"]["paths"].as_array().unwrap();
        for path in paths {
            let port = json!({"name": "pushroll", "port": {"name": service_port(manifests)["name"]}});
            assert_eq!(path["backend"]["service"], port);
        }
        LoadBalancer {
            health_check: config["healthCheck"]["port"].clone(),
            health_path: text(&config["healthCheck"]["requestPath"]),
            timeout: number(&config["timeoutSec"]),
            draining: number(&config["connectionDraining"]["drainingTimeoutSec"]),
            paths: paths.iter().map(|path| (text(&path["pathType"]), text(&path["path"]))).collect(),
        }
    }
}

fn service_port(manifests: &Manifests) -> &Value {
    let ports = &manifests.get("Service", "pushroll")["spec"]["ports"];
    let [port] = &ports.as_array().unwrap()[..] else { panic!("{ports}") };
    assert_eq!(port["targetPort"], "public");
    port
}

fn container_port(manifests: &Manifests, name: &str) -> Value {
    let ports = manifests.container()["ports"].as_array().unwrap();
    ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].clone()
}

async fn what_leads_in_on_gke_fits_the_program(ground: Ground) {
    let service = ground.service().start_ready().await;
    for overlay in OVERLAYS {
        let manifests = Manifests::render(&ground, overlay);
        for (kind, version, known) in KNOWN {
            for object in manifests.of_kind(kind) {
                assert_eq!(object["apiVersion"], version, "{kind}");
                assert_eq!(object["metadata"]["namespace"], NAMESPACE, "{kind}");
                let mut found = Vec::new();
                paths(&object["spec"], "spec", &mut found);
                let unknown: Vec<_> = found.iter().filter(|path| !known.contains(&path.as_str())).collect();
                assert!(!found.is_empty() && unknown.is_empty(), "{overlay}, {kind}: {unknown:?}");
            }
        }
        let told = load_balancer(&manifests, overlay);
        // What the health check asks is on the internal port, and answered; what it would ask by itself is not.
        assert_eq!(told.health_check, container_port(&manifests, "internal"), "{overlay}");
        assert_eq!(get(&format!("{}{}", service.internal, told.health_path)).await.status, 200, "{overlay}");
        assert_eq!(get(&format!("{}/", service.public)).await.status, 404);
        // What is let in is the push endpoint, and it is there.
        let [(how, path)] = &told.paths[..] else { panic!("{overlay}: {:?}", told.paths) };
        assert_eq!(how, "Exact", "{overlay}");
        let message = PushMessage::now(&ground.image("nobody"), 0);
        assert_eq!(service.push(&message).await.status, 200);
        assert_eq!(get(&format!("{}{path}", service.public)).await.status, 405, "{overlay}: it is for POST");
        assert!(told.timeout > default_seconds("--hold").await, "{overlay}: an answer may take {} s", told.timeout);
        let arguments = manifests.container()["args"].as_array().unwrap();
        let drain = arguments.iter().find_map(|argument| argument.as_str()?.strip_prefix("--drain-timeout=")).unwrap();
        let drain: i64 = drain.strip_suffix('s').unwrap().parse().unwrap();
        assert!(told.draining >= drain, "{overlay}: {} s, and pushes in flight may take {drain}", told.draining);
        // The endpoint that leads here is the audience that is expected.
        let environment = manifests.environment(manifests.container());
        let audience = &environment.iter().find(|(name, _)| name == "PUSHROLL_AUDIENCE").unwrap().1;
        assert!(audience.starts_with("https://") && audience.ends_with(path.as_str()), "{overlay}: {audience}");
        for certificate in manifests.of_kind("ManagedCertificate") {
            let host = audience.strip_prefix("https://").unwrap().split('/').next().unwrap();
            assert_eq!(certificate["spec"]["domains"], json!([host]), "{overlay}");
        }
    }
    // The Ingress is of a kind of Kubernetes' own. (kubectl would warn of the annotation that GKE's controller goes by.)
    let manifests = Manifests::render(&ground, OVERLAYS[1]).moved(&ground, &[(NAMESPACE, ground.namespace())]);
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{}/ingresses", ground.namespace());
    let path = format!("{path}?dryRun=All&fieldValidation=Strict");
    let answer = ground.ask("POST", &path, JSON, manifests.get("Ingress", "pushroll").to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// As far as it can be told without a network plugin: the API server takes it, it is about the pods of the base, and it
/// opens their two ports and no other.
async fn the_network_policy_keeps_to_the_ports_of_the_pods(ground: Ground) {
    for overlay in OVERLAYS {
        let manifests = Manifests::render(&ground, overlay);
        let policy = &manifests.get("NetworkPolicy", "pushroll")["spec"];
        let labels = &manifests.pod_template()["metadata"]["labels"];
        let selected = policy["podSelector"]["matchLabels"].as_object().unwrap();
        assert!(!selected.is_empty() && selected.iter().all(|(key, value)| labels[key] == *value), "{policy}");
        assert_eq!(policy["policyTypes"], json!(["Ingress"]), "what goes out stays open");
        let [public, internal] = ["public", "internal"].map(|name| container_port(&manifests, name));
        let mut from_anywhere = Vec::new();
        let mut to_internal = Vec::new();
        for rule in policy["ingress"].as_array().unwrap() {
            let ports: Vec<_> = rule["ports"].as_array().unwrap().iter().map(|port| &port["port"]).collect();
            assert!(!ports.is_empty(), "a rule without ports opens them all: {rule}");
            match rule.get("from") {
                None => from_anywhere.extend(ports),
                Some(from) => {
                    assert!(ports.iter().all(|port| **port == internal), "{rule}");
                    to_internal.extend(from.as_array().unwrap());
                }
            }
        }
        assert_eq!(from_anywhere, [&public]);
        let health_checks = ["35.191.0.0/16", "130.211.0.0/22"].map(|cidr| json!({"ipBlock": {"cidr": cidr}}));
        assert!(health_checks.iter().all(|range| to_internal.contains(&range)), "{to_internal:?}");
        // And otherwise one namespace, by the name that Kubernetes itself labels it with.
        let [scraper] = to_internal.iter().filter(|from| !health_checks.contains(from)).collect::<Vec<_>>()[..] else {
            panic!("{to_internal:?}")
        };
        let label = &scraper["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
        assert!(label.as_str().is_some_and(|name| !name.is_empty()), "{scraper}");
    }
    let moved = Manifests::render(&ground, OVERLAYS[0]).moved(&ground, &[(NAMESPACE, ground.namespace())]);
    moved.only(|object| object["kind"] == "NetworkPolicy").apply(&ground);
}

/// The API server itself says in each answer by which schema and at which level it was handled.
async fn pushroll_has_its_own_share_of_the_api_server(ground: Ground) {
    let manifests = Manifests::render(&ground, OVERLAYS[0]).moved(&ground, &[(NAMESPACE, ground.namespace())]);
    let ours = ["FlowSchema", "PriorityLevelConfiguration"];
    let kinds = ["FlowSchema", "PriorityLevelConfiguration", "ServiceAccount"];
    manifests.only(|object| kinds.contains(&object["kind"].as_str().unwrap())).apply(&ground);
    let name = format!("pushroll-{}", ground.namespace());
    let mut uids = Vec::new();
    for kind in ours {
        let path = format!("/apis/flowcontrol.apiserver.k8s.io/v1/{}s/{name}", kind.to_lowercase());
        uids.push(ground.request("GET", &path, None).await.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned());
    }
    let account = ground.log_in(ground.namespace(), "pushroll").await;
    let handled_by = || {
        let mut kubectl = ground.real().kubectl_as(ADMIN);
        // The last `--kubeconfig` counts.
        kubectl.arg("--kubeconfig").arg(&account.kubeconfig);
        // What every account may ask; the headers of the answer are in kubectl's log.
        run(kubectl.args(["auth", "whoami", "-v=8"]).env("LC_ALL", "C")).stderr
    };
    let handled = async || uids.iter().all(|uid| handled_by().contains(uid)).then_some(());
    eventually("its requests are handled at a level of its own", handled).await;
}
