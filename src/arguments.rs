//! How the values of settings are written: what the command line parses, and how it shows a default.
//!
//! The settings of a component are a clap `Args` struct beside the component, so that a flag and its default stand in
//! one place. This file must not know any of them.

use std::time::Duration;

use crate::clock::parse_duration;
use crate::config_map_names::{key_problem, name_problem};
use crate::index::document::stored::gzip_key;
use crate::workload::is_namespace_name;

/// A year. Whatever is set to more is a mistake, and might be more than the clock can count to.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `500ms`, `5s`, `10m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        None => Err("expected a duration such as 500ms, 5s or 10m".to_owned()),
        Some(duration) if duration > DURATION_MAX => Err("it must be no longer than a year".to_owned()),
        Some(duration) => Ok(duration),
    }
}

/// The value that a variable gives a flag. An unknown one is refused: it could be meant either way.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "" | "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// As [`duration`], but not zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| {
        if duration.is_zero() { Err("it must be longer than zero".to_owned()) } else { Ok(duration) }
    })
}

/// As [`duration`] reads it; for defaults, which are whole milliseconds.
pub(crate) fn written_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        1.. if milliseconds.is_multiple_of(60_000) => format!("{}m", milliseconds / 60_000),
        _ if milliseconds.is_multiple_of(1000) => format!("{}s", milliseconds / 1000),
        _ => format!("{milliseconds}ms"),
    }
}

/// The name of a namespace, an RFC 1123 label. An empty one is refused: it could be taken for all namespaces, or none.
pub(crate) fn namespace_name(text: &str) -> Result<String, String> {
    if is_namespace_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected the names of namespaces, separated by commas alone".to_owned())
    }
}

/// As [`namespace_name`], for one that is named alone. An empty one counts as none: a variable may be set to nothing.
pub(crate) fn one_namespace_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || is_namespace_name(name) {
        Ok(name.to_owned())
    } else {
        Err("expected the name of a namespace: at most 63 lower-case letters, digits and -".to_owned())
    }
}

/// The name of a ConfigMap. One that cannot exist would be missing for ever.
pub(crate) fn config_map_name(text: &str) -> Result<String, String> {
    match name_problem(text) {
        None => Ok(text.to_owned()),
        Some(problem) => Err(format!("no ConfigMap can be called that: {problem}")),
    }
}

/// The key of a document in a ConfigMap, which is also the beginning of the key of its compressed form.
pub(crate) fn config_map_key(text: &str) -> Result<String, String> {
    let compressed = "it ends in .gz, which marks the compressed form of a document";
    let problem = key_problem(text).or_else(|| text.ends_with(".gz").then_some(compressed)).or_else(|| {
        key_problem(&gzip_key(text))
            .map(|_| "a large document is kept under this key and .gz, which is longer than 253 characters")
    });
    match problem {
        None => Ok(text.to_owned()),
        Some(problem) => Err(format!("no key of a ConfigMap can be called that: {problem}")),
    }
}

/// `14MiB`, `500kB`, `1048576`.
pub(crate) fn byte_size(text: &str) -> Result<usize, String> {
    let size: bytesize::ByteSize = text.parse().map_err(|_| "expected a size such as 14MiB".to_owned())?;
    usize::try_from(size.as_u64()).map_err(|error| error.to_string())
}

/// As [`byte_size`], for the largest body of a push: not zero, and no more than any sender has.
pub(crate) fn body_size(text: &str) -> Result<usize, String> {
    const MAX: usize = 1024 * 1024 * 1024;
    match byte_size(text)? {
        0 => Err("it must be larger than zero".to_owned()),
        size if size > MAX => {
            Err("it must be at most 1GiB; a message of Pub/Sub makes a body of 14MiB at most".to_owned())
        }
        size => Ok(size),
    }
}

/// As [`byte_size`] reads it; for defaults.
pub(crate) fn written_byte_size(bytes: usize) -> String {
    const MIB: usize = 1024 * 1024;
    if bytes.is_multiple_of(MIB) { format!("{}MiB", bytes / MIB) } else { bytes.to_string() }
}

/// What clap makes of a command line without arguments, in an environment without variables.
#[cfg(test)]
pub(crate) fn parsed_from_nothing<T: clap::Args>() -> T {
    let command = T::augment_args(clap::Command::new("pushroll")).mut_args(|argument| argument.env(None::<&str>));
    T::from_arg_matches(&command.get_matches_from(["pushroll"])).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for milliseconds in [0, 1, 250, 999, 1000, 1500, 8000, 600_000, 3_600_000] {
            let value = Duration::from_millis(milliseconds);
            assert_eq!(duration(&written_duration(value)), Ok(value));
        }
        for bytes in [0, 1, 1 << 20, 14 << 20, (1 << 20) + 1] {
            assert_eq!(byte_size(&written_byte_size(bytes)), Ok(bytes));
        }
    }
}
