//! The normal form of a repository name, by which spellings are compared.
//!
//! Sources: `distribution/reference` (`splitDockerDomain`, `regexp.go`) for the default host and the
//! grammar; Google's "Transition from Container Registry" for which `gcr.io` host is served by which
//! Artifact Registry location.

const DEFAULT_HOST: &str = "docker.io";
/// Other names of the default host.
const DEFAULT_HOST_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

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

/// A host name or an address, and a port. A part of a path will do as well: the reference library reads a first segment
/// that is no host name, such as `my_registry.example`, as part of the path, and runtimes pull from it.
pub(super) fn check_host(host: &str) -> Result<(), &'static str> {
    if check_path(host).is_ok() {
        return Ok(());
    }
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
        let bytes = component.as_bytes();
        if bytes.is_empty() {
            return Err("a part of its path is empty");
        }
        if bytes.iter().any(u8::is_ascii_uppercase) {
            return Err("its repository name must be lower case");
        }
        if !bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(b)) {
            return Err("its path has other characters than lower-case letters, digits and ._-");
        }
        if !separators_are_plain(bytes) {
            return Err("a part of its path begins or ends with a separator, or has several in a row");
        }
    }
    Ok(())
}

fn separators_are_plain(component: &[u8]) -> bool {
    let ends_are_plain = [component.first(), component.last()].iter().flatten().all(|b| b.is_ascii_alphanumeric());
    ends_are_plain
        && component
            .split(u8::is_ascii_alphanumeric)
            .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

/// Appends the repository's one name: default host, `library/`, and `gcr.io` for what Artifact Registry serves for it.
pub(super) fn write_repository(name: &mut String, host: Option<&str>, path: &str) {
    let began = name.len();
    name.push_str(host.unwrap_or(DEFAULT_HOST));
    name[began..].make_ascii_lowercase();
    // A host that only its upper-case letters tell from a path: the normal form is still of that host.
    if !is_host(&name[began..]) {
        name[began..].make_ascii_uppercase();
    }
    if DEFAULT_HOST_ALIASES.contains(&&name[began..]) {
        name.truncate(began);
        name.push_str(DEFAULT_HOST);
    }
    if &name[began..] == DEFAULT_HOST && !path.contains('/') {
        name.push_str("/library");
    } else if let Some((registry, project, image)) = gcr_repository(&name[began..], path) {
        name.truncate(began);
        name.extend([registry, "/", project, "/", image]);
        return;
    }
    name.extend(["/", path]);
}

/// `us-docker.pkg.dev/P/gcr.io/I` is `gcr.io/P/I`, here as its three parts; a domain-scoped project is two segments,
/// `example.com/p`.
fn gcr_repository<'a>(host: &str, path: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let mut project_end = path.find('/')?;
    if path[..project_end].contains('.') {
        project_end += 1 + path[project_end + 1..].find('/')?;
    }
    let (repository, image) = path[project_end + 1..].split_once('/')?;
    GCR_HOSTS
        .iter()
        .any(|(gcr, artifact_registry)| *gcr == repository && *artifact_registry == host)
        .then(|| (repository, &path[..project_end], image))
}
