//! The client for the API server, from a kubeconfig or the pod's service account.

use std::path::{Path, PathBuf};

use kube::config::{Config, KubeConfigOptions, Kubeconfig};

/// Where to look for the API server.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// A kubeconfig file; else `KUBECONFIG`, else `~/.kube/config`, else the service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context of that kubeconfig; else its current one.
    pub context: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig that was named cannot be used.
    #[error("the kubeconfig {path} cannot be used: {reason}")]
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
    kube::Client::try_from(config).map_err(|error| ConnectError::Client(first_line(&error)))
}

async fn load(options: &ConnectOptions) -> Result<Config, ConnectError> {
    let selection = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &options.kubeconfig {
        let failed = |reason: String| ConnectError::Kubeconfig { path: path.display().to_string(), reason };
        let kubeconfig = read(path).map_err(failed)?;
        return Config::from_custom_kubeconfig(kubeconfig, &selection)
            .await
            .map_err(|error| failed(first_line(&error)));
    }
    if options.context.is_some() {
        return Config::from_kubeconfig(&selection).await.map_err(|error| ConnectError::NotFound(first_line(&error)));
    }
    Config::infer().await.map_err(|error| ConnectError::NotFound(first_line(&error)))
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
