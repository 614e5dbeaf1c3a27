//! An excerpt of a sink's answer without the URL: web servers like to repeat it in their error pages. Pure.

use percent_encoding::percent_decode_str;

use super::target::SecretUrl;
use super::text::{one_line, shortened};

/// Of an answer that is shown.
const EXCERPT_BYTES: usize = 200;
/// Shorter parts of a URL are words such as `services`, or are in any text.
const SECRET_BYTES: usize = 6;

/// The beginning of an answer, for a sentence.
pub(super) fn excerpt_without(url: &SecretUrl, body: &[u8]) -> String {
    let mut text = one_line(&String::from_utf8_lossy(body));
    let uri = url.reveal();
    let whole =
        [uri.to_string(), uri.path_and_query().map(ToString::to_string).unwrap_or_default(), uri.path().to_owned()];
    let of_query = uri.query().unwrap_or_default().split(['&', '=', ';']);
    let parts = uri.path().split('/').chain(of_query).chain(uri.authority().map(|a| a.as_str())).chain(uri.host());
    let mut secrets: Vec<String> = whole.into_iter().chain(parts.map(str::to_owned)).collect();
    let decoded: Vec<_> =
        secrets.iter().map(|secret| percent_decode_str(secret).decode_utf8_lossy().into_owned()).collect();
    secrets.extend(decoded);
    secrets.retain(|secret| secret.len() >= SECRET_BYTES);
    // A longer one may contain a shorter one.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        text = without(&text, &secret);
    }
    shortened(&text, EXCERPT_BYTES)
}

/// Whatever its case: hosts are shown in lower case.
fn without(text: &str, secret: &str) -> String {
    let (lower, secret) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let mut kept = String::new();
    let mut from = 0;
    for (at, found) in lower.match_indices(&secret) {
        kept.push_str(text.get(from..at).unwrap_or_default());
        kept.push_str("***");
        from = at + found.len();
    }
    kept.push_str(text.get(from..).unwrap_or_default());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_the_url_is_in_an_excerpt() {
        let url =
            SecretUrl::parse("https://hooks.example.com:8443/services/T0ABCDE/s3cretpart?sig=q-s3cret&api-version=1")
                .unwrap();
        for body in [
            "The requested URL /services/T0ABCDE/s3cretpart was not found on this server.",
            "no https://hooks.example.com:8443/services/T0ABCDE/s3cretpart?sig=q-s3cret&amp;api-version=1",
            "Server at HOOKS.Example.com Port 8443; S3CRETPART; q-s3cret",
        ] {
            let excerpt = excerpt_without(&url, body.as_bytes());
            let lower = excerpt.to_lowercase();
            assert!(!lower.contains("s3cret") && !lower.contains("hooks") && !lower.contains("t0abcde"), "{excerpt}");
        }
        let encoded = SecretUrl::parse("https://h.example.com/v1/spaces/A?token=s3cret-abc%3D").unwrap();
        let excerpt = excerpt_without(&encoded, b"no token s3cret-abc= here");
        assert_eq!(excerpt, "no token *** here");
        assert_eq!(excerpt_without(&url, b"no_service"), "no_service");
        assert_eq!(excerpt_without(&url, b"<html>\n\x00\xff</html>"), "<html> \u{fffd}</html>");
        assert!(excerpt_without(&url, &[b'x'; 4096]).len() <= EXCERPT_BYTES);
    }
}
