//! A service in this process: with another clock than the system's, or with a hand on its calls to the API server.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use kube::client::Body;
use pushroll::cache::configmap::CacheConfigMap;
use pushroll::cache::mount::MountReader;
use pushroll::clock::Clock;
use pushroll::delivery::answer::Poison;
use pushroll::rollout::Policy;
use pushroll::server::{Limits, Listeners, ServeConfig, serve};
use tokio::net::TcpListener;
use tower::service_fn;

use super::ground::Ground;
use super::service::{Running, Service};

type BeforeCall = Arc<dyn Fn(Method, String) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What a service in this process is started with.
pub struct InProcess {
    ground: Ground,
    config: ServeConfig,
    clock: Clock,
    before_call: BeforeCall,
}

impl Ground {
    /// A service in this process, with an empty mount and the arguments of [`Ground::service`].
    pub fn service_in_process(&self) -> InProcess {
        let config = ServeConfig {
            auth: None,
            config_map: CacheConfigMap {
                namespace: self.namespace().to_owned(),
                name: "deployment-image-cache".to_owned(),
                key: "cache.json".to_owned(),
            },
            mount: MountReader::new(self.directory().join("no-mount"), ["cache.json"]),
            mount_poll: Duration::from_millis(5),
            rebuild_interval: Duration::from_millis(50),
            refresh_interval: None,
            refresh_mounts: false,
            hold: Duration::from_secs(60),
            clock_margin: Duration::from_secs(10),
            watch: None,
            allow_stale: false,
            poison: Poison::Ack,
            max_body: 1 << 20,
            policy: Policy::everything(),
            limits: Limits::default(),
            concurrency: 16,
            drain_timeout: Duration::from_secs(1),
            own_pod: None,
            deferred_poll: Duration::from_secs(3600),
        };
        InProcess {
            ground: self.clone(),
            config,
            clock: Clock::system(),
            before_call: Arc::new(|_, _| Box::pin(std::future::ready(()))),
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
        mut self,
        wait: impl Fn(Method, String) -> F + Send + Sync + 'static,
    ) -> Self {
        self.before_call = Arc::new(move |method, uri| Box::pin(wait(method, uri)));
        self
    }

    /// Starts it; it need not be ready.
    pub async fn start(self) -> Service {
        let user = self.ground.fresh_user();
        let (client, before_call) = (self.ground.client_as(&user).await, self.before_call);
        let calls = service_fn(move |request: Request<Body>| {
            let (client, wait) = (client.clone(), before_call(request.method().clone(), request.uri().to_string()));
            async move {
                wait.await;
                client.send(request).await
            }
        });
        let client = kube::Client::new(calls, self.ground.namespace());

        let bind = || async { TcpListener::bind(("127.0.0.1", 0)).await.unwrap() };
        let listeners = Listeners { public: bind().await, internal: bind().await, admin: bind().await };
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (public, internal) = (address(&listeners.public), address(&listeners.internal));
        let admin = address(&listeners.admin);
        let task = tokio::spawn(async move {
            serve(self.config, client, self.clock, listeners, std::future::pending()).await.unwrap();
        });
        Service::new([public, internal, admin], user, self.ground, Running::Task(task))
    }

    /// Starts it and waits until it is ready.
    pub async fn start_ready(self) -> Service {
        let service = self.start().await;
        service.wait_until_ready().await;
        service
    }
}
