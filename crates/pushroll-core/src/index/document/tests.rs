use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index as Position;

use super::*;
use crate::image::ImageRef;
use crate::index::{Part, Scope};
use crate::workload::{WorkloadKind, WorkloadRef};

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
    let workload = |kind, name: &str| [WorkloadRef::new("shop", kind, name)];
    let (db, web) = (workload(WorkloadKind::StatefulSet, "db"), workload(WorkloadKind::Deployment, "web"));
    let images = Images::from_iter([("nginx", web), ("gcr.io/p/db:1", db)]);
    let head = Head::whole("2026-11-20T09:16:40Z".parse().ok(), Scope::of(&["shop".to_owned()]));
    let text = Document::encode(&head, &images);
    let document = decode(&text);
    assert_eq!(document.head, head);
    assert_eq!(names(&document, "us-docker.pkg.dev/p/gcr.io/db:1"), ["shop/statefulset/db"]);
    assert_eq!(Document::images(text.as_bytes()), Some(images));
    assert!(text.contains(r#""counts":{"images":2,"workloads":2}"#), "{text}");
    assert!(!text.contains("Deployment"), "a Deployment needs no kind: {text}");
}

#[test]
fn a_part_that_could_not_be_seen_has_a_time_of_its_own() {
    let time = |minute: u32| format!("2026-11-20T09:{minute:02}:00Z").parse::<Timestamp>().unwrap();
    let (old, new) = (Some(time(1)), Some(time(9)));
    let scope = Scope::of(&["gone".to_owned(), "shop".to_owned()]);
    let unseen = |part: Part| PartAsOf { as_of: (part.kind != WorkloadKind::DaemonSet).then_some(time(1)), part };
    let gone: Vec<_> = scope.parts().into_iter().filter(|part| part.namespace.as_deref() == Some("gone")).collect();
    let head = Head::partial(new, &scope, &gone.iter().cloned().map(unseen).collect::<Vec<_>>());
    let workloads = ["gone", "shop"].map(|namespace| WorkloadRef::new(namespace, WorkloadKind::Deployment, "web"));
    let images = Images::from_iter([("nginx", workloads.clone())]);
    let text = Document::encode(&head, &images);
    let document = decode(&text);
    assert_eq!((&document.head, document.warnings.len()), (&head, 0), "{text}");
    assert_eq!((head.as_of, &head.scope), (None, &None), "no reader of before takes it for one of the whole scope");
    assert_eq!((head.newest(), head.covered_scope()), (new, Some(scope)));
    let part = |kind, namespace| head.part(&Part::new(kind, Some(namespace)));
    assert_eq!(part(WorkloadKind::Deployment, "shop"), Some(new));
    assert_eq!(part(WorkloadKind::Deployment, "gone"), Some(old));
    assert_eq!(part(WorkloadKind::DaemonSet, "gone"), Some(None), "it was never seen");
    assert_eq!(part(WorkloadKind::Deployment, "other"), None, "nobody has looked for it");
    assert_eq!(head.unseen().map(|part| part.part.clone()).collect::<Vec<_>>(), gone);

    let (kept, as_of) = Document::of_parts(text.as_bytes(), &gone);
    assert_eq!(kept.get("nginx"), Some(&workloads[..1]));
    assert_eq!(as_of.iter().map(|part| part.as_of).collect::<Vec<_>>(), [old, old, None]);
    let damaged = text.replace(r#""name":"web","namespace":"shop""#, r#""name":7,"namespace":"shop""#);
    let (kept, as_of) = Document::of_parts(damaged.as_bytes(), &gone);
    assert_eq!((kept.len(), as_of[0].as_of), (1, None), "the entry that is left out may be of the part");
}

#[test]
fn the_newest_time_is_that_of_what_was_seen() {
    let scope = Scope::of(&["gone".to_owned(), "shop".to_owned()]);
    let (time, gone) =
        (|second| Timestamp::from_second(second).ok(), Part::new(WorkloadKind::Deployment, Some("gone")));
    // Another writer has seen the part at 9; what this one has seen is of an earlier time.
    let head = Head::partial(time(5), &scope, &[PartAsOf { part: gone.clone(), as_of: time(9) }]);
    assert_eq!((head.newest(), head.part(&gone)), (time(5), Some(time(5))));
    assert_eq!((head.unseen().count(), head.of_scope(&scope)), (0, (time(5), Vec::new())), "no part is older");
    let head = Head::partial(None, &scope, &[PartAsOf { part: gone, as_of: time(9) }]);
    assert_eq!(head.newest(), None, "it proves nothing");
}

#[test]
fn parts_that_cannot_be_read_prove_nothing() {
    let part = Part::new(WorkloadKind::Deployment, Some("a"));
    for (parts, left_out) in [
        (r#""all""#, true),
        (r#"[{"kind": "CronJob", "namespace": "a", "as_of": "2026-11-20T09:16:40Z"}]"#, true),
        (r#"[["Deployment", "a", "2026-11-20T09:16:40Z"]]"#, true),
        (r#"[{"kind": "Deployment", "namespace": "", "as_of": "2026-11-20T09:16:40Z"}]"#, false),
        (r#"[{"kind": "Deployment", "namespace": 7}]"#, true),
        ("null", false),
        ("[]", false),
    ] {
        let document = decode(&format!(r#"{{"parts": {parts}, "images": {{}}}}"#));
        assert_eq!(document.head.part(&part), None, "{parts}");
        assert_eq!(!document.warnings.is_empty(), left_out, "{parts}: {:?}", document.warnings);
    }
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
        ("[]", "expected an object"),
        ("null", "expected an object"),
        (r#"{"images": []}"#, "`images` is a list, not an object"),
        (r#"{"images": "nginx"}"#, "`images` is a string, not an object"),
        (r#"{"images": {"nginx": []}, "images": 7}"#, "`images` is a number, not an object"),
        (r#"{"images": {"#, "line 1 column 12"),
        (r#"{"images": {"nginx": [{"name": NaN}]}}"#, "line 1 column 32"),
        (r#"{"images": {}} {}"#, "trailing characters"),
    ] {
        let error = Document::decode(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(matches!(Document::decode(b"{\xff"), Err(DocumentError::NotUtf8(1))));
}

#[test]
fn a_newer_version_is_refused_however_it_is_written() {
    for (text, found) in [
        (r#"{"version": 2, "images": {}}"#, 2),
        (r#"{"images": {}, "version": 3.0}"#, 3),
        (r#"{"version": "2", "images": {}}"#, 2),
        (r#"{"version": 2}"#, 2),
        (r#"{"version": 2, "images": ["another form"]}"#, 2),
        (r#"{"version": 2, "images": {}, "version": 1}"#, 2),
        (r#"{"version": 99999999999, "images": {}}"#, 99_999_999_999),
    ] {
        let error = Document::decode(text.as_bytes()).unwrap_err();
        assert!(matches!(error, DocumentError::TooNew { found: it } if it == found), "{text}: {error}");
    }
    for version in ["1", "0", "-1", "1.0", "null", r#""1""#] {
        assert_eq!(decode(&format!(r#"{{"version": {version}, "images": {{}}}}"#)).warnings, [""; 0], "{version}");
    }
}

/// What a scan may find; the names are of more than one letter, so that no single change makes one into another.
fn images() -> impl Strategy<Value = Images> {
    let key = prop_oneof![
        9 => "(gcr\\.io/p/|us-docker\\.pkg\\.dev/p/gcr\\.io/|)(ab|cd|ef|gh)(ij|kl|mn)(:12|:34|)",
        1 => "(ab|cd)(ef|gh)@sha256:[0-9a-f]{64}",
        1 => any::<String>(),
    ];
    let kind = prop::sample::select(WorkloadKind::ALL.to_vec());
    let name = prop_oneof![9 => "(ab|cd|ef)(gh|ij|kl)", 1 => "[a-z0-9]{1,9}([.-][a-z0-9]{1,9}){0,9}"];
    let workload = (name, kind, "(mn|op)").prop_map(|(name, kind, namespace)| WorkloadRef::new(namespace, kind, name));
    let workloads = prop::collection::vec(workload, 0..4);
    prop::collection::vec((key, workloads), 0..6).prop_map(Images::from_iter)
}

fn head() -> impl Strategy<Value = Head> {
    let as_of = prop::option::of(0..4_000_000_000_i64).prop_map(|at| at.and_then(|at| Timestamp::from_second(at).ok()));
    let scope = prop::option::of(prop::collection::vec("[a-z]{1,5}", 0..3))
        .prop_map(|names| names.map(|names| Scope::of(&names)));
    let unseen = prop::collection::btree_map(0..6_usize, as_of.clone(), 0..3);
    (as_of, scope, prop::option::of(unseen)).prop_map(|(as_of, scope, unseen)| match (scope, unseen) {
        (Some(scope), Some(unseen)) => {
            let parts = scope.parts();
            let unseen = unseen.into_iter().filter_map(|(number, as_of)| Some((parts.get(number)?.clone(), as_of)));
            let unseen: Vec<_> = unseen.map(|(part, as_of)| PartAsOf { part, as_of }).collect();
            Head::partial(as_of, &scope, &unseen)
        }
        (scope, _) => Head { as_of, scope, parts: Vec::new() },
    })
}

/// One thing that goes wrong with a file.
#[derive(Debug, Clone)]
enum Damage {
    Replaced(u8),
    Inserted(u8),
    Removed(Position),
    Truncated,
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(b"\"\\{}[]:, 0".to_vec())];
    prop_oneof![
        byte().prop_map(Damage::Replaced),
        byte().prop_map(Damage::Inserted),
        any::<Position>().prop_map(Damage::Removed),
        Just(Damage::Truncated),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_document_is_read_back(head in head(), images in images()) {
        let text = Document::encode(&head, &images);
        let document = decode(&text);
        prop_assert_eq!(&document.head, &head);
        prop_assert_eq!(Document::images(text.as_bytes()), Some(images));
        crate::properties::document::hold(text.as_bytes());
        crate::properties::document::compressed_says_the_same(text.as_bytes(), gzip(text.as_bytes()));
    }

    /// It is refused, or all is there that the damage has not touched: never a part of it as if it were the whole.
    #[test]
    fn a_damaged_document_is_refused_or_keeps_the_rest(
        head in head(), images in images(), damage in damage(), at in any::<Position>(), pretty in any::<bool>()
    ) {
        let text = Document::encode(&head, &images);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let text = if pretty { format!("{value:#}") } else { text };
        let at = at.index(text.len());
        let mut damaged = text.clone().into_bytes();
        let end = match &damage {
            Damage::Replaced(byte) => { damaged[at] = *byte; at + 1 }
            Damage::Inserted(byte) => { damaged.insert(at, *byte); at }
            Damage::Removed(length) => {
                let end = at + 1 + length.index(text.len() - at);
                damaged.drain(at..end);
                end
            }
            Damage::Truncated => { damaged.truncate(at); text.len() }
        };
        crate::properties::document::hold(&damaged);
        crate::properties::document::compressed_says_the_same(&damaged, gzip(&damaged));

        let Ok(document) = Document::decode(&damaged) else { return Ok(()) };
        for (key, workloads) in images.iter() {
            // From the quotation mark before the key to the bracket behind its workloads.
            let Ok(image) = key.parse::<ImageRef>() else { continue };
            let begin = text.find(&format!("{}:", serde_json::to_string(key).unwrap())).unwrap();
            let list = begin + key.len();
            let stop = text[list..].find(']').map_or(text.len(), |length| list + length + 1);
            if end < begin || at > stop {
                let found = document.index.lookup(&image);
                prop_assert!(workloads.iter().all(|one| found.contains(one)), "{}: {:?} in {}", key, found, String::from_utf8_lossy(&damaged));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_document_or_an_error(bytes in any::<Vec<u8>>()) {
        crate::properties::document::hold(&bytes);
        crate::properties::document::hold(&[b"{\"images\":{".as_slice(), &bytes].concat());
        crate::properties::document::compressed_says_the_same(&bytes, gzip(&bytes));
        let mut compressed = gzip(b"{\"images\":{\"nginx\":[{\"name\":\"a\",\"namespace\":\"n\"}]}}");
        if let (Some(byte), Some(first)) = (bytes.last(), bytes.first()) {
            let at = usize::from(*first) % compressed.len();
            compressed[at] ^= byte;
            // Damage is found, or it was in what gzip does not use.
            if let Ok(document) = crate::index::document::stored::Stored::Gzip(compressed).decode() {
                prop_assert_eq!(names(&document, "nginx"), ["n/deployment/a"]);
            }
        }
    }
}

#[test]
fn images_are_in_order_with_each_workload_once() {
    let workload = |name: &str| WorkloadRef::new("shop", WorkloadKind::Deployment, name);
    let run =
        |image: &'static str, names: &[&str]| (image, names.iter().map(|name| workload(name)).collect::<Vec<_>>());
    let images =
        Images::from_iter([run("b:1", &["b", "a"]), run("a:1", &["c"]), run("b:1", &["c", "a"]), run("c", &[])]);
    let listed: Vec<_> = images.iter().map(|(image, workloads)| (image, workloads.to_vec())).collect();
    assert_eq!(listed, [run("a:1", &["c"]), run("b:1", &["a", "b", "c"]), run("c", &[])]);
    assert_eq!((images.len(), images.workloads().len()), (3, 4));
    for (image, workloads) in &listed {
        assert_eq!(images.get(image), Some(&**workloads));
    }
    assert_eq!(["", "a", "b:2", "d"].map(|image| images.get(image)), [None; 4]);
    assert_eq!(
        images.filtered(|workload| &*workload.name == "c"),
        Images::from_iter([run("a:1", &["c"]), run("b:1", &["c"])])
    );
    assert_eq!(images, listed.into_iter().rev().collect());
}
