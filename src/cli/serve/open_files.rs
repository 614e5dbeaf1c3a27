//! How many files, and so connections, this process may have open.
//!
//! A shell and a container runtime give a process a soft limit that is small for the sake of programs that use
//! `select`, and a hard one up to which it may help itself (systemd, "File Descriptor Limits").

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::server::OTHER_CONNECTIONS;

/// What is open besides connections to us and calls: the runtime, the mount, watches, fetches of keys.
const OTHERS: usize = 128;

/// Raises the limit of open files as far as it goes; gives as many of these connections as there is room for then, and
/// tells when those are not all.
pub(super) fn connections_within_limit(wanted: usize, concurrency: usize) -> usize {
    let limit = raise();
    // Nobody limits it: there is room.
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return wanted };
    let connections = within(limit, wanted, concurrency);
    if connections < wanted {
        tracing::warn!(
            "--max-connections {wanted} is more than this process may have: with at most {limit} open files (ulimit -n) \
             it takes {connections} connections"
        );
    }
    connections
}

fn within(limit: usize, wanted: usize, concurrency: usize) -> usize {
    let taken = OTHER_CONNECTIONS + concurrency + OTHERS;
    // A limit that leaves nothing is met where files are opened, with an error that says so.
    wanted.min(limit.saturating_sub(taken).max(limit / 4).max(1))
}

fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            let told = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
            tracing::info!(from = told(current), to = told(maximum), "raised the limit of open files");
            maximum
        }
        Err(error) => {
            tracing::warn!("the limit of open files cannot be raised: {error}");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_connections_as_there_is_room_for() {
        assert_eq!(within(1_048_576, 4096, 16), 4096);
        assert_eq!(within(4096, 4096, 16), 4096 - OTHER_CONNECTIONS - 16 - OTHERS);
        assert_eq!(within(256, 4096, 16), 64);
        assert_eq!(within(1, 4096, 16), 1);
    }
}
