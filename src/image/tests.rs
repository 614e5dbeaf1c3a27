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
        ("exa_mple.com/a", "host name"),
        ("localhost:port/a", "port"),
        ("[::1/a", "bracket"),
        ("a@sha256:00", "length"),
        ("a@sha256", "ALGORITHM:HEX"),
        ("ü", "other characters"),
        ("a@b@sha256:00", "algorithm"),
    ] {
        let error = text.parse::<ImageRef>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!("a".repeat(256).parse::<ImageRef>().unwrap_err().to_string().len() < 300);
}

proptest::proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,80}") {
        let _ = text.parse::<ImageRef>();
        let _ = text.parse::<Digest>();
    }

    #[test]
    fn the_normal_form_is_its_own_normal_form(text in "([a-z]{1,5}(\\.[a-z]{2,3})?(:[0-9]{2,4})?/)?[a-z]{1,4}(/[a-z]{1,7}(\\.io)?){0,3}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,5})?") {
        if let Ok(image) = text.parse::<ImageRef>() {
            let again: ImageRef = image.normal.parse().unwrap();
            proptest::prop_assert_eq!(&again.normal, &image.normal);
        }
    }
}
