//! pushroll for some namespaces: what it may and does stays within them, also beside another one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::manifests::{CACHE, Manifests, NAMESPACE};
use super::permission::Roles;
use super::stage::new_push;
use crate::support::fixtures::deployment;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::service::Service;
use crate::support::service_account::LoggedIn;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(a_namespaced_pushroll_stays_within_its_namespaces);
    suite.on_control_plane(a_namespace_that_is_deleted_is_named_and_the_other_is_served);
    suite.on_control_plane(two_pushrolls_side_by_side_do_not_meet);
}

/// The namespaces of the overlays, and where they are in this test.
async fn namespaces(ground: &Ground) -> Vec<(&'static str, String)> {
    let mut namespaces = vec![(NAMESPACE, ground.namespace().to_owned())];
    for name in ["shop", "checkout", "payments"] {
        namespaces.push((name, ground.another_namespace(name).await));
    }
    namespaces
}

fn applied(ground: &Ground, overlay: &str, namespaces: &[(&'static str, String)]) -> Manifests {
    let moves: Vec<_> = namespaces.iter().map(|(from, to)| (*from, to.as_str())).collect();
    let manifests = Manifests::render(ground, overlay).moved(ground, &moves);
    let of_cluster: Vec<_> = manifests.names().into_iter().filter(|name| name.starts_with("Cluster")).collect();
    assert!(of_cluster.is_empty(), "{of_cluster:?}");
    manifests.apply(ground);
    manifests
}

/// One pushroll as the manifests describe it: `suffix` is behind each of its names.
struct Instance {
    account: LoggedIn,
    roles: Roles,
    service: Service,
    namespaces: BTreeSet<String>,
    cache: String,
}

impl Instance {
    async fn start(ground: &Ground, manifests: &Manifests, suffix: &str) -> Self {
        let name = format!("pushroll{suffix}");
        let pod = &manifests.get("Deployment", &name)["spec"]["template"]["spec"];
        let environment = manifests.environment(&pod["containers"][0]);
        let value = |name: &str| environment.iter().find(|variable| variable.0 == name).unwrap().1.clone();
        let cache = value("PUSHROLL_CACHE_CONFIGMAP");
        assert_eq!(pod["volumes"][0]["configMap"]["name"], json!(cache), "what is mounted is what is written");
        assert_eq!(pod["serviceAccountName"], json!(name));
        let labels = &manifests.get("Deployment", &name)["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["pushroll.dev/mounts"], json!(cache), "and its pods are found by it");
        let roles = Roles::of(ground, &manifests.objects, ground.namespace(), &name).await;
        let waiting = value("PUSHROLL_WAITING_CONFIGMAP");
        let for_waiting = roles.permissions().into_iter().filter(|permission| permission.name == waiting).count();
        assert_eq!(for_waiting, 4, "get and patch of {waiting} and of its Lease");
        let namespaces: BTreeSet<_> = value("PUSHROLL_NAMESPACES").split(',').map(str::to_owned).collect();
        let permitted = roles.roles.iter().map(|role| role["metadata"]["namespace"].as_str().unwrap().to_owned());
        let home = BTreeSet::from([ground.namespace().to_owned()]);
        assert_eq!(permitted.collect::<BTreeSet<_>>(), &namespaces | &home, "what it looks at is what it may");
        let account = ground.log_in(ground.namespace(), &name).await;
        let service = replica(ground, manifests, suffix, &account).await;
        let instance = Self { account, roles, service, namespaces, cache };
        eventually("its cache is written", async || instance.images(ground).await).await;
        instance
    }

    fn cache_path(&self, ground: &Ground) -> String {
        format!("/api/v1/namespaces/{}/configmaps/{}", ground.namespace(), self.cache)
    }

    /// What its ConfigMap lists.
    async fn images(&self, ground: &Ground) -> Option<Value> {
        Some(ground.cache_document_at(&self.cache_path(ground)).await?["images"].clone())
    }

    /// Its permissions are in its own namespaces, and its calls too: no LIST of the whole cluster, and no ConfigMap
    /// but its own.
    async fn assert_stayed_within(&self, ground: &Ground, other: &str) {
        let mut lists = BTreeSet::new();
        for call in ground.api_calls(&self.account.user) {
            match (call.resource.as_str(), call.namespace) {
                ("configmaps", namespace) => {
                    assert_eq!(namespace.as_deref(), Some(ground.namespace()), "{}", call.uri);
                    assert!(call.name.as_deref().is_none_or(|name| name == self.cache), "{}", call.uri);
                }
                ("deployments" | "statefulsets" | "daemonsets", Some(namespace)) => {
                    assert!(self.namespaces.contains(&namespace), "{}", call.uri);
                    if call.verb == "list" {
                        lists.insert(namespace);
                    }
                }
                ("pods" | "events", Some(namespace)) => assert!(self.namespaces.contains(&namespace), "{}", call.uri),
                ("leases", Some(namespace)) => assert_eq!(namespace, ground.namespace(), "{}", call.uri),
                unexpected => panic!("{} of {unexpected:?}: {}", call.verb, call.uri),
            }
        }
        assert_eq!(lists, self.namespaces);
        for mut permission in self.roles.permissions() {
            if permission.resource == "configmaps" {
                continue;
            }
            for namespace in [other, ""] {
                permission.namespace = namespace.to_owned();
                assert!(!self.roles.account.may(ground, &permission).await, "{permission:?}");
            }
        }
        let ran = self.account.run(&["rebuild", "--cache-configmap", &self.cache]).await;
        let user = &self.account.user;
        assert!(ran.failed_with_one_sentence().contains("at the cluster scope"), "{ran:?}");
        let ran = self.account.run(&["rebuild", "--cache-configmap", &self.cache, "--namespaces", other]).await;
        let sentence = ran.failed_with_one_sentence();
        assert!(sentence.contains(&format!("User \"{user}\" cannot list resource")), "{sentence}");
        assert!(sentence.contains(&format!("in the namespace \"{other}\"")), "{sentence}");
    }
}

/// A service as the manifests describe it, when it is ready.
async fn replica(ground: &Ground, manifests: &Manifests, suffix: &str, account: &LoggedIn) -> Service {
    let pod = &manifests.get("Deployment", &format!("pushroll{suffix}"))["spec"]["template"]["spec"];
    let environment = manifests.environment(&pod["containers"][0]);
    // Whom the overlay lets push is tried in `rendered`; these tests push without a token.
    let of_tokens = |name: &str| ["PUSHROLL_AUDIENCE", "PUSHROLL_SERVICE_ACCOUNT"].contains(&name);
    let environment = environment.iter().filter(|(name, _)| !of_tokens(name));
    let environment: Vec<_> = environment.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let service = ground.service().environment(&environment).kubeconfig(&account.kubeconfig).user(&account.user);
    service.start_ready().await
}

/// A push of `image` restarts these, each once, and none of the others.
async fn assert_restarts(ground: &Ground, instance: &Instance, image: &str, own: &[Value], others: &[Value]) {
    let generations = async |workloads: &[Value]| {
        let mut generations = Vec::new();
        for workload in workloads {
            generations.push(ground.generation(workload).await);
        }
        generations
    };
    let (before, before_others) = (generations(own).await, generations(others).await);
    let answer = instance.service.push(&new_push(image)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("restarted")), "{}", answer.text());
    let expected: Vec<_> = before.iter().map(|generation| generation + 1).collect();
    assert_eq!(generations(own).await, expected, "{}", answer.text());
    assert_eq!(generations(others).await, before_others, "{}", answer.text());
}

async fn workloads(ground: &Ground, image: &str, namespaces: &[(&'static str, String)]) -> Vec<Value> {
    let workloads: Vec<_> = namespaces[1..].iter().map(|(_, to)| deployment(to, "web", image)).collect();
    for workload in &workloads {
        ground.create(workload).await;
    }
    workloads
}

async fn a_namespaced_pushroll_stays_within_its_namespaces(ground: Ground) {
    let (namespaces, image) = (namespaces(&ground).await, ground.image("web"));
    let [shop, checkout, payments]: [Value; 3] = workloads(&ground, &image, &namespaces).await.try_into().unwrap();
    let manifests = applied(&ground, "overlays/namespaced", &namespaces);
    let instance = Instance::start(&ground, &manifests, "").await;
    assert_eq!(instance.cache, CACHE);
    assert_restarts(&ground, &instance, &image, &[shop, payments], &[checkout]).await;
    instance.assert_stayed_within(&ground, &namespaces[2].1).await;
}

/// Its RoleBinding went with it.
async fn a_namespace_that_is_deleted_is_named_and_the_other_is_served(ground: Ground) {
    let (namespaces, image) = (namespaces(&ground).await, ground.image("web"));
    let [shop, _, _]: [Value; 3] = workloads(&ground, &image, &namespaces).await.try_into().unwrap();
    let manifests = applied(&ground, "overlays/namespaced", &namespaces);
    let instance = Instance::start(&ground, &manifests, "").await;
    let gone = namespaces[3].1.as_str();
    let path = format!("/api/v1/namespaces/{gone}");
    ground.request("DELETE", &path, None).await.unwrap();
    let is_gone = async || ground.request("GET", &path, None).await.is_err().then_some(());
    eventually("the namespace is gone", is_gone).await;

    let unseen = format!("deployments, statefulsets and daemonsets in the namespace {gone} cannot be seen");
    let push = new_push(&image);
    let answer = eventually("the permission is missed", async || {
        let answer = instance.service.push(&push).await;
        (answer.status == 503).then_some(answer)
    });
    let detail = answer.await.json()["detail"].to_string();
    assert!(detail.contains(&unseen) && detail.contains("cannot list resource"), "{detail}");
    assert_eq!(ground.generation(&shop).await, 2, "what can be seen is done");
    // A fresh replica has nothing but the ConfigMap, and then not even that.
    replica(&ground, &manifests, "", &instance.account).await;
    ground.request("DELETE", &instance.cache_path(&ground), None).await.unwrap();
    let fresh = replica(&ground, &manifests, "", &instance.account).await;
    let ready = get(&format!("{}/readyz?verbose", fresh.internal)).await.text();
    assert!(ready.contains(&unseen), "{ready}");
    let namespaces_of_both = format!("{},{gone}", namespaces[1].1);
    let rebuild = ["rebuild", "--cache-configmap", &instance.cache, "--namespaces", &namespaces_of_both];
    let ran = instance.account.run(&rebuild).await;
    assert!(ran.code == 1 && ran.stderr.contains(&unseen) && !ran.stdout.is_empty(), "{ran:?}");

    // It comes back, and its role is applied again.
    ground.request("POST", "/api/v1/namespaces", Some(json!({"metadata": {"name": gone}}))).await.unwrap();
    manifests.apply(&ground);
    let back = deployment(gone, "back", &image);
    ground.create(&back).await;
    let done = async || {
        let status = instance.service.push(&push).await.status;
        (status == 200 && ground.generation(&back).await == 2).then_some(())
    };
    eventually("the push is done there as well", done).await;
    assert_eq!(ground.generation(&shop).await, 2);
}

async fn two_pushrolls_side_by_side_do_not_meet(ground: Ground) {
    let (namespaces, image) = (namespaces(&ground).await, ground.image("web"));
    let workloads = workloads(&ground, &image, &namespaces).await;
    let (of_shop, of_payments) = workloads.split_at(2);
    let manifests = applied(&ground, "overlays/side-by-side", &namespaces);
    let shop = Instance::start(&ground, &manifests, "-shop").await;
    let payments = Instance::start(&ground, &manifests, "-payments").await;
    assert!(shop.namespaces.is_disjoint(&payments.namespaces) && shop.cache != payments.cache);

    assert_restarts(&ground, &shop, &image, of_shop, of_payments).await;
    assert_restarts(&ground, &payments, &image, of_payments, of_shop).await;
    // The CronJob of the one, over a cache that has to be written.
    ground.request("DELETE", &shop.cache_path(&ground), None).await.unwrap();
    let refresher = ground.log_in(ground.namespace(), "pushroll-refresher-shop").await;
    let _ = Roles::of(&ground, &manifests.objects, ground.namespace(), "pushroll-refresher-shop").await;
    let ran = manifests.run_container(manifests.container_of_job("pushroll-refresh-shop"), &refresher).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");

    let entries = |workloads: &[Value]| {
        let mut namespaces: Vec<_> =
            workloads.iter().map(|workload| workload["metadata"]["namespace"].as_str().unwrap()).collect();
        namespaces.sort_unstable();
        json!(namespaces.iter().map(|namespace| json!({"name": "web", "namespace": namespace})).collect::<Vec<_>>())
    };
    assert_eq!(shop.images(&ground).await.unwrap(), json!({&image: entries(of_shop)}));
    assert_eq!(payments.images(&ground).await.unwrap(), json!({&image: entries(of_payments)}));
    shop.assert_stayed_within(&ground, &namespaces[3].1).await;
    payments.assert_stayed_within(&ground, &namespaces[1].1).await;

    // Its pods, Services and budget are its own too: what selects the one does not select the other.
    let template = |suffix: &str| &manifests.get("Deployment", &format!("pushroll{suffix}"))["spec"]["template"];
    for object in manifests.of_kind("Service").chain(manifests.of_kind("PodDisruptionBudget")) {
        let selector = &object["spec"]["selector"];
        let wanted = selector["matchLabels"].as_object().or(selector.as_object()).unwrap();
        let selects = |suffix: &str| {
            let labels = &template(suffix)["metadata"]["labels"];
            wanted.iter().all(|(key, value)| labels[key] == *value)
        };
        let is_of_shop = object["metadata"]["name"].as_str().unwrap().ends_with("-shop");
        assert_eq!((selects("-shop"), selects("-payments")), (is_of_shop, !is_of_shop), "{object}");
    }
}
