//! One permission of some roles: a verb on a resource; taken away and given back.

use serde_json::{Value, json};

use crate::support::ground::Ground;
use crate::support::wait::eventually;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Permission {
    pub(super) verb: String,
    pub(super) resource: String,
    pub(super) group: String,
    /// The one object it is for, or empty.
    pub(super) name: String,
    /// Of a Role; empty of a ClusterRole.
    pub(super) namespace: String,
}

/// Who may, or may not.
pub(super) struct Account {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
}

/// The roles of one account, and the account.
pub(super) struct Roles {
    pub(super) ground: Ground,
    pub(super) account: Account,
    pub(super) roles: Vec<Value>,
}

fn is_role(object: &Value) -> bool {
    ["Role", "ClusterRole"].contains(&object["kind"].as_str().unwrap())
}

impl Account {
    pub(super) fn service_account(namespace: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
        Self { user: format!("system:serviceaccount:{namespace}:{name}"), groups: groups.map(str::to_owned).into() }
    }

    /// What the API server's authorizer says; an empty namespace: all of them.
    pub(super) async fn may(&self, ground: &Ground, permission: &Permission) -> bool {
        let Permission { verb, resource, group, name, namespace } = permission;
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({"verb": verb, "resource": resource, "subresource": subresource, "group": group,
            "name": name, "namespace": namespace});
        let review = json!({"spec": {"user": self.user, "groups": self.groups, "resourceAttributes": attributes}});
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        ground.request("POST", path, Some(review)).await.unwrap()["status"]["allowed"].as_bool().unwrap()
    }
}

impl Permission {
    /// `list deployments.apps`
    pub(super) fn verb_and_resource(&self) -> String {
        let resource = format!("{}.{}", self.resource, self.group);
        format!("{} {}", self.verb, resource.trim_end_matches('.'))
    }

    /// What the API server says of one who lacks it.
    pub(super) fn missed_by(&self, user: &str) -> String {
        let Self { verb, resource, group, .. } = self;
        format!("User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\"")
    }

    fn is_in(&self, role: &Value, rule: &Value) -> bool {
        let has = |field: &str, value: &str| rule[field].as_array().unwrap().iter().any(|one| one == value);
        role["metadata"]["namespace"].as_str().unwrap_or_default() == self.namespace
            && rule["resourceNames"][0].as_str().unwrap_or_default() == self.name
            && has("apiGroups", &self.group)
            && has("resources", &self.resource)
            && has("verbs", &self.verb)
    }

    /// The rules of a role without it, which takes nothing else away.
    fn taken_from(&self, role: &Value) -> Value {
        let mut rules = Vec::new();
        for rule in role["rules"].as_array().unwrap() {
            if !self.is_in(role, rule) {
                rules.push(rule.clone());
                continue;
            }
            let without = |field: &str, value: &str| {
                let values = rule[field].as_array().unwrap().iter();
                values.filter(|one| *one != value).cloned().collect::<Vec<_>>()
            };
            let (resources, verbs) = (without("resources", &self.resource), without("verbs", &self.verb));
            if !resources.is_empty() {
                let mut others = rule.clone();
                others["resources"] = json!(resources);
                rules.push(others);
            }
            if !verbs.is_empty() {
                let mut rest = rule.clone();
                rest["resources"] = json!([self.resource]);
                rest["verbs"] = json!(verbs);
                rules.push(rest);
            }
        }
        json!(rules)
    }
}

impl Roles {
    /// Of the account `name`, all that these manifests bind it to; the API server goes by them when this returns.
    pub(super) async fn of(ground: &Ground, objects: &[Value], namespace: &str, name: &str) -> Self {
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
        let binds = |role: &Value, binding: &Value| {
            binding["subjects"].as_array().is_some_and(|subjects| subjects.contains(&subject))
                && binding["roleRef"]["kind"] == role["kind"]
                && binding["roleRef"]["name"] == role["metadata"]["name"]
                && binding["metadata"]["namespace"] == role["metadata"]["namespace"]
        };
        let roles = objects.iter().filter(|role| is_role(role) && objects.iter().any(|binding| binds(role, binding)));
        let account = Account::service_account(namespace, name);
        let roles = Self { ground: ground.clone(), account, roles: roles.cloned().collect() };
        for permission in roles.permissions() {
            roles.wait_until(&permission, true).await;
        }
        roles
    }

    /// Each of them once, though two roles may have it.
    pub(super) fn permissions(&self) -> Vec<Permission> {
        let mut permissions = Vec::new();
        for role in &self.roles {
            for rule in role["rules"].as_array().unwrap() {
                let texts = |field: &str| rule[field].as_array().cloned().unwrap_or_default();
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                assert!(texts("apiGroups").len() == 1 && texts("resourceNames").len() <= 1, "{rule}");
                let of = |resource: &Value, verb: &Value| Permission {
                    verb: text(verb),
                    resource: text(resource),
                    group: text(&rule["apiGroups"][0]),
                    name: text(&rule["resourceNames"][0]),
                    namespace: text(&role["metadata"]["namespace"]),
                };
                for resource in &texts("resources") {
                    permissions.extend(texts("verbs").iter().map(|verb| of(resource, verb)));
                }
            }
        }
        permissions.sort();
        permissions.dedup();
        permissions
    }

    /// From every role that has it.
    pub(super) async fn take(&self, permission: &Permission) {
        for role in &self.roles {
            self.write(role, permission.taken_from(role)).await;
        }
        self.wait_until(permission, false).await;
    }

    pub(super) async fn give_back(&self, permission: &Permission) {
        for role in &self.roles {
            self.write(role, role["rules"].clone()).await;
        }
        self.wait_until(permission, true).await;
    }

    async fn write(&self, role: &Value, rules: Value) {
        let home = role["metadata"]["namespace"].as_str().map(|namespace| format!("namespaces/{namespace}/"));
        let kind = role["kind"].as_str().unwrap().to_lowercase();
        let name = role["metadata"]["name"].as_str().unwrap();
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{}{kind}s/{name}", home.unwrap_or_default());
        self.ground.request("PATCH", &path, Some(json!({"rules": rules}))).await.unwrap();
    }

    /// The API server goes by what was written a moment later.
    pub(super) async fn wait_until(&self, permission: &Permission, permitted: bool) {
        let is_so = async || (self.account.may(&self.ground, permission).await == permitted).then_some(());
        eventually("RBAC follows the role", is_so).await;
    }
}
