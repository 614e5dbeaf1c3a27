//! A real Kubernetes control plane for the tests: etcd, kube-apiserver,
//! kube-controller-manager, kube-scheduler, and kwok in place of the nodes. It
//! has no kubelets, hence no containers and no mounts; else it is the real one.
//!
//! `tests/testbed/build` makes the binaries. One control plane takes about half
//! a gigabyte of memory, so a test binary starts one and gives each test a
//! namespace and a user of its own.

#![allow(dead_code, reason = "not every method has its test yet")]
#![allow(unreachable_pub, reason = "`pub` is what the tests use; nothing leaves a test crate")]

mod api_server;
mod audit;
mod controllers;
mod daemon;
mod users;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use embedded_kubernetes::ApiCall;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use api_server::{audit_log, authority, kubectl, start_api_server, start_etcd, url};
#[allow(unused_imports)]
pub use controllers::PLAYED_BY_A_TEST;
use controllers::{CONTROLLER_MANAGER, KWOK, SCHEDULER};
use daemon::{Daemon, Watchdog};
#[allow(unused_imports)]
pub use users::{ADMIN, SERVICE_ACCOUNT};

/// Set to anything, keeps the logs, the audit log and etcd's data afterwards.
const KEEP: &str = "PUSHROLL_TESTBED_KEEP";

/// The user that sets the control plane up.
const SETUP: &str = "testbed";

/// Whose calls are no test's.
const OWN_USERS: [&str; 4] = [SETUP, CONTROLLER_MANAGER, SCHEDULER, KWOK];

/// How long anything may take to start; far more than it takes on a busy
/// machine of two cores.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running control plane. It ends when it is dropped, and with the process.
pub struct ControlPlane {
    // Dropped in this order: the watchdog removes the directory at the end.
    /// The API server and its clients; none while it is stopped.
    daemons: Mutex<Vec<Daemon>>,
    etcd: Daemon,
    watchdog: Arc<Watchdog>,
    binaries: PathBuf,
    directory: PathBuf,
    port: u16,
    url: String,
    authority: Vec<u8>,
    test_users: AtomicUsize,
    limited_users: AtomicUsize,
}

/// While this lives the API server is dead.
pub struct KilledApiServer<'a>(&'a ControlPlane);

/// While this lives etcd stands still.
pub struct SuspendedEtcd<'a>(&'a ControlPlane);

impl Drop for KilledApiServer<'_> {
    fn drop(&mut self) {
        self.0.start_api_server();
    }
}

impl Drop for SuspendedEtcd<'_> {
    fn drop(&mut self) {
        // It fails only for a process that has ended.
        let _ = self.0.etcd.signal("CONT");
    }
}

impl ControlPlane {
    /// Starts one from the `binaries` that `tests/testbed/build` made, and
    /// returns when it has rolled out a Deployment.
    pub fn start(binaries: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("pushroll-testbed.").tempdir()?.keep();
        let watchdog = Arc::new(Watchdog::start(&directory)?);
        if env::var_os(KEEP).is_some() {
            keep(&directory)?;
        }
        // Our own hold on the watchdog lasts until the directory is marked to be kept.
        Self::start_in(binaries, &directory, Arc::clone(&watchdog)).inspect_err(|_| {
            // The error names a log. If this fails too, the error still shows
            // the log's last lines.
            let _ = keep(&directory);
        })
    }

    fn start_in(binaries: &Path, directory: &Path, watchdog: Arc<Watchdog>) -> anyhow::Result<Self> {
        fs::write(directory.join("tokens.csv"), users::token_file(&OWN_USERS))?;
        let policy = audit::policy(&OWN_USERS);
        fs::write(directory.join("audit-policy.json"), policy.to_string())?;

        let etcd = start_etcd(binaries, directory, &watchdog)?;
        let (api_server, port) = daemon::on_free_port(|port| {
            let server = start_api_server(binaries, directory, &watchdog, port)?;
            Ok((server, port))
        })?;
        let plane = Self {
            daemons: Mutex::new(vec![api_server]),
            etcd,
            watchdog,
            binaries: binaries.to_owned(),
            directory: directory.to_owned(),
            port,
            url: url(port),
            authority: fs::read(authority(directory))?,
            test_users: AtomicUsize::new(0),
            limited_users: AtomicUsize::new(0),
        };
        plane.start_controllers(&mut plane.daemons())?;
        plane.create_nodes()?;
        plane.roll_out_a_deployment()?;
        Ok(plane)
    }

    /// The API server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The PEM file to trust the API server by.
    pub fn certificate_authority(&self) -> PathBuf {
        authority(&self.directory)
    }

    /// Where the logs are. Gone when the control plane ends, but for `keep`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Keeps the directory when the control plane ends: a test has failed, and
    /// somebody will want to read the logs.
    pub fn keep(&self) {
        keep(&self.directory).expect("a file can be made in the testbed's directory");
    }

    /// A user that may do everything and whom no other test has.
    pub fn fresh_user(&self) -> String {
        let number = self.test_users.fetch_add(1, Ordering::Relaxed);
        assert!(number < users::TEST_USERS, "more tests than test users: raise TEST_USERS");
        format!("test-{number}")
    }

    /// A user that may do nothing yet and whom no other test has.
    pub fn fresh_limited_user(&self) -> String {
        let number = self.limited_users.fetch_add(1, Ordering::Relaxed);
        assert!(number < users::LIMITED_USERS, "too few limited users: raise LIMITED_USERS");
        format!("limited-{number}")
    }

    /// The bearer token of `user`.
    pub fn token(&self, user: &str) -> String {
        users::token(user)
    }

    /// A kubeconfig that logs in as `user`, in the namespace `default`.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.kubeconfig_in(user, "default")
    }

    /// A kubeconfig that logs in as `user`, in `namespace`.
    pub fn kubeconfig_in(&self, user: &str, namespace: &str) -> PathBuf {
        users::write_kubeconfig(&self.directory, &self.url, &self.authority, user, namespace)
            .expect("a kubeconfig can be written to the testbed's directory")
    }

    /// The real kubectl.
    pub fn kubectl(&self) -> PathBuf {
        self.binaries.join("kubectl")
    }

    /// The real kubectl as `user`, kept away from the files in `~/.kube`.
    pub fn kubectl_as(&self, user: &str) -> Command {
        kubectl(&self.binaries, &self.directory, &self.kubeconfig(user))
    }

    /// The calls that `user` made to the API server so far, in their order. A
    /// call is in it before it is answered.
    pub fn api_calls(&self, user: &str) -> Vec<ApiCall> {
        audit::api_calls(&audit_log(&self.directory), user).expect("the audit log can be read")
    }

    /// Kills the API server (SIGKILL): from now on connections are refused. For
    /// a test that has the control plane for itself. It is back when the value
    /// is dropped, and so after a test that failed, too.
    pub fn kill_api_server(&self) -> KilledApiServer<'_> {
        self.stop_api_server();
        KilledApiServer(self)
    }

    /// Has etcd stand still (SIGSTOP), until the value is dropped: the API
    /// server is there, and whatever needs its store hangs. For a test that has
    /// the control plane for itself.
    pub fn suspend_etcd(&self) -> SuspendedEtcd<'_> {
        self.etcd.signal("STOP").expect("etcd can be stopped");
        SuspendedEtcd(self)
    }

    /// Kills the API server: from now on connections are refused. For a test
    /// that has the control plane for itself.
    ///
    /// The controllers end with it. They would wait ever longer between their
    /// attempts to reach it, and sleep on for a minute when it is back.
    pub fn stop_api_server(&self) {
        self.daemons().clear();
    }

    /// Kills the controllers alone: what is created from now on stays as it is.
    pub fn stop_controllers(&self) {
        self.daemons().truncate(1);
    }

    /// Starts the API server again, on the same port and with the same data,
    /// and blocks until it is ready.
    pub fn start_api_server(&self) {
        let mut daemons = self.daemons();
        assert!(daemons.is_empty(), "the API server runs already");
        let server = start_api_server(&self.binaries, &self.directory, &self.watchdog, self.port)
            .expect("the API server starts again");
        daemons.push(server);
        self.start_controllers(&mut daemons).expect("the controllers start again");
    }

    fn daemons(&self) -> MutexGuard<'_, Vec<Daemon>> {
        self.daemons.lock()
    }

    fn start_controllers(&self, daemons: &mut Vec<Daemon>) -> anyhow::Result<()> {
        let Self { binaries, directory, watchdog, .. } = self;
        for (name, arguments) in controllers::arguments(binaries, directory, |user| self.kubeconfig(user)) {
            daemons.push(Daemon::spawn(name, binaries, directory, watchdog, &arguments)?);
        }
        Ok(())
    }

    fn create_nodes(&self) -> anyhow::Result<()> {
        let room = json!({ "cpu": "1000", "memory": "1000Gi", "pods": "1000" });
        let node = |number| {
            json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": format!("node-{number}"),
                    "labels": { "kubernetes.io/hostname": format!("node-{number}") },
                },
                "status": { "allocatable": room, "capacity": room },
            })
        };
        self.create(json!({ "apiVersion": "v1", "kind": "List", "items": [node(0), node(1), node(2)] }))
    }

    /// The proof that every daemon does its work.
    fn roll_out_a_deployment(&self) -> anyhow::Result<()> {
        let labels = json!({ "app": "proof" });
        let container = json!({ "name": "proof", "image": "proof.invalid/proof" });
        self.create(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "proof", "namespace": "kube-system" },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
            },
        }))?;
        let proof = ["--namespace=kube-system", "deployment/proof"];
        for _ in 0..PATIENCE.as_secs() / 2 {
            // Ends as soon as the rollout is complete, or in failure after 2 s.
            let mut status = self.kubectl_as(SETUP);
            status.args(["rollout", "status", "--timeout=2s"]).args(proof);
            let complete = status.output()?.status.success();
            for daemon in self.daemons().iter_mut() {
                daemon.check_alive()?;
            }
            if complete {
                let mut delete = self.kubectl_as(SETUP);
                delete.args(["delete", "--wait=true", "--cascade=foreground"]).args(proof);
                return succeed(&delete.output()?);
            }
        }
        let daemons = self.daemons();
        let logs = daemons.iter().map(|daemon| daemon.failure("may be the cause").to_string());
        bail!("no Deployment rolls out within {PATIENCE:?}\n{}", logs.collect::<Vec<_>>().join("\n"))
    }

    fn create(&self, object: Value) -> anyhow::Result<()> {
        // `apply` reads a file more easily than a pipe that we would have to feed.
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        serde_json::to_writer(&mut file, &object)?;
        let mut create = self.kubectl_as(SETUP);
        create.args(["apply", "--server-side", "--validate=false", "--filename"]).arg(file.path());
        succeed(&create.output()?)
    }
}

/// Has the watchdog keep the directory.
fn keep(directory: &Path) -> anyhow::Result<()> {
    fs::write(directory.join("keep"), "").context("keeping the testbed's directory")
}

fn succeed(output: &Output) -> anyhow::Result<()> {
    ensure!(output.status.success(), "kubectl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
