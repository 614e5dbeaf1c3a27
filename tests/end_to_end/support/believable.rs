//! A cluster as large companies have them: teams with namespaces for each environment, names of up to 40 characters,
//! an image of each workload's own with a commit in its tag, and sidecars that many share.

use pushroll::index::document::Images;
use pushroll::workload::{WorkloadKind, WorkloadRef};

const TEAMS: [&str; 30] = [
    "payments",
    "checkout",
    "catalog",
    "search",
    "identity",
    "ledger",
    "shipping",
    "returns",
    "pricing",
    "inventory",
    "fraud",
    "loyalty",
    "marketing",
    "messaging",
    "analytics",
    "billing",
    "invoicing",
    "onboarding",
    "partners",
    "support",
    "warehouse",
    "logistics",
    "recommendations",
    "media",
    "content",
    "experiments",
    "platform",
    "security",
    "compliance",
    "treasury",
];
const DOMAINS: [&str; 20] = [
    "settlement",
    "reconciliation",
    "authorization",
    "notification",
    "aggregation",
    "enrichment",
    "validation",
    "replication",
    "indexing",
    "scheduling",
    "ingestion",
    "forecasting",
    "allocation",
    "tokenization",
    "verification",
    "classification",
    "deduplication",
    "synchronization",
    "orchestration",
    "projection",
];
const ROLES: [&str; 12] = [
    "api",
    "worker",
    "consumer",
    "gateway",
    "scheduler",
    "exporter",
    "processor",
    "controller",
    "frontend",
    "backend",
    "adapter",
    "proxy",
];
const ENVIRONMENTS: [&str; 3] = ["prod", "staging", "canary"];
const REGIONS: [&str; 3] = ["europe-west1", "us-central1", "asia-east1"];
const SIDECARS: [&str; 8] = [
    "us-docker.pkg.dev/cloud-sql-connectors/cloud-sql-proxy:2.14.1",
    "otel/opentelemetry-collector-contrib:0.112.0",
    "europe-west1-docker.pkg.dev/acme-shared/base/envoy-sidecar:1.32.1-acme.4",
    "europe-west1-docker.pkg.dev/acme-shared/base/vault-agent:1.18.2",
    "nginx:1.27-alpine",
    "europe-west1-docker.pkg.dev/acme-shared/base/fluent-bit:3.1.9",
    "redis:7.4-alpine",
    "europe-west1-docker.pkg.dev/acme-shared/base/statsd-exporter:0.28.0",
];

/// What a scan of so many workloads finds: every workload has an image of its own, every second a sidecar, every
/// fourth an image that prepares its database.
pub fn cluster(workloads: usize) -> Images {
    let mut images = Vec::new();
    for number in 0..workloads {
        let commit = mixed(number as u64).to_be_bytes();
        let (team, domain, role) = (TEAMS[number % 30], DOMAINS[number / 30 % 20], ROLES[number / 600 % 12]);
        let (environment, copy) = (ENVIRONMENTS[number / 7200 % 3], number / 21600);
        let own = format!("{team}-{domain}-{role}");
        let mut name = if copy == 0 { own.clone() } else { format!("{own}-{copy}") };
        if name.len() < 40 {
            name.push_str("-v2-blue-green-deployment");
            name.truncate(40);
        }
        let kind = match number % 10 {
            8 => WorkloadKind::StatefulSet,
            9 => WorkloadKind::DaemonSet,
            _ => WorkloadKind::Deployment,
        };
        let workload = WorkloadRef::new(format!("{team}-{environment}"), kind, name.trim_end_matches('-'));
        let registry = format!("{}-docker.pkg.dev/acme-{team}-{environment}/{domain}", REGIONS[number % 3]);
        let hex: String = commit[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = format!("2026.11.{:02}-{hex}", number % 20 + 1);
        let mut runs = vec![format!("{registry}/{own}:{tag}")];
        if number % 2 == 0 {
            runs.push(SIDECARS[usize::from(commit[4] % 8)].to_owned());
        }
        if number % 4 == 0 {
            runs.push(format!("{registry}/{own}-migrate:{tag}"));
        }
        for image in runs {
            images.push((image, [workload.clone()]));
        }
    }
    images.into_iter().collect()
}

/// As a hash mixes: what looks random in a real cluster must not compress better here (`SplitMix64`).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
