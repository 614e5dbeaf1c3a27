//! Who is bound to what in `deploy/argo`: the accounts of its steps, each to what they need, and nobody else.

use serde_json::Value;

use super::Manifests;
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub(super) fn tests(suite: &mut Suite) {
    suite.on_control_plane(argo_grants_what_its_steps_need);
}

/// Each binding, and its subjects.
const BINDINGS: [(&str, &[&str]); 7] = [
    ("ClusterRoleBinding/pushroll-reader-argo", &["pushroll-reader-argo", "pushroll-restarter-argo"]),
    ("ClusterRoleBinding/pushroll-refresher-argo", &["pushroll-refresher-argo"]),
    ("ClusterRoleBinding/pushroll-restarter-argo", &["pushroll-restarter-argo"]),
    (
        "RoleBinding/pushroll-executor-argo",
        &["pushroll-reader-argo", "pushroll-refresher-argo", "pushroll-restarter-argo"],
    ),
    ("RoleBinding/pushroll-reader-argo", &["pushroll-reader-argo", "pushroll-restarter-argo"]),
    ("RoleBinding/pushroll-refresher-argo", &["pushroll-refresher-argo"]),
    ("RoleBinding/pushroll-sensor-argo", &["pushroll-sensor-argo"]),
];

async fn argo_grants_what_its_steps_need(ground: Ground) {
    let argo = Manifests::render(&ground, "argo");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut bound = Vec::new();
    let mut roles = Vec::new();
    for binding in argo.of_kind("ClusterRoleBinding").chain(argo.of_kind("RoleBinding")) {
        let (kind, name) = (text(&binding["kind"]), text(&binding["metadata"]["name"]));
        assert_eq!(binding["roleRef"]["name"], binding["metadata"]["name"]);
        assert_eq!(format!("{}Binding", text(&binding["roleRef"]["kind"])), kind);
        let mut subjects = Vec::new();
        for subject in binding["subjects"].as_array().unwrap() {
            argo.get("ServiceAccount", subject["name"].as_str().unwrap());
            subjects.push(text(&subject["name"]));
        }
        roles.push(format!("{}/{name}", text(&binding["roleRef"]["kind"])));
        bound.push((format!("{kind}/{name}"), subjects));
    }
    bound.sort();
    let expected = BINDINGS.map(|(binding, subjects)| (binding.to_owned(), subjects.iter().map(ToString::to_string)));
    let expected: Vec<_> = expected.into_iter().map(|(binding, subjects)| (binding, subjects.collect())).collect();
    assert_eq!(bound, expected);

    roles.sort();
    let is_role = |name: &String| name.starts_with("Role/") || name.starts_with("ClusterRole/");
    assert_eq!(argo.names().into_iter().filter(is_role).collect::<Vec<_>>(), roles, "a role that nobody has");
}
