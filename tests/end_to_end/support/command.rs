//! The command line, as a script sees it: arguments in; exit code, stdout and stderr out.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use super::ground::Ground;
use super::service::program;

#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs `pushroll` with these arguments.
pub async fn run(arguments: &[&str]) -> Ran {
    run_with(arguments, &[], "").await
}

/// As [`run`], with environment variables and something on stdin.
pub async fn run_with(arguments: &[&str], environment: &[(&str, &str)], stdin: &str) -> Ran {
    let mut command = program();
    command.args(arguments).envs(environment.iter().copied());
    let stdin = stdin.to_owned();
    let finished = tokio::task::spawn_blocking(move || {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that does not read its stdin may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    });
    let output = finished.await.unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ground {
    /// Runs `pushroll` against this ground as `user`, with the test's namespace and no mount unless one is named;
    /// `check` is named none, for it finds fault with one that is not there.
    pub async fn run_as(&self, user: &str, arguments: &[&str]) -> Ran {
        let kubeconfig = self.kubeconfig(user);
        let no_mount = self.directory().join("no-mount");
        let mut all = vec!["--kubeconfig", kubeconfig.to_str().unwrap(), "-n", self.namespace()];
        if !arguments.contains(&"--cache-dir") && !arguments.contains(&"check") {
            all.extend(["--cache-dir", no_mount.to_str().unwrap()]);
        }
        // Global options stand before or after the command.
        let arguments: Vec<&str> = arguments.iter().copied().chain(all).collect();
        run(&arguments).await
    }
}

impl Ran {
    /// It failed (exit 1), printed no data, and said why in one line on stderr. Gives that line.
    pub fn failed_with_one_sentence(&self) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (1, ""), "{self:?}");
        let message = self.stderr.strip_prefix("pushroll: ").unwrap_or_else(|| panic!("{self:?}"));
        assert_eq!(message.trim_end().lines().count(), 1, "{self:?}");
        message.trim_end()
    }
}
