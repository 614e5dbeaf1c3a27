use proptest::prelude::*;
use serde::de::DeserializeSeed as _;

use super::collect::WholeIndex;
use super::*;
use crate::index::Scope;

/// Under `a/b:1` stands this, besides `shop/deployment/web`.
fn with(entry: &str) -> String {
    format!(r#"{{"images": {{"a/b:1": [{{"name": "web", "namespace": "shop"}}, {entry}]}}}}"#)
}

fn lookup(document: &Document, image: &str) -> Vec<String> {
    document.index.lookup(&image.parse().unwrap()).iter().map(ToString::to_string).collect()
}

/// Each warning names the image, or the field of the head, and what is wrong with it.
#[track_caller]
fn is_read(text: &str, expected: &[&str], warnings: &[&str]) -> Document {
    let document = Document::decode(text.as_bytes()).unwrap();
    assert_eq!(lookup(&document, "a/b:1"), expected, "{text}");
    assert_eq!(document.warnings, warnings, "{text}");
    crate::properties::document::hold(text.as_bytes());
    document
}

#[test]
fn null_is_nothing() {
    let web = ["shop/deployment/web"];
    is_read(&with(r#"{"name": "web", "namespace": "shop", "kind": null}"#), &web, &[]);
    is_read(&with(r#"{"name": "web", "namespace": "shop", "kind": ""}"#), &web, &[]);
    let document = is_read(r#"{"images": {"a/b:1": null, "a/c:1": []}}"#, &[], &[]);
    assert_eq!((document.index.images(), document.index.workloads()), (2, 0));
    let document =
        is_read(r#"{"version": null, "as_of": null, "scope": null, "counts": null, "images": {}}"#, &[], &[]);
    assert_eq!((document.head, document.is_incomplete), (Head::default(), false));
    let document = is_read(r#"{"scope": {}, "images": null}"#, &[], &["left out: images is null"]);
    assert!(document.is_incomplete);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let plain = with(r#"{"name": "db", "namespace": "shop"}"#);
    for marks in ["\u{feff}", "\u{feff}\u{feff}", "\u{feff}\r\n"] {
        is_read(&format!("{marks}{plain}"), &["shop/deployment/db", "shop/deployment/web"], &[]);
    }
}

#[test]
fn a_bad_entry_is_left_out_and_the_rest_is_kept() {
    let no_namespace = "left out: under a/b:1, \"api\" has no namespace";
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (entry, warning) in [
        (r#"{"name": "api"}"#, no_namespace),
        (r#"{"name": "api", "namespace": null}"#, no_namespace),
        (r#"{"name": "api", "namespace": "shop", "namespace": null}"#, no_namespace),
        (r#"{"name": "api", "namespace": 7}"#, "left out: under a/b:1, \"api\" has a number as its namespace"),
        (
            r#"{"name": "api", "namespace": {"a": [1]}}"#,
            "left out: under a/b:1, \"api\" has an object as its namespace",
        ),
        (r#"{"namespace": "shop"}"#, "left out: under a/b:1, a workload has no name"),
        (r#"{"name": ["api"], "namespace": "shop"}"#, "left out: under a/b:1, a workload has a list as its name"),
        (r#"{"name": -1.5, "namespace": "shop"}"#, "left out: under a/b:1, a workload has a number as its name"),
        ("{}", "left out: under a/b:1, a workload has no name"),
        (
            r#"{"name": "api", "namespace": "shop", "kind": true}"#,
            "left out: under a/b:1, shop/api has true or false as its kind",
        ),
        (
            r#"{"name": "api", "namespace": "shop", "kind": "CronJob"}"#,
            "left out: under a/b:1, shop/api is of unknown kind \"CronJob\"",
        ),
        (
            r#"{"name": "", "namespace": "shop"}"#,
            "left out: under a/b:1, no workload can be called \"\" in a namespace \"shop\"",
        ),
        ("null", "left out: under a/b:1, null in place of a workload"),
        (r#""shop/api""#, "left out: under a/b:1, a string in place of a workload"),
        ("7", "left out: under a/b:1, a number in place of a workload"),
        ("false", "left out: under a/b:1, true or false in place of a workload"),
        (r#"["api", "shop"]"#, "left out: under a/b:1, a list in place of a workload"),
        (&deep, "left out: under a/b:1, a list in place of a workload"),
        // JSON by its grammar, and yet no value.
        (
            r#"{"name": "\ud800", "namespace": "shop"}"#,
            "left out: under a/b:1, a value that cannot be read in place of a workload",
        ),
        (
            r#"{"name": 1e999, "namespace": "shop"}"#,
            "left out: under a/b:1, a value that cannot be read in place of a workload",
        ),
        ("1e999", "left out: under a/b:1, a value that cannot be read in place of a workload"),
    ] {
        is_read(&with(entry), &["shop/deployment/web"], &[warning]);
        let head = r#""as_of": "2026-11-20T09:16:40Z", "scope": {}, "images""#;
        let document = Document::decode(with(entry).replace("\"images\"", head).as_bytes()).unwrap();
        // What the entry was is not known, unless it was no workload of ours.
        assert_eq!(document.is_incomplete, !entry.contains("CronJob"), "{entry}");
        assert_eq!((document.head.as_of.is_some(), document.head.scope), (true, Some(Scope::AllNamespaces)), "{entry}");
    }
}

#[test]
fn a_value_that_is_no_list_is_left_out() {
    for (value, found) in [
        (r#"{"name": "api", "namespace": "shop"}"#, "an object"),
        (r#""api""#, "a string"),
        ("7", "a number"),
        ("true", "true or false"),
        ("-1e999", "a value that cannot be read"),
    ] {
        let text = format!(r#"{{"images": {{"a/c:1": {value}, "a/b:1": [{{"name": "web", "namespace": "shop"}}]}}}}"#);
        let warning = format!("left out: under a/c:1, {found} in place of a list of workloads");
        is_read(&text, &["shop/deployment/web"], &[&warning]);
        assert_eq!(Document::images(text.as_bytes()), None, "nothing that a scan writes");
    }
}

#[test]
fn of_a_key_that_is_there_twice_all_counts() {
    let both = ["shop/deployment/api", "shop/deployment/web"];
    let document = is_read(
        r#"{"images": {"a/b:1": [{"name": "web", "namespace": "shop"}], "a/b:1": [{"name": "api", "namespace": "shop"}]}}"#,
        &both,
        &[],
    );
    assert_eq!((document.index.images(), document.index.workloads()), (1, 2));
    let document = is_read(
        r#"{"images": {"z": [], "a/b:1": [{"name": "web", "namespace": "shop"}]},
            "images": {"a\/b:1": [{"name": "api", "namespace": "shop"}], "a/b:1": null}, "images": {}}"#,
        &both,
        &[],
    );
    assert_eq!((document.index.images(), document.index.workloads()), (2, 2));
    // Of an entry's fields, and of the head's, the last.
    is_read(
        r#"{"images": {"a/b:1": [{"name": "x", "namespace": "shop", "name": "web"}]}, "as_of": 7, "as_of": null}"#,
        &["shop/deployment/web"],
        &["left out: as_of is 7, not a time such as 2026-11-20T09:16:40Z"],
    );
}

#[test]
fn a_head_that_cannot_be_read_proves_nothing() {
    let time = r#""as_of": "2026-11-20T09:16:40Z""#;
    for (head, has_time, scope) in [
        (format!(r#"{time}, "scope": {{}}"#), true, Some(Scope::AllNamespaces)),
        (format!(r#"{time}, "scope": {{"namespaces": null, "x": 1}}"#), true, Some(Scope::AllNamespaces)),
        (format!(r#"{time}, "scope": {{"namespaces": ["shop"]}}"#), true, Some(Scope::of(&["shop".to_owned()]))),
        (format!(r#"{time}, "scope": null"#), true, None),
    ] {
        let document = is_read(&format!(r#"{{{head}, "images": {{}}}}"#), &[], &[]);
        assert_eq!((document.head.as_of.is_some(), document.head.scope), (has_time, scope), "{head}");
    }
    for (head, has_time, scope) in [
        (r#""as_of": 1763630200, "scope": {}"#.to_owned(), false, Some(Scope::AllNamespaces)),
        (r#""as_of": "yesterday", "scope": {}"#.to_owned(), false, Some(Scope::AllNamespaces)),
        (r#""as_of": {"seconds": 1e999}, "scope": {}"#.to_owned(), false, Some(Scope::AllNamespaces)),
        (format!(r#"{time}, "scope": "shop""#), true, None),
        (format!(r#"{time}, "scope": ["shop"]"#), true, None),
        (format!(r#"{time}, "scope": [["shop"]]"#), true, None),
        (format!(r#"{time}, "scope": true"#), true, None),
        (format!(r#"{time}, "scope": {{"namespaces": "shop"}}"#), true, None),
        (format!(r#"{time}, "scope": {{"namespaces": {{}}}}"#), true, None),
        (format!(r#"{time}, "scope": {{"namespaces": ["shop", 7]}}"#), true, Some(Scope::of(&["shop".to_owned()]))),
        (format!(r#"{time}, "scope": {{}}, "version": "v1""#), true, Some(Scope::AllNamespaces)),
        (format!(r#"{time}, "scope": {{}}, "version": [1]"#), true, Some(Scope::AllNamespaces)),
    ] {
        let text = format!(r#"{{{head}, "images": {{"a/b:1": [{{"name": "web", "namespace": "shop"}}]}}}}"#);
        let document = Document::decode(text.as_bytes()).unwrap();
        assert_eq!(lookup(&document, "a/b:1"), ["shop/deployment/web"], "{head}");
        assert_eq!(document.warnings.len(), 1, "{head}: {:?}", document.warnings);
        assert_eq!((document.head.as_of.is_some(), document.head.scope), (has_time, scope), "{head}");
        assert_eq!(document.is_incomplete, head.contains("version"), "{head}");
        crate::properties::document::hold(text.as_bytes());
    }
}

#[test]
fn warnings_are_few_and_short() {
    let long = "x".repeat(100_000);
    let entries = format!(r#"{{"name": "{long}", "namespace": "{long}", "kind": "{long}"}},"#).repeat(20);
    let text =
        format!(r#"{{"as_of": "{long}", "scope": "{long}", "images": {{"{long}:": [], "a/b:1": [{entries}null]}}}}"#);
    let document = Document::decode(text.as_bytes()).unwrap();
    assert_eq!(document.warnings.len(), WARNINGS_MAX);
    assert!(document.warnings.iter().all(|warning| warning.len() < 600), "{:?}", document.warnings);
}

const IMAGES: [&str; 9] = [
    "nginx",
    "docker.io/library/nginx:latest",
    "nginx:1",
    "nginx:1@sha256:abababababababababababababababababababababababababababababababab",
    "nginx@sha256:abababababababababababababababababababababababababababababababab",
    "nginx@sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
    "gcr.io/p/web:1",
    "us-docker.pkg.dev/p/gcr.io/web:1",
    "web:2",
];
/// In place of anything.
const ODD: [&str; 12] =
    ["null", "7", "-1.5", "1e999", "true", r#""x""#, r#""""#, r#""\ud800""#, "[]", "[[{}]]", "{}", r#"{"name":[1]}"#];

fn odd() -> impl Strategy<Value = String> {
    prop::sample::select(ODD.to_vec()).prop_map(str::to_owned)
}

/// Ordinary nine times of ten, so that whole documents are ordinary too.
fn or_odd(ordinary: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop_oneof![19 => ordinary, 1 => odd()]
}

fn entry() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "",
        r#","kind":"Deployment""#,
        r#","kind":"sts""#,
        r#","kind":null"#,
        r#","kind":"CronJob""#,
        r#","kind":7"#,
        r#","name":"twice""#,
    ]);
    let name =
        or_odd(prop::sample::select(vec![r#""a""#, r#""b""#, r#""\u0063""#, r#""../x""#]).prop_map(str::to_owned));
    let namespace = or_odd(prop::sample::select(vec![r#""n""#, r#""m""#]).prop_map(str::to_owned));
    let entry = (name, namespace, kind)
        .prop_map(|(name, namespace, kind)| format!(r#"{{"name":{name},"namespace":{namespace},"x":[1]{kind}}}"#));
    or_odd(entry)
}

fn images() -> impl Strategy<Value = String> {
    let odd_key = prop::sample::select(vec!["A B", "", "ngin\\u0078"]);
    let key = prop_oneof![19 => prop::sample::select(IMAGES.to_vec()), 1 => odd_key];
    let list = prop::collection::vec(entry(), 0..3).prop_map(|entries| format!("[{}]", entries.join(",")));
    let images = prop::collection::vec((key, or_odd(list)), 0..6);
    (images, any::<bool>()).prop_map(|(mut images, is_sorted)| {
        if is_sorted {
            images.sort();
        }
        let images: Vec<_> = images.iter().map(|(key, list)| format!(r#""{key}":{list}"#)).collect();
        format!("{{{}}}", images.join(","))
    })
}

fn document() -> impl Strategy<Value = String> {
    let member = |name: &'static str, value: &'static str| {
        or_odd(Just(value.to_owned())).prop_map(move |value| format!(r#""{name}":{value}"#))
    };
    let members = (
        member("version", "1"),
        member("as_of", r#""2026-11-20T09:16:40Z""#),
        member("scope", r#"{"namespaces":["n"]}"#),
        or_odd(images()).prop_map(|images| format!(r#""images":{images}"#)),
        member("future", "{}"),
    );
    let end = prop_oneof![20 => Just("}"), 1 => Just("} x"), 1 => Just(""), 1 => Just(r#","images":{}}"#)];
    let members =
        members.prop_map(|(version, as_of, scope, images, future)| vec![version, as_of, scope, images, future]);
    (prop::sample::subsequence(vec![0, 1, 2, 3, 4], 3..=5).prop_shuffle(), members, end, any::<bool>()).prop_map(
        |(order, members, end, has_mark)| {
            let members: Vec<&str> = order.iter().map(|index| members[*index].as_str()).collect();
            format!("{}{{{}{end}", if has_mark { "\u{feff}" } else { "" }, members.join(","))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What is looked up alone is what the whole index says; what is listed is written and read back the same.
    #[test]
    fn any_document_is_read_alike_for_each_purpose(text in document()) {
        crate::properties::document::hold(text.as_bytes());
        for image in IMAGES {
            let image: ImageRef = image.parse().unwrap();
            let whole = Document::decode(text.as_bytes()).map_err(|error| error.to_string());
            let whole = whole.map(|Document { head, index, warnings, .. }| LookedUp {
                head, workloads: index.lookup(&image), warnings,
            });
            let alone = Document::look_up(text.as_bytes(), &image).map_err(|error| error.to_string());
            prop_assert_eq!(alone, whole, "{}", text);
        }
    }

    /// Taking each value out of the document makes no difference where there is no need of it.
    #[test]
    fn a_document_is_read_alike_in_one_pass_and_one_by_one(text in document()) {
        let read = |one_by_one| {
            let mut json = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}'));
            let read = DocumentOf { collect: WholeIndex::new(0), one_by_one }.deserialize(&mut json).ok()?;
            Some((format!("{:?} {:?}", read.head, read.warnings), read.collected.into_index()))
        };
        if let Some((one_pass, index)) = read(false) {
            let (one_by_one, other) = read(true).unwrap();
            prop_assert_eq!(one_pass, one_by_one, "{}", text);
            for image in IMAGES.iter().map(|image| image.parse().unwrap()) {
                prop_assert_eq!(index.lookup(&image), other.lookup(&image), "{}", text);
            }
        }
    }
}
