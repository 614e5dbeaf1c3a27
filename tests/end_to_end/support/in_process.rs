//! A service in this process: with another clock than the system's, or with a hand on its calls to the API server.
//!
//! It has threads of its own and ends with them: what it was doing goes no further, as if its process had been killed.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use kube::client::Body;
use pushroll::cache::CacheArgs;
use pushroll::cache::configmap::CacheConfigMap;
use pushroll::cache::mount::MountReader;
use pushroll::clock::Clock;
use pushroll::delivery::DeliveryArgs;
use pushroll::rollout::WaitingArgs;
use pushroll::server::{Listeners, ServeConfig, serve};
use tokio::net::TcpListener;
use tower::service_fn;

use super::ground::Ground;
use super::proxy::{AnyBody, ApiRequest, BoxError, Passage, Rule, answered, refused};
use super::pulled::{Answers, OwnSubscription, RecentAnswers};
use super::service::{Running, Service};

/// What a service in this process is started with.
pub struct InProcess {
    ground: Ground,
    config: ServeConfig,
    clock: Clock,
    rule: Rule,
}

impl Ground {
    /// A service in this process, with an empty mount and the arguments of [`Ground::service`].
    pub fn service_in_process(&self) -> InProcess {
        let config_map = CacheConfigMap {
            namespace: self.namespace().to_owned(),
            name: "deployment-image-cache".to_owned(),
            key: "cache.json".to_owned(),
        };
        let mount = MountReader::new(self.directory().join("no-mount"), ["cache.json"]);
        let config = ServeConfig {
            cache: CacheArgs {
                mount_poll: Duration::from_millis(5),
                rebuild_interval: Duration::from_millis(50),
                ..CacheArgs::default()
            },
            delivery: DeliveryArgs { hold: Duration::from_secs(60), ..DeliveryArgs::default() },
            waiting: WaitingArgs { deferred_poll: Duration::from_secs(3600), ..WaitingArgs::default() },
            ..ServeConfig::new(None, config_map, mount)
        };
        InProcess {
            ground: self.clone(),
            config,
            clock: Clock::system(),
            rule: Arc::new(|_| Box::pin(std::future::ready(Passage::Forward))),
        }
    }
}

impl InProcess {
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    pub fn mount(self, directory: &Path) -> Self {
        self.configure(|config| config.mount = MountReader::new(directory, ["cache.json"]))
    }

    pub fn configure(mut self, change: impl FnOnce(&mut ServeConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Each call to the API server, by its method and URI, leaves only when `wait` is over.
    pub fn before_call<F: Future<Output = ()> + Send + 'static>(
        self,
        wait: impl Fn(Method, String) -> F + Send + Sync + 'static,
    ) -> Self {
        self.faults(move |request| {
            let wait = wait(request.method, request.uri);
            async move {
                wait.await;
                Passage::Forward
            }
        })
    }

    /// Each call to the API server fares as the rule says: a layer under its client does what the proxy does between
    /// processes ([`super::proxy`]).
    pub fn faults<F>(mut self, rule: impl Fn(ApiRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Passage> + Send + 'static,
    {
        self.rule = Arc::new(move |request| Box::pin(rule(request)));
        self
    }

    /// Starts it; it need not be ready.
    pub async fn start(mut self) -> Service {
        let own = if self.ground.is_pulled() { Some(OwnSubscription::create().await) } else { None };
        if let Some(own) = &own {
            self.config.pull = own.pull_args();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let user = self.ground.fresh_user();
        let (ground, as_user) = (self.ground.clone(), user.clone());
        let started = runtime.spawn(async move {
            let client = client(ground.client_as(&as_user).await, self.rule, ground.namespace());
            let bind = || async { TcpListener::bind(("127.0.0.1", 0)).await.unwrap() };
            let (public, internal, admin) = (bind().await, bind().await, bind().await);
            let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
            let addresses = [&public, &internal, &admin].map(address);
            let listeners = Listeners { public: Some(public), internal, admin };
            tokio::spawn(async move {
                serve(self.config, client, self.clock, listeners, std::future::pending()).await.unwrap();
            });
            addresses
        });
        let addresses = started.await.unwrap();
        let service = Service::new(addresses, user, self.ground, Running::Here(Some(runtime)));
        let answers =
            Answers::Status { url: format!("{}/v1/status", service.internal), recent: RecentAnswers::default() };
        match own {
            Some(own) => service.pulling(own, answers).await,
            None => service,
        }
    }

    /// Starts it and waits until it is ready.
    pub async fn start_ready(self) -> Service {
        let service = self.start().await;
        service.wait_until_ready().await;
        service
    }
}

/// A client with the layer under it.
fn client(api: kube::Client, rule: Rule, namespace: &str) -> kube::Client {
    let calls = service_fn(move |request: Request<Body>| {
        let (api, rule) = (api.clone(), Arc::clone(&rule));
        async move { pass(request, &api, &rule).await }
    });
    kube::Client::new(calls, namespace)
}

async fn pass(request: Request<Body>, api: &kube::Client, rule: &Rule) -> Result<Response<AnyBody>, BoxError> {
    let passage = rule(ApiRequest { method: request.method().clone(), uri: request.uri().to_string() }).await;
    if let Some(refusal) = refused(passage).await {
        return refusal;
    }
    let response = api.send(request).await?;
    answered(passage, response).await
}
