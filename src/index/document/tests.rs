use super::*;

fn decode(text: &str) -> Document {
    Document::decode(text.as_bytes()).unwrap()
}

fn names(document: &Document, image: &str) -> Vec<String> {
    document.index.lookup(&image.parse().unwrap()).iter().map(ToString::to_string).collect()
}

#[test]
fn a_document_written_by_hand_needs_nothing_but_images() {
    let document = decode(r#"{"images": {"nginx": [{"name": "web", "namespace": "shop"}]}}"#);
    assert_eq!(names(&document, "docker.io/library/nginx:latest"), ["shop/deployment/web"]);
    assert_eq!(document.head, Head::default());
    assert!(document.warnings.is_empty());
}

#[test]
fn what_was_written_is_read_back() {
    let mut images = Images::new();
    let workload = WorkloadRef::new("shop", WorkloadKind::StatefulSet, "db");
    images.entry("gcr.io/p/db:1".into()).or_default().insert(workload);
    images.entry("nginx".into()).or_default().insert(WorkloadRef::new("shop", WorkloadKind::Deployment, "web"));
    let scope = Some(Scope::of(&["shop".to_owned()]));
    let head = Head { as_of: "2026-11-20T09:16:40Z".parse().ok(), scope };
    let text = Document::encode(&head, &images);
    let document = decode(&text);
    assert_eq!(document.head, head);
    assert_eq!(names(&document, "us-docker.pkg.dev/p/gcr.io/db:1"), ["shop/statefulset/db"]);
    assert_eq!(Document::images(text.as_bytes()), Some(images));
    assert!(text.contains(r#""counts":{"images":2,"workloads":2}"#), "{text}");
    assert!(!text.contains("Deployment"), "a Deployment needs no kind: {text}");
}

#[test]
fn spellings_of_one_image_are_merged() {
    let document = decode(
        r#"{"images": {"nginx": [{"name": "a", "namespace": "n"}],
            "docker.io/library/nginx:latest": [{"name": "b", "namespace": "n"}, {"name": "a", "namespace": "n"}]}}"#,
    );
    assert_eq!(names(&document, "nginx"), ["n/deployment/a", "n/deployment/b"]);
    assert_eq!(document.index.workloads(), 2);
}

#[test]
fn what_cannot_be_used_is_left_out_with_a_warning() {
    let document = decode(
        r#"{"future": [], "images": {"A B": [], "nginx": [{"name": "a", "namespace": "n", "kind": "CronJob", "x": 1},
            {"name": "b", "namespace": "n", "kind": "daemonset"}, {"name": "../../b", "namespace": "n"},
            {"name": "b", "namespace": "n?x=y"}, {"name": "", "namespace": "n"}]}}"#,
    );
    assert_eq!(names(&document, "nginx"), ["n/daemonset/b"]);
    assert_eq!(document.warnings.len(), 5, "{:?}", document.warnings);
}

#[test]
fn what_is_no_document_says_why() {
    for (text, part) in [
        ("", "EOF"),
        ("{}", "missing field `images`"),
        (r#"{"images": {"nginx": [{"name": "a"}]}}"#, "missing field `namespace`"),
        (r#"{"images": {"#, "line 1 column 12"),
        (r#"{"version": 2, "images": {}}"#, "upgrade pushroll"),
    ] {
        let error = Document::decode(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(matches!(Document::decode(b"{\xff"), Err(DocumentError::NotUtf8(1))));
}

proptest::proptest! {
    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = Document::decode(&bytes);
    }
}
