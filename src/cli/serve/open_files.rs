//! How many files, and so connections, this process may have open.
//!
//! A shell and a container runtime give a process a soft limit, which is small for the sake of programs that use
//! `select`, and a hard limit up to which it may raise it (systemd, "File Descriptor Limits").

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::server::OTHER_CONNECTIONS;

/// Open files besides the listeners' connections and the calls: the runtime, the mount, watches, fetches of keys.
const OTHERS: usize = 128;

/// Raises the limit of open files as far as it goes. Returns how many of the wanted connections there is room for then,
/// and logs when that is not all.
pub(super) fn connections_within_limit(wanted: usize, concurrency: usize) -> usize {
    let limit = raise();
    // Without a limit there is room for all.
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
    // Where the limit leaves no room at all, opening a file fails with an error that says so.
    wanted.min(limit.saturating_sub(taken).max(limit / 4).max(1))
}

fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
            tracing::info!(from = shown(current), to = shown(maximum), "raised the limit of open files");
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
