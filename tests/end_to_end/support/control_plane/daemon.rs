//! The daemons of a control plane: started, watched while they start, and never
//! left behind, however the test process ends.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};

/// How much of a log an error shows.
const LAST_LINES: usize = 25;

/// How often a daemon that starts is asked whether it is ready.
const POLL: Duration = Duration::from_millis(50);

/// Kills the daemons and removes their directory when the test process ends,
/// be it by SIGKILL: the kernel then closes the pipes, and that is the signal.
///
/// The daemons share one process group, so that none can be missed, not even
/// one started just before the end. The group is led by a process of its own,
/// since the watchdog has to outlive the group to remove the directory.
pub(super) struct Watchdog {
    leader: Child,
    watchdog: Child,
}

impl Watchdog {
    /// Starts it. A file of the name `keep` in `directory` keeps the directory.
    pub(super) fn start(directory: &Path) -> anyhow::Result<Self> {
        let leader = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting `cat`, the leader of the process group")?;
        let group = leader.id();
        // The processes need a moment to die, and until then may still write.
        let script = format!(
            r#"cat >/dev/null
            kill -s KILL -- -{group}
            [ -e "$1/keep" ] && exit
            for pause in 0.1 0.1 1 1; do rm -rf "$1" && exit; sleep $pause; done"#
        );
        let watchdog = Command::new("sh")
            .args(["-c", &script, "watchdog"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C in the terminal is for the tests, not for the watchdog.
            .process_group(0)
            .spawn()
            .context("starting `sh`, the watchdog")?;
        Ok(Self { leader, watchdog })
    }

    fn group(&self) -> anyhow::Result<i32> {
        Ok(i32::try_from(self.leader.id())?)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.leader.stdin.take());
        drop(self.watchdog.stdin.take());
        // A drop has nobody to report to, and the processes are gone or going.
        let _ = self.leader.wait();
        let _ = self.watchdog.wait();
    }
}

/// A running daemon, killed when dropped.
pub(super) struct Daemon {
    name: &'static str,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts `binaries/name`, its output appended to `directory/name.log`.
    pub(super) fn spawn(
        name: &'static str,
        binaries: &Path,
        directory: &Path,
        watchdog: &Watchdog,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(binaries.join(name))
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(watchdog.group()?)
            .spawn()
            .with_context(|| format!("starting {}", binaries.join(name).display()))?;
        Ok(Self { name, log, child })
    }

    /// Blocks until `ready` says so. Fails as soon as the daemon has ended.
    pub(super) fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        while !ready() {
            self.check_alive()?;
            if started.elapsed() > limit {
                return Err(self.failure(&format!("is not ready after {limit:?}")));
            }
            thread::sleep(POLL);
        }
        self.check_alive()
    }

    /// Sends a signal by its name (`STOP`, `CONT`, ...).
    pub(super) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill -{name} {}: {status}", self.name);
        Ok(())
    }

    /// Fails if the daemon has ended.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(self.failure(&format!("has ended ({status})"))),
            None => Ok(()),
        }
    }

    /// An error about this daemon that shows the end of its log.
    pub(super) fn failure(&self, what: &str) -> anyhow::Error {
        let Self { name, log, .. } = self;
        let bytes = fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        anyhow!("{name} {what}; the end of {}:\n  {last}", log.display())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGKILL: kube-apiserver takes a minute over SIGTERM when etcd is
        // already gone. Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a daemon on a free port, and again on another if somebody took the
/// port between our finding it and the daemon's binding it.
pub(super) fn on_free_port<T>(mut start: impl FnMut(u16) -> anyhow::Result<T>) -> anyhow::Result<T> {
    for _ in 0..5 {
        // Port 0 is any that is free; it is free again once the listener drops.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        match start(port) {
            Err(error) if error.to_string().contains("address already in use") => {}
            result => return result,
        }
    }
    bail!("no port stayed free for the moment that a daemon takes to bind it")
}
