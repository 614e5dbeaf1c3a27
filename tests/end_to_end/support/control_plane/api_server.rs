//! The API server and the store behind it: how they are started, and what of
//! theirs lies where.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    PATIENCE, SETUP,
    daemon::{Daemon, Watchdog},
    users,
};

/// etcd listens on a socket in the control plane's directory, where nobody else
/// can be: a port can be taken, and answered by the etcd of another test run.
/// (It insists on something that looks like a port, and takes it for a part of
/// the file's name.)
const ETCD_SOCKET: &str = "etcd.socket:0";

/// The URL of an API server on `port`.
pub(super) fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

/// The certificates that the API server makes for itself, in PEM.
pub(super) fn authority(directory: &Path) -> PathBuf {
    directory.join("certificates/apiserver.crt")
}

/// The audit log, one event a line.
pub(super) fn audit_log(directory: &Path) -> PathBuf {
    directory.join("audit.log")
}

/// Starts etcd.
pub(super) fn start_etcd(binaries: &Path, directory: &Path, watchdog: &Watchdog) -> anyhow::Result<Daemon> {
    let arguments = [
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls=unix://{ETCD_SOCKET}"),
        format!("--advertise-client-urls=unix://{ETCD_SOCKET}"),
        // It has no peers, but cannot be told so.
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=error".to_owned(),
    ];
    let mut etcd = Daemon::spawn("etcd", binaries, directory, watchdog, &arguments)?;
    let socket = directory.join(ETCD_SOCKET);
    etcd.wait_until(PATIENCE, || socket.exists())?;
    Ok(etcd)
}

/// Starts the API server on `port`, and blocks until it is ready.
pub(super) fn start_api_server(
    binaries: &Path,
    directory: &Path,
    watchdog: &Watchdog,
    port: u16,
) -> anyhow::Result<Daemon> {
    // The key that it makes for its own certificate signs the service accounts'
    // tokens too: that spares us a tool that makes keys.
    let key = "certificates/apiserver.key";
    let arguments = [
        format!("--etcd-servers=unix://{ETCD_SOCKET}"),
        "--cert-dir=certificates".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // By itself it looks for the machine's address, and a machine without a
        // network has none; nor may this one be an endpoint of a Service.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--token-auth-file=tokens.csv".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        "--audit-policy-file=audit-policy.json".to_owned(),
        format!("--audit-log-path={}", audit_log(directory).display()),
        // A call that is not in the log is not handled either.
        "--audit-log-mode=blocking-strict".to_owned(),
        "--audit-log-maxsize=0".to_owned(),
    ];
    let mut server = Daemon::spawn("kube-apiserver", binaries, directory, watchdog, &arguments)?;
    let mut kubeconfig = None;
    server.wait_until(PATIENCE, || {
        // A connection costs nothing; a kubectl each time would slow the start.
        if TcpStream::connect(("127.0.0.1", port)).is_err() {
            return false;
        }
        if kubeconfig.is_none() {
            kubeconfig = fs::read(authority(directory)).ok().and_then(|authority| {
                let url = url(port);
                users::write_kubeconfig(directory, &url, &authority, SETUP, "default").ok()
            });
        }
        kubeconfig.as_deref().is_some_and(|kubeconfig| {
            kubectl(binaries, directory, kubeconfig)
                .args(["get", "--raw=/readyz", "--request-timeout=5s"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    })?;
    Ok(server)
}

/// The real kubectl, kept away from the files in `~/.kube`.
pub(super) fn kubectl(binaries: &Path, directory: &Path, kubeconfig: &Path) -> Command {
    let mut kubectl = Command::new(binaries.join("kubectl"));
    kubectl
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", directory.join("kubectl-cache"))
        // Else a user's preferences (`kuberc`) would change what it does.
        .env("KUBERC", "off")
        .stdin(Stdio::null());
    kubectl
}
