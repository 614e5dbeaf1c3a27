//! `pushroll check`: whether the cache is as it should be. This gathers the facts; [`crate::check`] judges them.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::cluster_commands::CLOCK_MARGIN;
use super::output::{OutputFormat, print, print_json, style_severity, table};
use super::{Answered, GlobalArgs};
use crate::arguments::{namespace_name, positive_duration};
use crate::cache::UnseenPart;
use crate::cache::configmap::{CacheConfigMap, FIELD_MANAGER as CACHE_FIELD_MANAGER};
use crate::cache::scan;
use crate::check::{Difference, Facts, Finding, Mount, Scanned, Severity, findings, worst};
use crate::clock::Clock;
use crate::cluster::access::Access;
use crate::cluster::{ApiError, Cluster, ClusterMetrics, ConfigMapObject, Verb};
use crate::index::Scope;
use crate::index::document::Document;
use crate::index::document::stored::{Stored, both_forms};
use crate::workload::WorkloadKind;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// An older document, in the ConfigMap or in the mount, is an error [default: any age is good]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    max_age: Option<Duration>,
    /// Scan the cluster, too, and say how the document differs from it
    #[arg(long)]
    deep: bool,
    /// Only these namespaces [default: those that the document says it covers]
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = namespace_name, env = "PUSHROLL_NAMESPACES")]
    namespaces: Vec<String>,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    config_map: &'a str,
    severity: Severity,
    findings: &'a [Finding],
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'a Difference>,
}

pub(super) async fn run(global: &GlobalArgs, args: CheckArgs) -> anyhow::Result<Answered> {
    let client = global.connect().await?;
    let config_map = global.config_map(&client)?;
    let cluster = Cluster::new(client, Clock::system(), ClusterMetrics::default());
    let facts = gather(global, &args, &config_map, &cluster).await?;
    let findings = findings(&facts);
    let severity = worst(&findings);
    let difference = facts.scanned.as_ref().and_then(|scanned| scanned.difference.as_ref());
    match global.output {
        OutputFormat::Json => {
            print_json(&Checked { config_map: &facts.config_map, severity, findings: &findings, difference })?;
        }
        OutputFormat::Name => {
            let problems = findings.iter().filter(|finding| finding.severity > Severity::Ok);
            print(&problems.map(|finding| format!("{}\n", finding.code)).collect::<String>())?;
        }
        OutputFormat::Table => print(&table(["SEVERITY", "CODE", "FINDING"], findings.iter().flat_map(rows)))?,
    }
    Ok(if severity == Severity::Error { Answered::No } else { Answered::Yes })
}

fn rows(finding: &Finding) -> impl Iterator<Item = [String; 3]> {
    let severity = style_severity(finding.severity);
    let first = [severity, finding.code.to_string(), finding.reason.clone()];
    let remedy = finding.remedy.as_ref().map(|remedy| [String::new(), String::new(), format!("-> {remedy}")]);
    std::iter::once(first).chain(remedy)
}

async fn gather(
    global: &GlobalArgs,
    args: &CheckArgs,
    config_map: &CacheConfigMap,
    cluster: &Cluster,
) -> anyhow::Result<Facts> {
    let read = config_map.read(cluster).await.with_context(|| format!("the ConfigMap {config_map}"))?;
    let stored = read.object.as_ref().and_then(|object| config_map.stored(object));
    // The times are compared with the API server's own clock, so its distance from ours does not matter.
    let now = cluster.server_clock().passed(Duration::MAX).unwrap_or_else(|| cluster.clock().now());
    let asked = (!args.namespaces.is_empty()).then(|| Scope::of(&args.namespaces));
    let scope_of_document = read.document.as_ref().ok().and_then(|document| document.head.covered_scope());
    let scope = asked.clone().or(scope_of_document).unwrap_or(Scope::AllNamespaces);
    let mut access = Vec::new();
    for needed in needed(config_map, read.object.as_ref(), &scope) {
        let permitted = cluster.is_permitted(&needed).await.map_err(|error| error.to_string());
        access.push((needed, permitted));
    }
    let mut pods = Vec::new();
    for namespace in scope.namespaces() {
        let namespace = namespace.map(str::to_owned);
        let list = Access { verb: "list", group: "", resource: "pods", namespace, name: None };
        let permitted = cluster.is_permitted(&list).await.map_err(|error| error.to_string());
        pods.push((list, permitted));
    }
    let dry_run = match access.first() {
        Some((_, Ok(true))) => Some(try_write(cluster, config_map, read.object.as_ref()).await),
        _ => None,
    };
    let mount = global
        .expected_mount()
        .map(|reader| Mount { directory: reader.directory().display().to_string(), read: reader.read() });
    let in_mount = mount.as_ref().and_then(|mount| {
        let file = mount.read.as_ref().ok().filter(|file| file.has_other_key)?;
        Some(both_forms(&mount.directory, &file.key))
    });
    let in_config_map = read.object.as_ref().and_then(|object| config_map.passed_over(object));
    let passed_over = in_config_map.into_iter().chain(in_mount).collect();
    let scanned = match args.deep {
        true => Some(look_deep(cluster, config_map, &scope, read.object.as_ref(), stored.as_ref()).await?),
        false => None,
    };
    let (config_map, max_age) = (config_map.to_string(), args.max_age);
    Ok(Facts {
        config_map,
        read,
        stored,
        passed_over,
        dry_run,
        now,
        max_age,
        scope: asked,
        mount,
        access,
        pods,
        scanned,
    })
}

/// Tries the write that a rebuild makes, as a dry run. The access review before it knows roles alone; this knows quotas and
/// admission policies as well.
async fn try_write(
    cluster: &Cluster,
    config_map: &CacheConfigMap,
    object: Option<&ConfigMapObject>,
) -> Result<(), ApiError> {
    // That it is immutable is a finding of its own.
    if object.is_some_and(|object| object.immutable) {
        return Ok(());
    }
    let verb = if object.is_none() { Verb::Create } else { Verb::Patch };
    let CacheConfigMap { namespace, name, .. } = config_map;
    cluster.dry_run_config_map(verb, namespace, name, CACHE_FIELD_MANAGER, json!({})).await
}

/// The calls that a rebuild makes.
fn needed(config_map: &CacheConfigMap, object: Option<&ConfigMapObject>, scope: &Scope) -> Vec<Access> {
    let of_config_map = |verb, name: Option<&String>| Access {
        verb,
        group: "",
        resource: "configmaps",
        namespace: Some(config_map.namespace.clone()),
        name: name.cloned(),
    };
    let write = match object {
        None => of_config_map("create", None),
        Some(_) => of_config_map("patch", Some(&config_map.name)),
    };
    let lists = scope.namespaces().into_iter().flat_map(|namespace| {
        WorkloadKind::ALL.map(|kind| Access {
            verb: "list",
            group: "apps",
            resource: kind.plural(),
            namespace: namespace.map(str::to_owned),
            name: None,
        })
    });
    std::iter::once(write).chain(lists).collect()
}

async fn look_deep(
    cluster: &Cluster,
    config_map: &CacheConfigMap,
    scope: &Scope,
    object: Option<&ConfigMapObject>,
    stored: Option<&Stored>,
) -> anyhow::Result<Scanned> {
    let found = scan::scan(cluster, scope, CLOCK_MARGIN).await?;
    let (head, images) = found.seen(scope).over(|| stored.cloned());
    let listed = stored.cloned().and_then(Stored::images);
    let difference = listed.map(|listed| Difference::between(&listed, &images, scope));
    let next = Stored::of(Document::encode(&head, &images)).len();
    let unseen = found.forbidden.into_iter().map(UnseenPart::from).collect();
    Ok(Scanned { difference, next_bytes: next + config_map.other_values_bytes(object), unseen })
}
