use super::*;

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const RECORD: &str = "example.dev/record";

/// A workload and the history of its writes.
struct History {
    object: Value,
    second: i64,
}

impl History {
    fn of(object: Value) -> Self {
        let mut history =
            Self { object: json!({"metadata": {}, "spec": {"template": {"metadata": {}, "spec": {}}}}), second: 0 };
        history.write("creator", |new| *new = object);
        history
    }

    fn write(&mut self, manager: &str, change: impl FnOnce(&mut Value)) {
        self.write_through(manager, None, change);
    }

    fn write_through(&mut self, manager: &str, subresource: Option<&str>, change: impl FnOnce(&mut Value)) {
        let mut new = self.object.clone();
        change(&mut new);
        self.second += 1;
        let now = Timestamp::from_second(self.second).unwrap();
        update(&self.object, &mut new, &Writer { manager, api_version: "apps/v1".to_owned(), subresource, now });
        new["metadata"]["creationTimestamp"] = json!("1970-01-01T00:00:01Z");
        self.object = new;
    }

    fn annotate(&mut self, manager: &str, annotations: &[(&str, Option<&str>)]) {
        self.write(manager, |new| {
            let map = &mut new["spec"]["template"]["metadata"]["annotations"];
            for (key, value) in annotations {
                match value {
                    Some(value) => map[*key] = json!(value),
                    None => {
                        map.as_object_mut().unwrap().remove(*key);
                    }
                }
            }
        });
    }

    fn entry(&self, manager: &str) -> Option<&Value> {
        let entries = self.object["metadata"]["managedFields"].as_array()?;
        entries.iter().find(|entry| entry["manager"] == manager)
    }

    fn time(&self, manager: &str) -> &str {
        self.entry(manager).unwrap()["time"].as_str().unwrap()
    }

    /// Who owns an annotation of the template.
    fn owners(&self, annotation: &str) -> Vec<&str> {
        let path = format!("/fieldsV1/f:spec/f:template/f:metadata/f:annotations/f:{}", annotation.replace('/', "~1"));
        let entries = self.object["metadata"]["managedFields"].as_array().unwrap();
        entries
            .iter()
            .filter(|entry| entry.pointer(&path).is_some())
            .filter_map(|entry| entry["manager"].as_str())
            .collect()
    }
}

fn workload() -> Value {
    json!({
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {},
                "spec": {"containers": [{"name": "web", "image": "web:1", "args": ["-v"], "resources": {}}]},
            },
        },
    })
}

#[test]
fn a_creation_owns_every_field_it_sets_and_none_of_the_servers() {
    let history = History::of(workload());
    let entry = history.entry("creator").unwrap();
    assert_eq!(
        *entry,
        json!({
            "manager": "creator", "operation": "Update", "apiVersion": "apps/v1", "time": "1970-01-01T00:00:01Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:replicas": {}, "f:selector": {},
                    "f:template": {"f:spec": {"f:containers": {".": {}, "k:{\"name\":\"web\"}": {
                        ".": {}, "f:name": {}, "f:image": {}, "f:args": {}, "f:resources": {},
                    }}}},
                },
            },
        })
    );
}

#[test]
fn who_wrote_the_restart_last_is_told_as_measured_on_kubernetes() {
    let mut history = History::of(workload());
    history.annotate("ours", &[(RESTARTED_AT, Some("1")), (RECORD, Some("a"))]);
    assert_eq!((history.owners(RESTARTED_AT), history.owners(RECORD)), (vec!["ours"], vec!["ours"]));

    history.annotate("kubectl-rollout", &[(RESTARTED_AT, Some("2"))]);
    assert_eq!((history.owners(RESTARTED_AT), history.owners(RECORD)), (vec!["kubectl-rollout"], vec!["ours"]));

    history.annotate("kubectl", &[(RESTARTED_AT, Some("0")), (RECORD, Some("0"))]);
    assert_eq!((history.owners(RESTARTED_AT), history.owners(RECORD)), (vec!["kubectl"], vec!["kubectl"]));
    assert!(history.entry("kubectl-rollout").is_none(), "nothing is left to it");

    history.annotate("ours", &[(RESTARTED_AT, Some("3")), (RECORD, Some("b"))]);
    history.write("kubectl-scale", |new| new["spec"]["replicas"] = json!(3));
    assert_eq!((history.owners(RESTARTED_AT), history.owners(RECORD)), (vec!["ours"], vec!["ours"]));
}

#[test]
fn the_time_is_renewed_only_by_a_change_of_the_managers_own() {
    let mut history = History::of(workload());
    history.annotate("ours", &[(RECORD, Some("a"))]);
    history.annotate("ours", &[(RECORD, Some("a"))]);
    history.annotate("other", &[(RESTARTED_AT, Some("1"))]);
    assert_eq!(history.time("ours"), "1970-01-01T00:00:02Z");
    history.write("ours", |new| new["spec"]["replicas"] = json!(2));
    assert_eq!(history.time("ours"), "1970-01-01T00:00:05Z");
}

#[test]
fn a_removed_field_is_nobodys() {
    let mut history = History::of(workload());
    history.annotate("ours", &[(RECORD, Some("a")), (RESTARTED_AT, Some("1"))]);
    history.annotate("other", &[(RECORD, None)]);
    assert!(history.owners(RECORD).is_empty());
    assert_eq!(history.owners(RESTARTED_AT), ["ours"]);
    assert!(history.entry("other").is_none(), "who only removes owns nothing");
}

#[test]
fn containers_are_told_apart_by_name_whatever_their_order() {
    let mut history = History::of(workload());
    history.write("other", |new| {
        let containers = &mut new["spec"]["template"]["spec"]["containers"];
        let web = containers[0].clone();
        *containers = json!([{"name": "sidecar", "image": "s:1"}, web]);
    });
    let owned = &history.entry("other").unwrap()["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"];
    assert_eq!(*owned, json!({"k:{\"name\":\"sidecar\"}": {".": {}, "f:name": {}, "f:image": {}}}));
}

#[test]
fn the_status_has_an_entry_of_its_own() {
    let mut history = History::of(workload());
    history.write_through("creator", Some("status"), |new| new["status"] = json!({"replicas": 1}));
    let entries = history.object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(entries[1]["fieldsV1"]["f:status"]["f:replicas"], json!({}));
}

#[test]
fn an_emptied_list_of_managers_ends_the_tracking() {
    let mut history = History::of(workload());
    history.write("ours", |new| new["metadata"]["managedFields"] = json!([{}]));
    history.annotate("ours", &[(RECORD, Some("a"))]);
    assert!(history.object["metadata"].get("managedFields").is_none());
}

#[test]
fn field_sets_survive_their_written_form() {
    let written = json!({"f:a": {".": {}, "f:b": {}, "k:{\"name\":\"x\"}": {".": {}, "f:c": {}}}, "f:d": {}});
    assert_eq!(FieldSet::decode(&written).encode(), written);
}
