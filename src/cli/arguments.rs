//! The arguments that all commands share.

use std::path::{Path, PathBuf};

use clap::Args;
use http::uri::Authority;

use super::output::OutputFormat;
use crate::arguments::{config_map_key, config_map_name, one_namespace_name};
use crate::cache::configmap::CacheConfigMap;
use crate::cache::mount::MountReader;
use crate::cluster::connect::{ConnectOptions, connect};
use crate::index::document::stored;
use crate::telemetry::logging::{self, LogFormat};
use crate::workload::is_namespace_name;

/// Where a service account's namespace is mounted (Kubernetes: the `ServiceAccount` admission plugin).
const SERVICE_ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The default of `--cache-dir`.
const CACHE_DIR: &str = "/etc/cache";

/// The arguments of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// A kubeconfig [default: $KUBECONFIG, ~/.kube/config, else the pod's service account]
    #[arg(long, global = true, value_name = "FILE", env = "PUSHROLL_KUBECONFIG")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", env = "PUSHROLL_CONTEXT")]
    pub(super) context: Option<String>,
    /// Where the ConfigMap lives [default: $NAMESPACE, else the service account's, else the context's]
    #[arg(short, long, global = true, value_name = "NAME", value_parser = one_namespace_name, env = "PUSHROLL_NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// `NAMESPACE`, which similar tools read. It is an argument of its own because an argument can have one variable only.
    #[arg(long, global = true, hide = true, env = "NAMESPACE")]
    namespace_of_environment: Option<String>,
    /// The ConfigMap that holds the cache
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "deployment-image-cache",
        value_parser = config_map_name,
        env = "PUSHROLL_CACHE_CONFIGMAP"
    )]
    pub(super) cache_configmap: String,
    /// Its key
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        default_value = "cache.json",
        value_parser = config_map_key,
        env = "PUSHROLL_CACHE_KEY"
    )]
    pub(super) cache_key: String,
    /// Where that ConfigMap is mounted [default: /etc/cache]
    #[arg(long, global = true, value_name = "DIR", env = "PUSHROLL_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(super) output: OutputFormat,
    /// How log lines look
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text", env = "PUSHROLL_LOG_FORMAT")]
    log_format: LogFormat,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// An emulator in the place of Pub/Sub, named as for Google's own clients.
pub(super) fn emulator_host() -> anyhow::Result<Option<String>> {
    let Ok(host) = std::env::var("PUBSUB_EMULATOR_HOST") else { return Ok(None) };
    let host = host.trim_start_matches("http://").trim_end_matches('/');
    match host.parse::<Authority>() {
        _ if host.is_empty() => Ok(None),
        Ok(authority) if authority.port().is_some() && authority.as_str() == host => Ok(Some(host.to_owned())),
        _ => anyhow::bail!("PUBSUB_EMULATOR_HOST is {host:?}: expected HOST:PORT, such as localhost:8085"),
    }
}

impl GlobalArgs {
    /// Logs from now on: what `quiet` names, or more with `--verbose`.
    pub(super) fn init_logging(&self, quiet: &str) {
        logging::init(
            self.log_format,
            match self.verbose {
                0 => quiet,
                1 => "pushroll=debug",
                _ => "pushroll=trace",
            },
        );
    }

    pub(super) async fn connect(&self) -> anyhow::Result<kube::Client> {
        self.connect_with(None).await
    }

    /// As [`Self::connect`], with a kubeconfig to use where none is named.
    pub(super) async fn connect_with(&self, otherwise: Option<&PathBuf>) -> anyhow::Result<kube::Client> {
        let kubeconfig = self.kubeconfig.as_ref().or(otherwise).cloned();
        // A list, as kubectl reads it.
        let list = std::env::var_os("KUBECONFIG").unwrap_or_default();
        let kubeconfig_list = std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
        let options = ConnectOptions { kubeconfig, kubeconfig_list, context: self.context.clone() };
        Ok(connect(&options).await?)
    }

    /// The cache ConfigMap; the client's configuration may name its namespace.
    ///
    /// # Errors
    /// The namespace is none.
    pub(super) fn config_map(&self, client: &kube::Client) -> anyhow::Result<CacheConfigMap> {
        let of_service_account = || std::fs::read_to_string(SERVICE_ACCOUNT_NAMESPACE).ok();
        let trimmed = |name: String| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        let named = self.namespace.clone().and_then(trimmed).map(|name| (name, "--namespace"));
        let named = named.or_else(|| Some((self.namespace_of_environment.clone().and_then(trimmed)?, "$NAMESPACE")));
        let named = named.or_else(|| Some((trimmed(of_service_account()?)?, SERVICE_ACCOUNT_NAMESPACE)));
        let (namespace, source) =
            named.unwrap_or_else(|| (client.default_namespace().to_owned(), "the kubeconfig's context"));
        if !is_namespace_name(&namespace) {
            anyhow::bail!(
                "no namespace can be called {namespace:?}, which {source} names: choose one with --namespace"
            );
        }
        Ok(CacheConfigMap { namespace, name: self.cache_configmap.clone(), key: self.cache_key.clone() })
    }

    pub(super) fn cache_dir(&self) -> &Path {
        self.cache_dir.as_deref().unwrap_or(Path::new(CACHE_DIR))
    }

    pub(super) fn mount(&self) -> MountReader {
        MountReader::new(self.cache_dir(), stored::keys(&self.cache_key))
    }

    /// As [`Self::mount`], where a mount is expected: the directory was named, or it exists.
    pub(super) fn expected_mount(&self) -> Option<MountReader> {
        (self.cache_dir.is_some() || self.cache_dir().exists()).then(|| self.mount())
    }
}
