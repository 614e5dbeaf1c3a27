//! Documents that pushroll did not write: made by hand with kubectl, under whatever name and key, and found on the
//! mount and through the API alike.

use serde_json::{Value, json};

use crate::support::documents::{document, names};
use crate::support::fixtures::{config_map, deployment};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_control_plane(a_plain_document_made_by_hand_is_picked_up);
    suite.on_control_plane(a_mapping_under_another_name_is_picked_up);
    suite.on_control_plane(what_kubectl_apply_cannot_hold_is_told);
}

/// A ConfigMap made by hand, and where it is.
struct ByHand<'a> {
    ground: &'a Ground,
    name: &'static str,
    key: &'static str,
}

impl ByHand<'_> {
    /// `kubectl create configmap NAME --from-file=KEY=FILE --dry-run=client -o yaml > MANIFEST`
    async fn manifest(&self, document: &Value) -> String {
        let file = self.ground.directory().join(self.key);
        std::fs::write(&file, document.to_string()).unwrap();
        let from_file = format!("--from-file={}={}", self.key, file.display());
        let create = ["create", "configmap", self.name, &from_file, "--dry-run=client", "-o", "yaml"];
        let manifest = self.ground.directory().join("manifest.yaml");
        std::fs::write(&manifest, self.ground.kubectl(&create).await).unwrap();
        manifest.to_str().unwrap().to_owned()
    }

    /// `... | kubectl apply -f -`
    async fn apply(&self, document: &Value) {
        let manifest = self.manifest(document).await;
        self.ground.kubectl(&["apply", "-f", &manifest]).await;
    }

    fn arguments(&self) -> [&'static str; 4] {
        ["--cache-configmap", self.name, "--cache-key", self.key]
    }

    /// What is applied is found through every door, and so is what is applied over it.
    async fn is_picked_up(&self) {
        let (ground, image) = (self.ground, self.ground.image("web"));
        let runs = |name: &str| document(&[(&image, &[&deployment(ground.namespace(), name, &image)])]);
        let command = async |more: &[&str]| {
            let lookup = [&["lookup", &*image, "-o", "name"], &self.arguments()[..], more].concat();
            let ran = ground.run_as(&ground.fresh_user(), &lookup).await;
            assert_eq!(ran.code, 0, "{ran:?}");
            ran.stdout
        };
        let by_name = |name: &str| format!("{}/deployment/{name}\n", ground.namespace());

        self.apply(&runs("first")).await;
        assert_eq!(command(&[]).await, by_name("first"));
        let through_api = ground.service().arguments(self.arguments()).start_ready().await;
        let found = through_api.lookup(&image).await;
        assert_eq!((names(&found), &found["source"]["tier"]), (vec!["first".to_owned()], &json!("configmap")));

        let mut volume = ground.volume();
        let mut sync = async || {
            let stored = ground.get(&config_map(ground.namespace(), self.name, "", "")).await;
            volume.show_file(self.key, stored["data"][self.key].as_str().unwrap());
            volume.directory().to_owned()
        };
        let directory = sync().await;
        let mounted = ground.service().arguments(self.arguments()).mount(&directory).start_ready().await;
        let found = mounted.lookup(&image).await;
        assert_eq!((names(&found), &found["source"]["tier"]), (vec!["first".to_owned()], &json!("mount")));
        self.apply(&runs("second")).await;
        sync().await;
        mounted.wait_for_lookup(&image, &["second"]).await;
        assert_eq!(command(&["--no-api", "--cache-dir", directory.to_str().unwrap()]).await, by_name("second"));
        assert_eq!(command(&[]).await, by_name("second"));
        assert_eq!(mounted.api_calls(), [], "the mount is all that was needed");
    }
}

async fn a_plain_document_made_by_hand_is_picked_up(ground: Ground) {
    ByHand { ground: &ground, name: "deployment-image-cache", key: "cache.json" }.is_picked_up().await;
}

async fn a_mapping_under_another_name_is_picked_up(ground: Ground) {
    ByHand { ground: &ground, name: "workflow-cache", key: "mappings.json" }.is_picked_up().await;
}

/// A document by hand of so many workloads.
fn of_many(ground: &Ground, workloads: usize) -> Value {
    let image = ground.image("web");
    let many: Vec<Value> = (0..workloads)
        .map(|number| deployment(ground.namespace(), &format!("a-workload-of-this-cluster-{number:05}"), &image))
        .collect();
    document(&[(&image, &many.iter().collect::<Vec<_>>())])
}

async fn what_kubectl_apply_cannot_hold_is_told(ground: Ground) {
    let by_hand = ByHand { ground: &ground, name: "deployment-image-cache", key: "cache.json" };
    let finding = async || {
        let ran = ground.run_as(&ground.fresh_user(), &["check", "-o", "json"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let findings = ran.json()["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["code"] == "last_applied_limit")
    };
    by_hand.apply(&of_many(&ground, 1000)).await;
    assert_eq!(finding().await, None);
    by_hand.apply(&of_many(&ground, 2200)).await;
    let near = finding().await.unwrap();
    assert_eq!(near["severity"], "warning", "{near}");
    assert!(near["reason"].to_string().contains("`kubectl apply` of this ConfigMap will soon fail"), "{near}");
    // Counted as kubectl writes it, whose JSON is spelled a little otherwise.
    let stored = ground.get(&config_map(ground.namespace(), by_hand.name, "", "")).await;
    let last_applied = &stored["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    let counted: usize =
        near["reason"].as_str().unwrap().split(", ").find_map(|part| part.split(' ').next()?.parse().ok()).unwrap();
    let written = last_applied.as_str().unwrap().len() + "kubectl.kubernetes.io/last-applied-configuration".len();
    assert!(counted.abs_diff(written) < 100, "{counted} and {written}");

    let manifest = by_hand.manifest(&of_many(&ground, 3000)).await;
    let refused = ground.kubectl_fails(&["apply", "-f", &manifest]).await;
    assert!(refused.contains("Too long") && refused.contains("262144"), "{refused}");
    // The command that the remedy names, and the other one that works.
    assert!(near["remedy"].to_string().contains("kubectl replace -f -"), "{near}");
    ground.kubectl(&["replace", "-f", &manifest]).await;
    let over = finding().await.unwrap();
    assert!(over["reason"].to_string().contains("`kubectl apply` of this ConfigMap fails"), "{over}");
    assert_eq!(over["severity"], "ok", "replaced, it carries no such annotation: {over}");
    ground.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &manifest]).await;
    ground.delete(&stored).await;
    ground.kubectl_fails(&["apply", "-f", &manifest]).await;
    ground.kubectl(&["create", "-f", &manifest]).await;
    let lookup = ground.run_as(&ground.fresh_user(), &["lookup", &ground.image("web"), "-o", "name"]).await;
    assert_eq!((lookup.code, lookup.stdout.lines().count()), (0, 3000));
}
