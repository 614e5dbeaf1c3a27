//! Our references against two other parsers: recorded results of Go's `distribution/reference`, which container runtimes
//! share, and the crate `oci-spec`. Ours never refuses what the first accepts. What else differs is listed here, each
//! difference with its reason.

use oci_spec::distribution::{ParseError, Reference};
use proptest::prelude::*;

use super::ImageRef;

/// A reference, whether `distribution/reference` 0.6.0 accepts it, and its normal form or the error.
const RECORDED: &str = include_str!("references.tsv");

/// What we accept and it refuses, by a part of its error: nothing is confused by it.
const FORGIVEN: [(&str, &str); 4] = [
    // It counts library/, which nobody has written.
    ("index.docker.io/cccc", "must not be more than 255"),
    // Registries write digests in lower case, people may not. We compare them in lower case.
    ("web@sha256:AAAA", "invalid checksum digest format"),
    // An algorithm that is not registered: it is compared, never computed.
    ("web@md5:", "unsupported digest algorithm"),
    // It keeps such names free for the ids of images, which no manifest and no event has.
    ("aaaaaaaaaaaaaaaa", "cannot specify 64-byte hexadecimal strings"),
];

#[test]
fn the_reference_library_and_ours_agree() {
    let rows = RECORDED.lines().filter(|line| !line.starts_with('#'));
    let mut read = 0;
    for row in rows {
        let [text, accepted, expected] = row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        read += 1;
        match (accepted, text.parse::<ImageRef>()) {
            ("yes", Ok(image)) => assert_eq!(image, expected.parse().unwrap(), "{text}"),
            ("yes", Err(error)) => panic!("the reference library accepts it: {error}"),
            (_, Ok(_)) => {
                let is_forgiven = |(begin, error): &(&str, &str)| text.starts_with(begin) && expected.contains(error);
                assert!(FORGIVEN.iter().any(is_forgiven), "{text}: {expected}");
            }
            (_, Err(_)) => {}
        }
    }
    assert!(read > 60, "{read}");
}

/// Made of the pieces that references are made of, right and wrong.
fn reference() -> impl Strategy<Value = String> {
    let segment = || {
        prop_oneof![
            8 => "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}",
            2 => prop::sample::select(vec!["localhost", "docker.io", "index.docker.io", "gcr.io", "us-docker.pkg.dev", "library"]).prop_map(str::to_owned),
            1 => "[A-Za-z0-9._-]{0,6}",
            1 => "[a-z]{120,130}",
        ]
    };
    let host = prop_oneof![
        4 => Just(String::new()),
        4 => (segment(), "(:[0-9]{0,5})?").prop_map(|(host, port)| format!("{host}{port}/")),
        1 => "[A-Za-z0-9.-]{1,9}(:[0-9]{1,5})?/",
        1 => "[a-z]{250,300}\\.example/",
        1 => "\\[[0-9A-Fa-f:]{0,9}\\](:[0-9]{1,5})?/",
    ];
    let path = prop::collection::vec(segment(), 1..4).prop_map(|segments| segments.join("/"));
    let tag = prop_oneof![4 => Just(String::new()), 4 => ":[\\w.-]{0,9}", 1 => ":[a-z]{126,130}", 1 => "[:@/ é]"];
    let digest = prop_oneof![
        6 => Just(String::new()),
        2 => "@sha256:[0-9a-f]{63,65}",
        1 => "@sha384:[0-9a-f]{96}",
        1 => "@sha512:[0-9a-f]{128}",
        1 => "@[A-Za-z0-9+._-]{0,9}:[0-9a-fA-F]{31,33}",
    ];
    (host, path, tag, digest).prop_map(|(host, path, tag, digest)| format!("{host}{path}{tag}{digest}"))
}

/// Why we differ from oci-spec, where we may.
fn deliberate_difference(text: &str, theirs: &Result<Reference, ParseError>, ours: bool) -> Option<&'static str> {
    let name = text.split('@').next().unwrap_or_default();
    match (theirs, ours) {
        (Ok(theirs), true) if theirs.repository().bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Some("it takes a host for a part of the path where only capitals show that it is one")
        }
        (Ok(_), false) if !name.is_ascii() => Some("its regex takes any letter of Unicode in a tag"),
        (Err(_), true) if name.contains('[') => Some("it does not know IPv6 addresses"),
        (Err(ParseError::NameTooLong), true) => Some("it counts library/, which nobody has written"),
        (Err(ParseError::DigestUnsupported), true) => Some("it knows three algorithms, in lower case"),
        (Err(ParseError::ReferenceInvalidFormat), true) if text.contains('@') => {
            Some("an algorithm may begin with any of its characters")
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn oci_spec_and_ours_agree(text in reference()) {
        let (theirs, ours) = (Reference::try_from(text.as_str()), text.parse::<ImageRef>());
        if deliberate_difference(&text, &theirs, ours.is_ok()).is_some() {
            return Ok(());
        }
        match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => {
                // Their normal form is a spelling of the same image, where it is not too long with library/.
                let normal = theirs.whole();
                prop_assert_eq!(&normal.parse::<ImageRef>().unwrap(), &ours, "{}", text);
                prop_assert_eq!(theirs.tag(), ours.tag(), "{}", text);
                let digest = theirs.digest().map(str::to_ascii_lowercase);
                prop_assert_eq!(digest.as_deref(), ours.digest().map(super::Digest::as_str), "{}", text);
            }
            (Err(_), Err(_)) => {}
            (theirs, ours) => prop_assert!(false, "{text:?}: oci-spec {theirs:?}, ours {ours:?}"),
        }
    }
}
