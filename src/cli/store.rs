//! `pushroll store VERB CONFIGMAP [KEY [VALUE]]`: the key-value store over any ConfigMap.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::json;

use super::output::{OutputFormat, print, print_json, table};
use super::{Answered, GlobalArgs};
use crate::arguments::config_map_name;
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterMetrics};
use crate::configmap_store::{ConfigMapStore, Values, Verified};

#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    verb: Verb,
    /// A kubeconfig, where --kubeconfig names none
    #[arg(long, global = true, hide = true, value_name = "FILE", env = "MAPSTORE_CLUSTER_CONFIG_PATH")]
    mapstore_kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The keys, one a line
    Keys(ConfigMapArgs),
    /// The value of a key, as it is (exit 3: there is none)
    Get(KeyArgs),
    /// Sets a key, if that changes anything; creates the ConfigMap
    Set(SetArgs),
    /// Sets a key without looking first: needs no permission to read; text goes to data, wherever the key was
    ForceSet(SetArgs),
    /// Removes a key (exit 3: it was not there)
    Delete(KeyArgs),
    /// Removes every key; the ConfigMap stays
    Truncate(ConfigMapArgs),
    /// Everything, as JSON: data as it is, binaryData as base64
    Raw(ConfigMapArgs),
    /// Whether it can be reached, read and written; changes nothing
    Verify(ConfigMapArgs),
}

#[derive(Debug, Args)]
struct ConfigMapArgs {
    /// The ConfigMap's name
    #[arg(value_name = "CONFIGMAP", value_parser = config_map_name)]
    config_map: String,
}

#[derive(Debug, Args)]
struct KeyArgs {
    #[command(flatten)]
    of: ConfigMapArgs,
    /// The key: letters, digits, dots, - and _
    key: String,
}

#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    of: KeyArgs,
    /// The value [default: read from stdin]
    #[arg(conflicts_with = "from_file", allow_hyphen_values = true)]
    value: Option<String>,
    /// Take the value from a file; - for stdin
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

pub(super) async fn run(global: &GlobalArgs, args: StoreArgs) -> anyhow::Result<Answered> {
    let kubeconfig = args.mapstore_kubeconfig;
    let store = |name: &str| open(global, kubeconfig.clone(), name.to_owned());
    match args.verb {
        Verb::Keys(ConfigMapArgs { config_map }) => {
            let keys = store(&config_map).await?.keys().await?;
            match global.output {
                OutputFormat::Json => print_json(&keys)?,
                _ => print(&keys.iter().map(|key| format!("{key}\n")).collect::<String>())?,
            }
            Ok(Answered::Yes)
        }
        Verb::Get(KeyArgs { of, key }) => match store(&of.config_map).await?.get(&key).await? {
            None => Ok(Answered::No),
            Some(value) => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&value).and_then(|()| stdout.flush()).context("stdout cannot be written")?;
                Ok(Answered::Yes)
            }
        },
        Verb::Set(set) => {
            let values = set.values()?;
            let changed = store(&set.of.of.config_map).await?.set(&values).await?;
            print(if changed { "changed\n" } else { "unchanged\n" })?;
            Ok(Answered::Yes)
        }
        Verb::ForceSet(set) => {
            let values = set.values()?;
            store(&set.of.of.config_map).await?.force_set(&values).await?;
            Ok(Answered::Yes)
        }
        Verb::Delete(KeyArgs { of, key }) => {
            let removed = store(&of.config_map).await?.delete(&key).await?;
            Ok(if removed { Answered::Yes } else { Answered::No })
        }
        Verb::Truncate(ConfigMapArgs { config_map }) => {
            let removed = store(&config_map).await?.truncate().await?;
            print(&format!("{removed} removed\n"))?;
            Ok(Answered::Yes)
        }
        Verb::Raw(ConfigMapArgs { config_map }) => raw(&store(&config_map).await?).await,
        Verb::Verify(ConfigMapArgs { config_map }) => verify(global, &store(&config_map).await?).await,
    }
}

async fn open(global: &GlobalArgs, kubeconfig: Option<PathBuf>, name: String) -> anyhow::Result<ConfigMapStore> {
    let client = global.connect_with(kubeconfig.as_ref()).await?;
    let namespace = global.config_map(&client)?.namespace;
    let cluster = Cluster::new(client, Clock::system(), ClusterMetrics::default());
    Ok(ConfigMapStore::new(cluster, namespace, name))
}

async fn raw(store: &ConfigMapStore) -> anyhow::Result<Answered> {
    let Some(snapshot) = store.snapshot().await? else {
        anstream::eprintln!("pushroll: there is no ConfigMap {store}");
        return Ok(Answered::No);
    };
    let (mut data, mut binary_data) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in snapshot.values {
        if snapshot.binary_keys.contains(&key) {
            binary_data.insert(key, STANDARD.encode(value));
        } else {
            data.insert(key, String::from_utf8_lossy(&value).into_owned());
        }
    }
    print_json(&json!({
        "resourceVersion": snapshot.resource_version,
        "immutable": snapshot.immutable,
        "data": data,
        "binaryData": binary_data,
    }))?;
    Ok(Answered::Yes)
}

async fn verify(global: &GlobalArgs, store: &ConfigMapStore) -> anyhow::Result<Answered> {
    let verification = store.verify().await;
    if global.output == OutputFormat::Json {
        print_json(&verification)?;
    } else {
        let row = |name: &str, verified: &Verified| {
            [name.to_owned(), if verified.works { "yes" } else { "no" }.to_owned(), verified.detail.clone()]
        };
        print(&table(
            ["CHECK", "WORKS", "DETAIL"],
            [
                row("reachable", &verification.reachable),
                row("readable", &verification.readable),
                row("writable", &verification.writable),
            ],
        ))?;
    }
    Ok(if verification.works() { Answered::Yes } else { Answered::Failed })
}

impl SetArgs {
    fn values(&self) -> anyhow::Result<Values> {
        let value = match (&self.value, &self.from_file) {
            (Some(value), _) => value.clone().into_bytes(),
            (None, Some(file)) if file.as_os_str() != "-" => {
                std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?
            }
            (None, _) => {
                let mut value = Vec::new();
                std::io::stdin().read_to_end(&mut value).context("stdin cannot be read")?;
                value
            }
        };
        Ok(Values::from([(self.of.key.clone(), value)]))
    }
}
