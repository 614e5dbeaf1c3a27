//! The client for the API server, from a kubeconfig or the pod's service account.

use std::path::{Path, PathBuf};

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
    if let kube::Error::ProxyProtocolDisabled { proxy_url, .. } = error {
        // A proxy's URL may have a password in it.
        let scheme = proxy_url.scheme_str().unwrap_or_default();
        return format!("a proxy by {scheme} is not supported; http:// is (proxy-url, HTTPS_PROXY, HTTP_PROXY)");
    }
    plugin.error(error).map_or_else(|| first_line(error), |error| error.to_string())
}

async fn load(options: &ConnectOptions) -> Result<Config, ConnectError> {
    let selection = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let named = options.kubeconfig.iter().cloned();
    // As kubectl: of the files in KUBECONFIG, the ones that are missing are skipped.
    let listed = options.kubeconfig_list.iter().filter(|path| options.kubeconfig.is_none() && path.exists()).cloned();
    let mut merged: Option<Kubeconfig> = None;
    for path in named.chain(listed) {
        let failed = |reason: String| ConnectError::Kubeconfig { path: path.display().to_string(), reason };
        let next = read(&path).map_err(failed)?;
        merged = Some(match merged {
            None => next,
            Some(before) => before.merge(next).map_err(|error| failed(first_line(&error)))?,
        });
    }
    if let Some(kubeconfig) = merged {
        let failed = |error| ConnectError::Kubeconfig { path: options.paths(), reason: first_line(&error) };
        return Config::from_custom_kubeconfig(kubeconfig, &selection).await.map_err(failed);
    }
    if options.context.is_some() {
        return Config::from_kubeconfig(&selection).await.map_err(|error| ConnectError::NotFound(first_line(&error)));
    }
    Config::infer().await.map_err(|error| ConnectError::NotFound(first_line(&error)))
}

impl ConnectOptions {
    fn paths(&self) -> String {
        let paths = self.kubeconfig.iter().chain(self.kubeconfig_list.iter().filter(|_| self.kubeconfig.is_none()));
        paths.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
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
