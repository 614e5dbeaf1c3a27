use proptest::prelude::*;

use super::*;

fn normal(text: &str) -> String {
    let image: ImageRef = text.parse().unwrap();
    image.normal.to_string()
}

#[test]
fn docker_hub_names_are_completed() {
    for spelling in
        ["nginx", "nginx:latest", "library/nginx", "docker.io/nginx", "index.docker.io/library/nginx:latest"]
    {
        assert_eq!(normal(spelling), "docker.io/library/nginx:latest", "{spelling}");
    }
    assert_eq!(normal("acme/web:1"), "docker.io/acme/web:1");
}

#[test]
fn hosts_are_told_from_paths() {
    assert_eq!(normal("localhost/a"), "localhost/a:latest");
    assert_eq!(normal("localhost:5000/a"), "localhost:5000/a:latest");
    assert_eq!(normal("[::1]:5000/a/b:2"), "[::1]:5000/a/b:2");
    assert_eq!(normal("REGISTRY.example.COM/a:Tag"), "registry.example.com/a:Tag");
    assert_eq!(normal("registry:5000/a:1"), "registry:5000/a:1");
}

#[test]
fn container_registry_and_artifact_registry_are_one() {
    for (gcr, artifact_registry) in [
        ("gcr.io/p/a", "us-docker.pkg.dev/p/gcr.io/a"),
        ("us.gcr.io/p/a/b:1", "us-docker.pkg.dev/p/us.gcr.io/a/b:1"),
        ("eu.gcr.io/p/a", "europe-docker.pkg.dev/p/eu.gcr.io/a"),
        ("asia.gcr.io/p/a", "asia-docker.pkg.dev/p/asia.gcr.io/a"),
        ("gcr.io/example.com/p/a", "us-docker.pkg.dev/example.com/p/gcr.io/a"),
    ] {
        assert_eq!(normal(gcr), normal(artifact_registry));
    }
    assert_ne!(normal("gcr.io/p/a"), normal("europe-docker.pkg.dev/p/gcr.io/a"));
    assert_ne!(normal("gcr.io/p/a"), normal("us-docker.pkg.dev/p/us.gcr.io/a"));
}

#[test]
fn a_pinned_reference_has_no_tag_key() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let pinned: ImageRef = format!("web:1@{digest}").parse().unwrap();
    assert_eq!(pinned.tag_key(), None);
    assert_eq!(pinned.tag(), Some("1"));
    assert_eq!(pinned.digest().unwrap().as_str(), digest);
    let only_digest: ImageRef = format!("web@{digest}").parse().unwrap();
    assert_eq!(only_digest.tag(), None);
    assert_eq!(only_digest.repository(), "docker.io/library/web");
}

#[test]
fn what_is_no_reference_says_why() {
    for (text, part) in [
        ("", "empty"),
        ("a:", "tag is empty"),
        ("a:-x", "tag begins"),
        ("Web", "lower case"),
        ("a//b", "part of its path is empty"),
        ("/a", "part of its path is empty"),
        ("a/", "part of its path is empty"),
        ("a b", "other characters"),
        ("a..b", "separator"),
        ("-a", "separator"),
        ("exa_mple.com:5000/a", "host name"),
        ("localhost:port/a", "port"),
        ("[::1/a", "bracket"),
        ("a@sha256:00", "length"),
        ("a@sha256", "ALGORITHM:HEX"),
        ("ü", "other characters"),
        ("a@b@sha256:00", "algorithm"),
        (&"a".repeat(256), "path is longer than 255"),
        (&format!("registry.example/{}", "a/".repeat(128)), "path is longer than 255"),
        (&format!("{}.example/a", "h".repeat(4089)), "host is longer than 4096"),
    ] {
        let error = text.parse::<ImageRef>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
        assert!(error.len() < 300, "{error}");
    }
}

/// A reference as somebody may write it, right or nearly so.
fn reference() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec![
        "",
        "docker.io/",
        "index.docker.io/",
        "gcr.io/",
        "eu.gcr.io/",
        "us-docker.pkg.dev/",
        "localhost:5000/",
        "Registry/",
        "[::A]:5000/",
        "a.B-c:1/",
        "a_b.c/",
        "-a.b/",
        "LOCALHOST/",
    ]);
    let tag = prop::sample::select(vec!["", ":1", ":latest", ":A_.-z", ":", ":-"]);
    let digest = prop_oneof![
        4 => Just(String::new()),
        1 => digest(),
    ];
    let name =
        prop_oneof![6 => "([a-z0-9]{1,5}(\\.|_|__|-{1,3}))?[a-z0-9]{1,5}", 1 => "[a-z]{200,260}", 1 => "[a-z._-]{1,4}"];
    let path = (prop::collection::vec("[a-z0-9]{1,4}(\\.[a-z]{1,3})?/", 0..3), "(gcr\\.io/)?", name);
    let path = path.prop_map(|(folders, gcr, name)| format!("{}{gcr}{name}", folders.concat()));
    (host, path, tag, digest).prop_map(|(host, path, tag, digest)| {
        let at = if digest.is_empty() { "" } else { "@" };
        format!("{host}{path}{tag}{at}{digest}")
    })
}

fn digest() -> impl Strategy<Value = String> {
    let algorithm = prop_oneof![
        prop::sample::select(vec!["sha256", "SHA256", "sha512", "Sha512", "blake3", "a+b", "a b"])
            .prop_map(str::to_owned),
        "[a-z]{1,100}",
    ];
    let hex = prop_oneof!["[0-9a-f]{64}", "[0-9A-F]{128}", "[0-9a-fA-F]{30,40}"];
    (algorithm, hex).prop_map(|(algorithm, hex)| format!("{algorithm}:{hex}"))
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_reference_has_one_normal_form(text in reference()) {
        crate::properties::reference::hold(text.as_bytes());
    }

    #[test]
    fn a_digest_is_its_own_spelling(text in digest()) {
        crate::properties::reference::hold(text.as_bytes());
    }

    #[test]
    fn any_text_is_a_reference_or_an_error(bytes in prop_oneof![any::<Vec<u8>>(), ".{0,300}".prop_map(String::into_bytes)]) {
        crate::properties::reference::hold(&bytes);
    }

    #[test]
    fn equal_spellings_are_equal(name in "[a-z0-9]{1,9}", tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}") {
        let spellings = ["", "library/", "docker.io/", "docker.io/library/", "index.docker.io/", "DOCKER.io/library/"];
        let images = spellings.map(|prefix| format!("{prefix}{name}:{tag}").parse::<ImageRef>().unwrap());
        prop_assert!(images.iter().all(|image| *image == images[0]), "{:?}", images);
        for other in [format!("acme/{name}:{tag}"), format!("{name}:{tag}_"), format!("gcr.io/library/{name}:{tag}")] {
            prop_assert_ne!(&images[0], &other.parse().unwrap());
        }
    }
}
