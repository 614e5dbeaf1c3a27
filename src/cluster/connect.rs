//! The client for the API server, from a kubeconfig or the pod's service account.

use std::path::{Path, PathBuf};

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::proxy::matcher::Matcher;
use kube::client::ClientBuilder;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tower::BoxError;
use tower::util::MapErrLayer;

use super::credential_plugin::CredentialPlugin;

/// Where to look for the API server.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// A kubeconfig file; else the list, else `~/.kube/config`, else the service account.
    pub kubeconfig: Option<PathBuf>,
    /// The files of `KUBECONFIG`, merged as kubectl does; files that do not exist are skipped.
    pub kubeconfig_list: Vec<PathBuf>,
    /// A context of that kubeconfig; else its current one.
    pub context: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig that was named cannot be used.
    #[error("the kubeconfig {path} cannot be used: {reason}; name another with --kubeconfig or KUBECONFIG")]
    Kubeconfig {
        /// Its path.
        path: String,
        /// Why not.
        reason: String,
    },
    /// No kubeconfig was named, and none was found.
    #[error(
        "there is no Kubernetes to talk to: name a kubeconfig with --kubeconfig or KUBECONFIG, or run in a pod with \
         a service account ({0})"
    )]
    NotFound(String),
    /// The configuration does not make a client.
    #[error("the connection to Kubernetes cannot be set up: {0}")]
    Client(String),
}

/// Makes a client from the configuration.
///
/// # Errors
/// [`ConnectError`] says what to do. Whether the API server answers is not checked.
pub async fn connect(options: &ConnectOptions) -> Result<kube::Client, ConnectError> {
    let mut config = load(options).await?;
    // kube would retry a 429, 503 or 504 for minutes. A push has seconds, and its redelivery is the retry.
    config.default_retry = false;
    let plugin = CredentialPlugin::of(&config.auth_info);
    let builder = ClientBuilder::try_from(config).map_err(|error| ConnectError::Client(reason(&error, &plugin)))?;
    let without_secrets = MapErrLayer::new(move |error: BoxError| match plugin.error(&*error) {
        Some(error) => error.into(),
        None => error,
    });
    Ok(builder.with_layer(&without_secrets).build())
}

fn reason(error: &kube::Error, plugin: &CredentialPlugin) -> String {
    match error {
        // A proxy's URL may have a password in it.
        kube::Error::ProxyProtocolDisabled { .. } | kube::Error::ProxyProtocolUnsupported { .. } => {
            "the proxy is none that is supported: its URL must begin with http:// (proxy-url, HTTPS_PROXY)".to_owned()
        }
        error => plugin.error(error).map_or_else(|| first_line(error), |error| error.to_string()),
    }
}

async fn load(options: &ConnectOptions) -> Result<Config, ConnectError> {
    let selection = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let mut merged: Option<Kubeconfig> = None;
    for path in options.files() {
        let failed = |reason: String| ConnectError::Kubeconfig { path: path.display().to_string(), reason };
        let next = read(path).map_err(failed)?;
        merged = Some(match merged {
            None => next,
            Some(before) => before.merge(next).map_err(|error| failed(first_line(&error)))?,
        });
    }
    // As kubectl: a list without any context leads to the service account.
    let is_of_use = |kubeconfig: &Kubeconfig| {
        options.kubeconfig.is_some() || !kubeconfig.contexts.is_empty() || kubeconfig.current_context.is_some()
    };
    if let Some(kubeconfig) = merged.filter(is_of_use) {
        let proxy = proxy_url(&kubeconfig, options.context.as_ref());
        let paths: Vec<_> = options.files().map(|path| path.display().to_string()).collect();
        let failed = |reason| ConnectError::Kubeconfig { path: paths.join(", "), reason };
        let loaded = Config::from_custom_kubeconfig(kubeconfig, &selection).await;
        let mut config = loaded.map_err(|error| failed(first_line(&error)))?;
        config.proxy_url = match proxy.or_else(|| proxy_of_environment(&config.cluster_url)) {
            // No word of the URL: it may have a password in it.
            Some(url) => Some(url.parse().map_err(|_| failed("the URL of the proxy cannot be read".to_owned()))?),
            None => None,
        };
        return Ok(config);
    }
    if options.context.is_some() {
        return Config::from_kubeconfig(&selection).await.map_err(|error| ConnectError::NotFound(first_line(&error)));
    }
    Config::infer().await.map_err(|error| ConnectError::NotFound(first_line(&error)))
}

/// The `proxy-url` of the cluster that the context names.
fn proxy_url(kubeconfig: &Kubeconfig, context: Option<&String>) -> Option<String> {
    let context = context.or(kubeconfig.current_context.as_ref())?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == *context)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|url| !url.is_empty())
}

/// The proxy that the environment names for this API server, as kubectl has it. kube asks `NO_PROXY` for the proxy's own
/// address.
fn proxy_of_environment(api_server: &Uri) -> Option<String> {
    let names = if api_server.scheme() == Some(&Scheme::HTTPS) {
        ["HTTPS_PROXY", "https_proxy"]
    } else {
        ["HTTP_PROXY", "http_proxy"]
    };
    let value =
        |names: [&str; 2]| names.into_iter().filter_map(|name| std::env::var(name).ok()).find(|it| !it.is_empty());
    let url = value(names)?;
    let exceptions = value(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    // Only the exceptions are asked for; which proxy does not matter to them. They know `*` for names alone.
    let is_meant = !exceptions.split(',').any(|exception| exception.trim() == "*")
        && Matcher::builder().all("http://proxy").no(exceptions).build().intercept(api_server).is_some();
    is_meant.then(|| if url.contains("://") { url } else { format!("http://{url}") })
}

impl ConnectOptions {
    /// As kubectl: of a list, the files that do not exist are skipped. One that cannot be looked at is not.
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let exists = |path: &&PathBuf| !matches!(path.try_exists(), Ok(false));
        let listed = self.kubeconfig_list.iter().filter(|_| self.kubeconfig.is_none()).filter(exists);
        self.kubeconfig.iter().chain(listed)
    }
}

fn read(path: &Path) -> Result<Kubeconfig, String> {
    // We read the file first, because kube's error for a missing file leaves out the system's own error.
    let _ = std::fs::read(path).map_err(|error| error.to_string())?;
    Kubeconfig::read_from(path).map_err(|error| first_line(&error))
}

/// The first line of an error. The others show the YAML file itself, which has credentials in it.
fn first_line(error: &impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
