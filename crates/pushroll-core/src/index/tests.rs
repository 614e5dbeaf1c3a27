use super::*;
use crate::workload::WorkloadKind;

fn workload(name: &str) -> WorkloadRef {
    WorkloadRef::new("n", WorkloadKind::Deployment, name)
}

#[test]
fn a_tag_matches_exactly_and_a_pin_never() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let pin: ImageRef = format!("web:1@{digest}").parse().unwrap();
    let mut builder = IndexBuilder::default();
    builder.add(&"web:1".parse().unwrap(), [workload("one"), workload("one")]);
    builder.add(&"web:10".parse().unwrap(), [workload("ten")]);
    builder.add(&pin, [workload("pinned")]);
    let index = builder.build();

    assert_eq!(index.followers(&"docker.io/library/web:1".parse().unwrap()), [workload("one")]);
    assert_eq!(index.followers(&"web".parse().unwrap()), []);
    assert_eq!(index.pinned(&"web:7".parse().unwrap())[0].workload, workload("pinned"));
    assert_eq!(index.lookup(&format!("web@{digest}").parse().unwrap()), [workload("pinned")]);
    assert_eq!((index.images(), index.workloads()), (3, 3));
}

#[test]
fn an_index_can_be_added_to() {
    let pin: ImageRef = format!("web@sha256:{}", "ab".repeat(32)).parse().unwrap();
    let mut builder = IndexBuilder::default();
    builder.add(&"web:1".parse().unwrap(), [workload("one")]);
    builder.add(&pin, [workload("pinned")]);
    let mut builder = IndexBuilder::from(builder.build());
    builder.add(&"web:2".parse().unwrap(), [workload("two")]);
    let index = builder.build();
    assert_eq!((index.images(), index.workloads(), index.lookup(&pin).len()), (3, 3, 1));
    assert_eq!(index.followers(&"web:1".parse().unwrap()), [workload("one")]);
}

#[test]
fn a_scope_covers_what_lies_in_it() {
    let of = |names: &[&str]| Scope::of(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
    assert!(of(&[]).covers(&of(&["a"])) && of(&[]).covers(&of(&[])));
    assert!(of(&["a", "b"]).covers(&of(&["a"])));
    assert!(!of(&["a"]).covers(&of(&["a", "b"])) && !of(&["a"]).covers(&of(&[])));
}

#[test]
fn the_entries_of_a_part_are_taken_over() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let pin: ImageRef = format!("web:1@{digest}").parse().unwrap();
    let of = |namespace: &str, name: &str| WorkloadRef::new(namespace, WorkloadKind::Deployment, name);
    let mut before = IndexBuilder::default();
    before.add(&"web:1".parse().unwrap(), [of("gone", "old"), of("shop", "old")]);
    before.add(&"other".parse().unwrap(), [of("gone", "other")]);
    before.add(&pin, [of("gone", "pinned"), of("shop", "pinned")]);
    let mut builder = IndexBuilder::default();
    builder.add(&"web:1".parse().unwrap(), [of("shop", "new")]);
    builder.add_parts_of(&before.build(), &[Part::new(WorkloadKind::Deployment, Some("gone"))]);
    let index = builder.build();
    assert_eq!(index.followers(&"web:1".parse().unwrap()), [of("gone", "old"), of("shop", "new")]);
    assert_eq!(index.followers(&"other".parse().unwrap()), [of("gone", "other")]);
    assert_eq!(index.lookup(&pin), [of("gone", "pinned")]);
    assert_eq!((index.images(), index.workloads()), (3, 4));
}

#[test]
fn each_workload_counts_once_in_its_collection() {
    let workload = |namespace: &str, name: &str| WorkloadRef::new(namespace, WorkloadKind::Deployment, name);
    let mut builder = IndexBuilder::default();
    builder.add(&"web:1".parse().unwrap(), [workload("shop", "web"), workload("shop", "api"), workload("base", "web")]);
    builder.add(&"side:1".parse().unwrap(), [workload("shop", "web")]);
    let pinned = format!("web@sha256:{}", "ab".repeat(32)).parse().unwrap();
    builder.add(&pinned, [workload("shop", "web"), WorkloadRef::new("shop", WorkloadKind::DaemonSet, "web")]);
    let index = builder.build();
    let expected = [
        (("shop", WorkloadKind::Deployment), 2),
        (("shop", WorkloadKind::DaemonSet), 1),
        (("base", WorkloadKind::Deployment), 1),
    ];
    assert_eq!(index.collections(), expected.into());
}
