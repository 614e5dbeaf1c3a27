//! A running service: the real program as a process or, where a test needs another clock, in this one.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use http::Method;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::fixtures::PushMessage;
use super::ground::Ground;
use super::http::{Answer, get, send};
use super::proxy::ApiProxy;
use super::pulled::{Answers, Entrance, ONE_ATTEMPT, OwnSubscription};
use super::wait::eventually;

/// What `serve` is started with. Every test gets its own ports, mount and API user.
pub struct ServiceBuilder {
    ground: Ground,
    arguments: Vec<String>,
    mount: PathBuf,
    user: String,
    kubeconfig: Option<PathBuf>,
    log_format: &'static str,
    environment: Vec<(String, String)>,
}

/// The program, running. Ends (SIGKILL) with this value.
pub struct Service {
    pub public: String,
    pub internal: String,
    pub admin: String,
    /// Who it is to the API server.
    pub user: String,
    ground: Ground,
    running: Running,
    log: Arc<Mutex<Vec<Value>>>,
    /// Where [`Self::public`] leads to, if pushes are pulled.
    _entrance: Option<Entrance>,
}

/// How a service runs.
pub enum Running {
    Process(Mutex<Child>),
    /// In this process (`in_process`): without signals, exit status and log lines.
    Here(Option<Runtime>),
}

impl Ground {
    /// A service with an empty mount, whose index comes quickly: the interval between scans is short.
    pub fn service(&self) -> ServiceBuilder {
        let user = self.fresh_user();
        let mount = self.directory().join(format!("mount-{user}"));
        let quick = ["--mount-poll", "5ms", "--rebuild-interval", "50ms"];
        // Calls are counted: those of a timer come when they like.
        let quiet = ["--deferred-poll", "1h"];
        // Nobody sends by a load balancer that is to hear of the end first.
        let direct = ["--drain-delay", "0s"];
        let listeners = ["--listen", "--internal-listen", "--admin-listen"].into_iter();
        let arguments = ["--insecure-no-auth", "--namespace", self.namespace()].into_iter().chain(quick).chain(quiet);
        let arguments = arguments.chain(direct);
        let arguments = arguments.chain(listeners.flat_map(|flag| [flag, "127.0.0.1:0"]));
        ServiceBuilder {
            ground: self.clone(),
            arguments: arguments.map(str::to_owned).collect(),
            mount,
            user,
            kubeconfig: None,
            log_format: "json",
            environment: Vec::new(),
        }
    }
}

impl ServiceBuilder {
    /// More arguments; of one that is given twice the last counts.
    pub fn arguments<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(str::to_owned));
        self
    }

    /// Without a flag, and its value.
    pub fn without(mut self, flag: &str) -> Self {
        self.arguments = without(&self.arguments, flag);
        self
    }

    /// The mount of its own kubelet.
    pub fn mount(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.mount);
        self
    }

    /// As this user to the API server.
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Talks to the API server through this proxy, as the proxy's user.
    pub fn through(mut self, proxy: &ApiProxy) -> Self {
        self.kubeconfig = Some(proxy.kubeconfig().to_owned());
        self.user(&proxy.user)
    }

    /// With a kubeconfig of the test's own making.
    pub fn kubeconfig(mut self, path: &Path) -> Self {
        self.kubeconfig = Some(path.to_owned());
        self
    }

    /// Logs for people: each line of [`Service::log`] is a string.
    pub fn log_text(mut self) -> Self {
        self.log_format = "text";
        self
    }

    /// With these environment variables; a flag of the same meaning is not given.
    pub fn environment(mut self, variables: &[(&str, &str)]) -> Self {
        for (name, value) in variables {
            let flag = name.trim_start_matches("PUSHROLL_").to_lowercase().replace('_', "-");
            self.arguments = without(&self.arguments, &format!("--{flag}"));
            self.environment.push(((*name).to_owned(), (*value).to_owned()));
        }
        self
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let mut command = program();
        command.envs(self.environment.iter().cloned());
        command.arg("serve");
        command.args(overridden(&self.arguments)).args(["--log-format", self.log_format]);
        let kubeconfig = self.kubeconfig.clone().unwrap_or_else(|| self.ground.kubeconfig(&self.user));
        command.arg("--kubeconfig").arg(kubeconfig).arg("--cache-dir").arg(&self.mount);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts it and waits until it listens; it need not be ready.
    pub async fn start(mut self) -> Service {
        let can_pull = self.log_format == "json"
            && self.arguments.iter().any(|flag| flag == "--insecure-no-auth")
            && !self.arguments.iter().any(|flag| flag == "--pull");
        let own = if can_pull && self.ground.is_pulled() { Some(OwnSubscription::create().await) } else { None };
        if let Some(own) = &own {
            let lease = format!("{}ns", ONE_ATTEMPT.as_nanos());
            self = self.arguments(["--pull", &own.subscription, "--pull-max-lease", &lease]);
            self = self.environment(&[("PUBSUB_EMULATOR_HOST", own.host())]);
        }
        let mut process = self.command().stderr(Stdio::piped()).spawn().unwrap();
        let log: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (stderr, lines) = (process.stderr.take().unwrap(), Arc::clone(&log));
        let has_ended = Arc::<AtomicBool>::default();
        let ended = Arc::clone(&has_ended);
        // From now on it is ended, even where nobody waits for it to listen any more.
        let running = Running::Process(Mutex::new(process));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let entry = serde_json::from_str(&line).unwrap_or(Value::String(line));
                lines.lock().unwrap().push(entry);
            }
            ended.store(true, Ordering::SeqCst);
        });
        let listening = eventually("the service listens", async || {
            let log = log.lock().unwrap();
            if let Running::Process(process) = &running
                && let Some(status) = process.lock().unwrap().try_wait().unwrap()
            {
                panic!("the service ended ({status}): {log:?}");
            }
            log.iter().find_map(addresses)
        });
        let [public, internal, admin] = listening.await;
        let answers = Answers::Log { log: Arc::clone(&log), read: 0, has_ended };
        let service = Service { log, ..Service::new([public, internal, admin], self.user, self.ground, running) };
        match own {
            Some(own) => service.pulling(own, answers).await,
            None => service,
        }
    }

    /// As [`Self::start_ready`], where it is not called at the addresses that it listens on.
    pub async fn start_ready_at(self, called: impl Fn(String) -> String) -> Service {
        let mut service = self.start().await;
        for url in [&mut service.public, &mut service.internal, &mut service.admin] {
            *url = called(std::mem::take(url));
        }
        service.wait_until_ready().await;
        service
    }

    /// Starts it and waits until it is ready.
    pub async fn start_ready(self) -> Service {
        let service = self.start().await;
        service.wait_until_ready().await;
        service
    }
}

/// The three URLs, from the line that says where it listens.
pub fn addresses(line: &Value) -> Option<[String; 3]> {
    let names = ["public", "internal", "admin"];
    let address = |name: &str| match line.as_str() {
        None => line[name].as_str().unwrap_or_default(),
        Some(text) => text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default(),
    };
    let is_it = line["message"] == "listening" || line.as_str().is_some_and(|text| text.contains(" listening "));
    is_it.then(|| names.map(|name| format!("http://{}", address(name))))
}

/// clap refuses a flag given twice; the tests' own value replaces the default.
fn overridden(arguments: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut rest = arguments.iter().peekable();
    while let Some(flag) = rest.next() {
        let value = rest.next_if(|next| !next.starts_with("--"));
        kept = without(&kept, flag);
        kept.push(flag.clone());
        kept.extend(value.cloned());
    }
    kept
}

/// The arguments but for a flag and its value.
fn without(arguments: &[String], flag: &str) -> Vec<String> {
    let mut kept = arguments.to_vec();
    if let Some(position) = kept.iter().position(|known| known == flag) {
        let has_value = kept.get(position + 1).is_some_and(|next| !next.starts_with("--"));
        kept.drain(position..=position + usize::from(has_value));
    }
    kept
}

/// The program under test, free of the environment's own settings.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pushroll"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PUSHROLL_")
            || ["KUBECONFIG", "NAMESPACE", "PUBSUB_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"]
                .contains(&name.as_str())
        {
            command.env_remove(name);
        }
    }
    command
}

impl Service {
    pub(super) fn new(addresses: [String; 3], user: String, ground: Ground, running: Running) -> Self {
        let [public, internal, admin] = addresses;
        Self { public, internal, admin, user, ground, running, log: Arc::default(), _entrance: None }
    }

    /// What is pushed to it goes by this subscription from now on.
    pub(super) async fn pulling(mut self, own: OwnSubscription, answers: Answers) -> Self {
        let entrance = own.open(self.public.clone(), answers).await;
        self.public.clone_from(&entrance.url);
        self._entrance = Some(entrance);
        self
    }

    fn process(&self) -> MutexGuard<'_, Child> {
        match &self.running {
            Running::Process(process) => process.lock().unwrap(),
            Running::Here(_) => panic!("this service is no process of its own"),
        }
    }

    pub async fn wait_until_ready(&self) {
        let url = format!("{}/readyz", self.internal);
        eventually("the service is ready", async || get(&url).await.status.is_success().then_some(())).await;
    }

    /// Delivers a message to the public listener, as Pub/Sub does.
    pub async fn push(&self, message: &PushMessage) -> Answer {
        self.deliver(&[("content-type", "application/json")], message.body()).await
    }

    /// Delivers any bytes to the public listener.
    pub async fn deliver(&self, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Answer {
        send(Method::POST, &format!("{}/v1/push", self.public), headers, body).await
    }

    pub async fn status(&self) -> Value {
        get(&format!("{}/v1/status", self.internal)).await.json()
    }

    /// Waits until the status shows what `condition` looks for.
    pub async fn wait_for_status(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || Some(self.status().await).filter(&condition)).await
    }

    /// What it has asked the API server for so far, but for [`Self::calls_of_following`], and for looks at workloads of
    /// other tests: on the shared control plane it may follow their rollouts as well.
    pub fn api_calls(&self) -> Vec<super::ground::ApiCall> {
        let is_of_another_test = |call: &super::ground::ApiCall| {
            let is_ours = |namespace: &String| namespace.starts_with(self.ground.namespace());
            call.verb == "get" && call.uri.starts_with("/apis/apps/") && !call.namespace.as_ref().is_some_and(is_ours)
        };
        let calls = self.ground.api_calls(&self.user).into_iter();
        calls.filter(|call| !is_of_following(call) && !is_of_another_test(call)).collect()
    }

    /// What it has asked for to follow rollouts. Nothing waits for these calls.
    pub fn calls_of_following(&self) -> Vec<super::ground::ApiCall> {
        self.ground.api_calls(&self.user).into_iter().filter(is_of_following).collect()
    }

    /// The names of the workloads that it has tried to write so far, sorted; one for each attempt. On the real
    /// control plane there may be more than one: a status written in between is a conflict.
    pub fn patches(&self) -> Vec<String> {
        let patches = self.api_calls().into_iter().filter(|call| call.verb == "patch" && call.resource != "configmaps");
        let mut names: Vec<_> = patches.filter_map(|call| call.name).collect();
        names.sort_unstable();
        names
    }

    /// As [`Self::patches`], each name once.
    pub fn patched(&self) -> Vec<String> {
        let mut names = self.patches();
        names.dedup();
        names
    }

    /// The log lines so far.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// Which process it is.
    pub fn process_id(&self) -> u32 {
        self.process().id()
    }

    /// Sends a signal by its name (`TERM`, `KILL`, `STOP`, ...).
    pub fn signal(&self, name: &str) {
        let id = self.process_id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&self) -> ExitStatus {
        eventually("the service ends", async || self.process().try_wait().unwrap()).await
    }
}

fn is_of_following(call: &super::ground::ApiCall) -> bool {
    let is_list = |resource: &str| call.verb == "list" && call.resource == resource;
    call.uri.contains("fieldManager=pushroll-following")
        || call.uri.contains("labelSelector=pushroll%2Edev%2Ffollowing")
        || (is_list("pods") && call.uri.contains("limit=500") && !call.uri.contains("mounts"))
        || (call.verb == "get" && call.uri.ends_with("/leases/pushroll-waiting"))
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            // Waits for nothing: whatever it does ends where it waits next.
            Self::Here(runtime) => runtime.take().into_iter().for_each(Runtime::shutdown_background),
            Self::Process(process) => {
                let process = process.get_mut().unwrap();
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}
