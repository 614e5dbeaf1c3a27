//! Arguments that all commands share, and how values are written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::output::OutputFormat;
use crate::cache::configmap::CacheConfigMap;
use crate::cache::mount::MountReader;
use crate::clock::parse_duration;
use crate::cluster::connect::{ConnectOptions, connect};
use crate::index::document::stored;
use crate::telemetry::logging::{self, LogFormat};
use crate::workload::is_namespace_name;

/// Where a service account's namespace is mounted (Kubernetes: the `ServiceAccount` admission plugin).
const SERVICE_ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Where the cache is mounted unless told otherwise.
const CACHE_DIR: &str = "/etc/cache";

/// What every command takes.
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
    #[arg(short, long, global = true, value_name = "NAME", env = "PUSHROLL_NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// `NAMESPACE`, as other tools of this kind have it; an argument can have one variable only.
    #[arg(long, global = true, hide = true, env = "NAMESPACE")]
    namespace_of_environment: Option<String>,
    /// The ConfigMap that holds the cache
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "deployment-image-cache",
        env = "PUSHROLL_CACHE_CONFIGMAP"
    )]
    pub(super) cache_configmap: String,
    /// Its key
    #[arg(long, global = true, value_name = "KEY", default_value = "cache.json", env = "PUSHROLL_CACHE_KEY")]
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

impl GlobalArgs {
    /// Logs from now on, what `quiet` lets through where nothing else was asked for.
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

    /// As [`Self::connect`], with a kubeconfig for where none is named.
    pub(super) async fn connect_with(&self, otherwise: Option<&PathBuf>) -> anyhow::Result<kube::Client> {
        let kubeconfig = self.kubeconfig.as_ref().or(otherwise).cloned();
        let options = ConnectOptions { kubeconfig, context: self.context.clone() };
        Ok(connect(&options).await?)
    }

    /// The cache ConfigMap; the client's configuration may name its namespace.
    pub(super) fn config_map(&self, client: &kube::Client) -> CacheConfigMap {
        let named = [&self.namespace, &self.namespace_of_environment].into_iter().flatten();
        let namespace = named.map(|name| name.trim().to_owned()).find(|name| !name.is_empty());
        let of_service_account = || std::fs::read_to_string(SERVICE_ACCOUNT_NAMESPACE).ok();
        let namespace = namespace.or_else(|| of_service_account().map(|name| name.trim().to_owned()));
        CacheConfigMap {
            namespace: namespace.unwrap_or_else(|| client.default_namespace().to_owned()),
            name: self.cache_configmap.clone(),
            key: self.cache_key.clone(),
        }
    }

    pub(super) fn cache_dir(&self) -> &Path {
        self.cache_dir.as_deref().unwrap_or(Path::new(CACHE_DIR))
    }

    pub(super) fn mount(&self) -> MountReader {
        MountReader::new(self.cache_dir(), stored::keys(&self.cache_key))
    }

    /// As [`Self::mount`], where one is to be expected: it was named, or it is there.
    pub(super) fn expected_mount(&self) -> Option<MountReader> {
        (self.cache_dir.is_some() || self.cache_dir().exists()).then(|| self.mount())
    }
}

/// `500ms`, `5s`, `10m`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration such as 500ms, 5s or 10m".to_owned())
}

/// A namespace's name, an RFC 1123 label: one that is empty must not come to mean all of them, or none.
pub(super) fn namespace_name(text: &str) -> Result<String, String> {
    if is_namespace_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected the names of namespaces, separated by commas alone".to_owned())
    }
}

/// As [`duration`], but not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| {
        if duration.is_zero() { Err("it must be longer than zero".to_owned()) } else { Ok(duration) }
    })
}

/// `14MiB`, `500kB`, `1048576`.
pub(super) fn byte_size(text: &str) -> Result<usize, String> {
    let size: bytesize::ByteSize = text.parse().map_err(|_| "expected a size such as 14MiB".to_owned())?;
    usize::try_from(size.as_u64()).map_err(|error| error.to_string())
}
