//! How long an answer may be used, by its own headers (RFC 9111): pure.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;

use crate::clock::parse_date;

/// However short-lived an answer calls itself: its server is not to be asked all the time.
const LEAST: Duration = Duration::from_secs(60);
/// However long-lived: a key that was withdrawn must go.
const MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// Of an answer that does not say.
const UNSAID: Duration = Duration::from_secs(60 * 60);

/// How long an answer with these headers is fresh, received `now`.
pub(super) fn lifetime(headers: &HeaderMap, now: Timestamp) -> Duration {
    said(headers, now).unwrap_or(UNSAID).clamp(LEAST, MOST)
}

fn said(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let mut max_age = None;
    for value in headers.get_all(header::CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return Some(Duration::ZERO),
                "max-age" => max_age = value.trim().trim_matches('"').parse().ok().or(max_age),
                _ => {}
            }
        }
    }
    if let Some(seconds) = max_age {
        let age = text(headers, header::AGE).and_then(|age| age.parse().ok()).unwrap_or_default();
        return Some(Duration::from_secs(seconds).saturating_sub(Duration::from_secs(age)));
    }
    let expires = text(headers, header::EXPIRES)?;
    // "0" and its like: expired already.
    let Some(expires) = parse_date(expires) else { return Some(Duration::ZERO) };
    let date = text(headers, header::DATE).and_then(parse_date).unwrap_or(now);
    Some(Duration::try_from(expires.duration_since(date)).unwrap_or(Duration::ZERO))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_say_how_long() {
        let now: Timestamp = "2026-11-20T09:00:00Z".parse().unwrap();
        let hour = 60 * 60;
        let expires_at_ten = ("expires", "Fri, 20 Nov 2026 10:00:00 GMT");
        let cases: [(&[(&str, &str)], u64); 17] = [
            (&[], hour),
            (&[("cache-control", "public, max-age=19845, must-revalidate, no-transform")], 19845),
            (&[("cache-control", "Max-Age=\"7200\"")], 7200),
            (&[("cache-control", "public"), ("cache-control", "max-age=7200")], 7200),
            (&[("cache-control", "max-age=7200"), ("age", "200")], 7000),
            (&[("cache-control", "max-age=7200"), ("age", "9999")], 60),
            (&[("cache-control", "max-age=7200"), expires_at_ten], 7200),
            (&[("cache-control", "s-maxage=7200"), expires_at_ten], hour),
            (&[("cache-control", "max-age=0")], 60),
            (&[("cache-control", "max-age=7200, no-cache")], 60),
            (&[("cache-control", "no-store")], 60),
            (&[("cache-control", "max-age=99999999999")], 24 * hour),
            (&[("cache-control", "max-age=soon")], hour),
            (&[expires_at_ten], hour),
            (&[expires_at_ten, ("date", "Fri, 20 Nov 2026 09:50:00 GMT")], 600),
            (&[expires_at_ten, ("date", "Fri, 20 Nov 2026 11:00:00 GMT")], 60),
            (&[("expires", "0")], 60),
        ];
        for (headers, seconds) in cases {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
            }
            assert_eq!(lifetime(&map, now), Duration::from_secs(seconds), "{headers:?}");
        }
    }
}
