//! The list of tests, each an async function of a [`Ground`]; and running them.

use std::future::Future;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use parking_lot::RwLock;

use super::control_plane::ControlPlane;
use super::ground::Ground;
use super::pubsub_server::{EMULATOR, PubSubServer};
use super::pulled::{is_entrance_of_all, print_figures};
use super::testbed::{BINARIES, testbed};

/// Many times what the longest takes on a busy machine: one that hangs is a failure, and not a run without an end.
const TEST_LIMIT: Duration = Duration::from_secs(900);
/// Set by `make contract`: the program schemathesis.
pub const SCHEMATHESIS: &str = "PUSHROLL_SCHEMATHESIS";

/// The control plane, once a test has asked for it.
type SharedControlPlane = Arc<OnceLock<Result<ControlPlane, String>>>;

pub struct Suite {
    control_plane: SharedControlPlane,
    /// Held to read by the tests that share the control plane, to write by one that has it for itself.
    sharing: Arc<RwLock<()>>,
    trials: Vec<Trial>,
    /// Those that have the control plane for themselves: after all others.
    alone: Vec<Trial>,
}

impl Suite {
    pub fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { control_plane: Arc::default(), sharing: Arc::default(), trials: Vec::new(), alone: Vec::new() }
    }

    /// A test that needs no Kubernetes.
    pub fn plain<F: Future<Output = ()>>(&mut self, test: impl Fn() -> F + Send + 'static) {
        self.trials.push(Trial::test(format!("plain::{}", name_of(&test)), move || block_on(test())));
    }

    /// A test that is the same on the embedded API and on the real one.
    pub fn on_both<F: Future<Output = ()>>(&mut self, test: impl Fn(Ground) -> F + Copy + Send + 'static) {
        self.on_embedded(test);
        self.on_control_plane(test);
    }

    /// A test of what only the embedded API can play, such as an API server that hangs.
    pub fn on_embedded<F: Future<Output = ()>>(&mut self, test: impl Fn(Ground) -> F + Send + 'static) {
        let name = format!("embedded::{}", name_of(&test));
        let trial = Trial::test(name, move || block_on(async move { test(Ground::embedded().await).await }));
        self.trials.push(trial);
    }

    /// A test that needs schemathesis; reported as ignored without it.
    pub fn on_embedded_with_schemathesis<F: Future<Output = ()>>(
        &mut self,
        test: impl Fn(Ground) -> F + Send + 'static,
    ) {
        self.on_embedded(test);
        let trial = self.trials.pop().map(|trial| trial.with_ignored_flag(std::env::var_os(SCHEMATHESIS).is_none()));
        self.trials.extend(trial);
    }

    /// A test with a Pub/Sub server of its own, from the testbed, on the embedded API.
    pub fn with_pubsub<F: Future<Output = ()>>(&mut self, test: impl Fn(Ground, PubSubServer) -> F + Send + 'static) {
        let trial = Trial::test(format!("pubsub::{}", name_of(&test)), move || {
            block_on(async move { test(Ground::embedded().await, PubSubServer::start().await).await })
        });
        self.trials.push(trial.with_ignored_flag(std::env::var_os(BINARIES).is_none()));
    }

    /// A test of another suite on the embedded API, whose services pull what is pushed to them ([`super::pulled`]).
    pub fn pulled<F: Future<Output = ()>>(&mut self, test: impl Fn(Ground) -> F + Send + 'static) {
        let trial = Trial::test(format!("pubsub::{}", name_of(&test)), move || {
            block_on(async move { test(Ground::embedded().await.pulled()).await })
        });
        self.trials.push(trial.with_ignored_flag(std::env::var_os(BINARIES).is_none()));
    }

    /// The same with Google's emulator, on machines that have it.
    pub fn with_pubsub_emulator<F: Future<Output = ()>>(
        &mut self,
        test: impl Fn(Ground, PubSubServer) -> F + Send + 'static,
    ) {
        let trial = Trial::test(format!("pubsub_emulator::{}", name_of(&test)), move || {
            block_on(async move { test(Ground::embedded().await, PubSubServer::java_emulator().await).await })
        });
        self.trials
            .push(trial.with_ignored_flag(std::env::var_os(EMULATOR).is_none_or(|launcher| launcher.is_empty())));
    }

    /// A test of what only a real control plane has, such as controllers, kubectl and RBAC.
    pub fn on_control_plane<F: Future<Output = ()>>(&mut self, test: impl Fn(Ground) -> F + Send + 'static) {
        let sharing = Arc::clone(&self.sharing);
        let trial = self.control_plane_trial(test, move |run| {
            let _shared = sharing.read();
            run()
        });
        self.trials.push(trial);
    }

    /// A test that breaks the control plane, and mends it: it has it for itself, after all tests that share it.
    pub fn alone_on_control_plane<F: Future<Output = ()>>(&mut self, test: impl Fn(Ground) -> F + Send + 'static) {
        let sharing = Arc::clone(&self.sharing);
        let trial = self.control_plane_trial(test, move |run| {
            let _alone = sharing.write();
            run()
        });
        self.alone.push(trial);
    }

    fn control_plane_trial<F: Future<Output = ()>>(
        &self,
        test: impl Fn(Ground) -> F + Send + 'static,
        hold: impl FnOnce(&mut dyn FnMut() -> Result<(), Failed>) -> Result<(), Failed> + Send + 'static,
    ) -> Trial {
        let shared = Arc::clone(&self.control_plane);
        let trial = Trial::test(format!("control_plane::{}", name_of(&test)), move || {
            hold(&mut || {
                let _ = started(&shared)?;
                let (shared, test) = (Arc::clone(&shared), &test);
                block_on(async move { test(Ground::control_plane(shared).await).await })
            })
        });
        trial.with_ignored_flag(std::env::var_os(BINARIES).is_none())
    }

    /// Runs what the arguments ask for, and ends the control plane.
    pub fn run(self) -> ExitCode {
        let arguments = Arguments::from_args();
        // The runner begins them in this order: those that wait to be alone hold nobody up.
        let trials = self.trials.into_iter().chain(self.alone).collect();
        let conclusion = libtest_mimic::run(&arguments, trials);
        drop(self.control_plane);
        if is_entrance_of_all() {
            print_figures();
        }
        conclusion.exit_code()
    }
}

/// The name of a test function, by which it is run and shown.
fn name_of<T>(_test: &T) -> &'static str {
    std::any::type_name::<T>().rsplit("::").next().unwrap_or_default()
}

/// The control plane, started by the first test that needs it.
pub fn started(shared: &SharedControlPlane) -> Result<&ControlPlane, Failed> {
    let started = shared.get_or_init(|| ControlPlane::start(&testbed()?).map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|error| Failed::from(format!("the control plane did not start: {error}")))
}

fn block_on(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let in_time = runtime.block_on(async { tokio::time::timeout(TEST_LIMIT, test).await });
    in_time.map_err(|_| Failed::from(format!("it did not end within {TEST_LIMIT:?}")))
}
