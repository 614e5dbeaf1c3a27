//! The normal form of a repository name, by which spellings are compared.
//!
//! Sources: `distribution/reference` (`splitDockerDomain`, `regexp.go`) for the default host and the
//! grammar; Google's "Transition from Container Registry" for which `gcr.io` host is served by which
//! Artifact Registry location.

const DEFAULT_HOST: &str = "docker.io";

/// Container Registry's hosts and the Artifact Registry hosts that serve repositories of that name.
const GCR_HOSTS: [(&str, &str); 4] = [
    ("gcr.io", "us-docker.pkg.dev"),
    ("us.gcr.io", "us-docker.pkg.dev"),
    ("eu.gcr.io", "europe-docker.pkg.dev"),
    ("asia.gcr.io", "asia-docker.pkg.dev"),
];

/// The host, if the first segment is one, and the path behind it.
///
/// A first segment is a host when it has a dot, a colon or an upper-case letter, or is `localhost`.
pub(super) fn split_host(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest)) if is_host(first) => (Some(first), rest),
        _ => (None, name),
    }
}

fn is_host(first_segment: &str) -> bool {
    first_segment.contains(['.', ':'])
        || first_segment == "localhost"
        || first_segment.bytes().any(|b| b.is_ascii_uppercase())
}

pub(super) fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) => (address, port.strip_prefix(':').or(Some("?"))),
            None => return Err("the bracket of its host is not closed"),
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let bracketed = host.starts_with('[');
    let allowed = |b: u8| {
        if bracketed { b.is_ascii_hexdigit() || b == b':' } else { b.is_ascii_alphanumeric() || b == b'.' || b == b'-' }
    };
    let labels_are_plain =
        bracketed || name.split('.').all(|l| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-'));
    if name.is_empty() || !name.bytes().all(allowed) || !labels_are_plain {
        Err("its host is not a host name")
    } else if port.is_some_and(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit())) {
        Err("the port of its host is not a number")
    } else {
        Ok(())
    }
}

/// Path components are lower-case letters and digits, separated by `.`, `_`, `__` or dashes.
pub(super) fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it has no repository name");
    }
    for component in path.split('/') {
        if component.is_empty() {
            return Err("a part of its path is empty");
        }
        if component.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err("its repository name must be lower case");
        }
        if !component.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b)) {
            return Err("its path has other characters than lower-case letters, digits and ._-");
        }
        if !separators_are_plain(component) {
            return Err("a part of its path begins or ends with a separator, or has several in a row");
        }
    }
    Ok(())
}

fn separators_are_plain(component: &str) -> bool {
    component
        .split(|c: char| c.is_ascii_alphanumeric())
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
        && component.starts_with(|c: char| c.is_ascii_alphanumeric())
        && component.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// The repository's one name: default host, `library/`, and `gcr.io` for what Artifact Registry serves for it.
pub(super) fn repository(host: Option<&str>, path: &str) -> String {
    let host = host.map_or_else(|| DEFAULT_HOST.to_owned(), host_in_one_case);
    let host = if host == "index.docker.io" || host == "registry-1.docker.io" { DEFAULT_HOST.to_owned() } else { host };
    if host == DEFAULT_HOST && !path.contains('/') {
        return format!("{DEFAULT_HOST}/library/{path}");
    }
    gcr_repository(&host, path).unwrap_or_else(|| format!("{host}/{path}"))
}

/// In lower case, but for a host that only its upper-case letters tell from a path: it is in upper case, so that the
/// normal form is still of that host.
fn host_in_one_case(host: &str) -> String {
    let lower_case = host.to_ascii_lowercase();
    if is_host(&lower_case) { lower_case } else { host.to_ascii_uppercase() }
}

/// `us-docker.pkg.dev/P/gcr.io/I` is `gcr.io/P/I`; a domain-scoped project is two segments, `example.com/p`.
fn gcr_repository(host: &str, path: &str) -> Option<String> {
    let mut project_end = path.find('/')?;
    if path[..project_end].contains('.') {
        project_end += 1 + path[project_end + 1..].find('/')?;
    }
    let (repository, image) = path[project_end + 1..].split_once('/')?;
    GCR_HOSTS
        .iter()
        .any(|(gcr, artifact_registry)| *gcr == repository && *artifact_registry == host)
        .then(|| format!("{repository}/{}/{image}", &path[..project_end]))
}
