//! On GKE without a public endpoint: pushroll pulls, and nothing leads in.

use serde_json::{Value, json};

use super::manifests::{Manifests, NAMESPACE};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(nothing_leads_in_where_pushroll_pulls);
    suite.on_control_plane(the_network_policy_of_pulling_admits_no_push);
    suite.on_control_plane(what_pulls_is_admitted);
}

const OVERLAY: &str = "overlays/gke-pull";
/// The same with a Gateway.
const PUSHED_TO: &str = "overlays/gke";

fn named<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap()).collect()
}

async fn nothing_leads_in_where_pushroll_pulls(ground: Ground) {
    let [pulls, pushed_to] = [OVERLAY, PUSHED_TO].map(|overlay| Manifests::render(&ground, overlay));
    let names = pulls.names();
    let leads_in: Vec<_> = pushed_to.names().into_iter().filter(|name| !names.contains(name)).collect();
    assert_eq!(
        leads_in,
        [
            "GCPBackendPolicy/pushroll",
            "Gateway/pushroll",
            "HTTPRoute/pushroll",
            "HealthCheckPolicy/pushroll",
            "Service/pushroll",
        ]
    );
    assert!(names.iter().all(|name| pushed_to.names().contains(name)), "and nothing else instead: {names:?}");

    assert_eq!(pulls.of_kind("Ingress").count(), 0);
    let services: Vec<_> = pulls.of_kind("Service").collect();
    let [internal] = services[..] else { panic!("{services:?}") };
    assert_eq!(internal["spec"]["type"], "ClusterIP");
    assert_eq!(named(&internal["spec"]["ports"], "targetPort"), ["internal"]);
    let ports = &pulls.container()["ports"];
    assert_eq!(named(ports, "name"), ["internal", "admin"]);
    assert!(!ports.to_string().contains("hostPort"), "{ports}");

    // Otherwise it is the same container, and the settings are those of a pull.
    let without_settings = |manifests: &Manifests| {
        let mut container = manifests.container().clone();
        let container = container.as_object_mut().unwrap();
        container.remove("envFrom");
        container.remove("ports");
        json!(container)
    };
    assert_eq!(without_settings(&pulls), without_settings(&pushed_to));
    let environment = pulls.environment(pulls.container());
    let pull = &environment.iter().find(|(name, _)| name == "PUSHROLL_PULL").unwrap().1;
    assert_eq!(pull.split('/').step_by(2).collect::<Vec<_>>(), ["projects", "subscriptions"], "{pull}");
    for of_a_push in ["PUSHROLL_AUDIENCE", "PUSHROLL_SERVICE_ACCOUNT", "PUSHROLL_INSECURE_NO_AUTH"] {
        assert!(!environment.iter().any(|(name, _)| name == of_a_push), "{of_a_push}");
    }
    // The Kubernetes account that deploy/gcp gives the roles to.
    assert_eq!(pulls.pod_template()["spec"]["serviceAccountName"], "pushroll");
    assert_eq!(pulls.get("Deployment", "pushroll")["metadata"]["namespace"], NAMESPACE);
}

async fn the_network_policy_of_pulling_admits_no_push(ground: Ground) {
    let manifests = Manifests::render(&ground, OVERLAY);
    let policy = &manifests.get("NetworkPolicy", "pushroll")["spec"];
    let labels = &manifests.pod_template()["metadata"]["labels"];
    let selected = policy["podSelector"]["matchLabels"].as_object().unwrap();
    assert!(!selected.is_empty() && selected.iter().all(|(key, value)| labels[key] == *value), "{policy}");
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    // In: the scraper of a namespace to the internal port, as where pushes come in, and nobody else.
    let pushed_to = Manifests::render(&ground, PUSHED_TO);
    let rules = pushed_to.get("NetworkPolicy", "pushroll")["spec"]["ingress"].as_array().unwrap();
    let scraper: Vec<_> = rules.iter().filter(|rule| rule["from"][0].get("namespaceSelector").is_some()).collect();
    assert_eq!(policy["ingress"], json!(scraper));
    assert_eq!((scraper.len(), &scraper[0]["ports"]), (1, &json!([{"port": 9090}])), "{scraper:?}");
    // Out: names, TLS (the API server, Google), and the metadata server at either of its addresses.
    let mut out = Vec::new();
    for rule in policy["egress"].as_array().unwrap() {
        let to = match rule.get("to") {
            None => "anywhere",
            Some(to) => to.as_array().unwrap()[0]["ipBlock"]["cidr"].as_str().unwrap(),
        };
        for port in rule["ports"].as_array().unwrap() {
            out.push(format!("{to} {} {}", port["protocol"].as_str().unwrap(), port["port"]));
        }
    }
    assert_eq!(
        out,
        [
            "anywhere UDP 53",
            "anywhere TCP 53",
            "anywhere TCP 443",
            "169.254.169.254/32 TCP 80",
            "169.254.169.254/32 TCP 8080",
            "169.254.169.252/32 TCP 988",
            "169.254.169.252/32 TCP 987",
        ]
    );
}

/// By the API server, with every field known to it.
async fn what_pulls_is_admitted(ground: Ground) {
    let moved = Manifests::render(&ground, OVERLAY).moved(&ground, &[(NAMESPACE, ground.namespace())]);
    let kinds = ["ConfigMap", "Deployment", "NetworkPolicy", "Service", "ServiceAccount"];
    moved.only(|object| kinds.contains(&object["kind"].as_str().unwrap())).apply(&ground);
}
