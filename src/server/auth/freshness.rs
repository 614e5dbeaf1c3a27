//! How long an answer may be used, by its own headers (RFC 9111): pure.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;

use crate::clock::parse_date;

/// The least, however short the answer says: its server must not be asked all the time.
const LEAST: Duration = Duration::from_secs(60);
/// The most, however long the answer says: a key that was withdrawn must not stay.
const MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// The lifetime of an answer that does not say.
const UNSTATED: Duration = Duration::from_secs(60 * 60);

/// How long an answer with these headers is fresh, received `now`.
pub(super) fn lifetime(headers: &HeaderMap, now: Timestamp) -> Duration {
    stated(headers, now).unwrap_or(UNSTATED).clamp(LEAST, MOST)
}

fn stated(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
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
    // "0", for example: expired already.
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
