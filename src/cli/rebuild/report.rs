//! What a rebuild has done, as it is printed.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cache::capacity;
use crate::cache::configmap::{CacheConfigMap, WriteBack, Written};
use crate::cache::scan::Scan;

#[derive(Debug, Serialize)]
pub(super) struct RebuildReport {
    result: Written,
    config_map: String,
    images: usize,
    workloads: usize,
    /// How many pods that mount it were notified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refreshed_pods: Option<usize>,
}

impl RebuildReport {
    /// Of a write to this ConfigMap. Warns where that is becoming full.
    pub(super) fn new(scan: &Scan, config_map: &CacheConfigMap, write_back: &WriteBack) -> Self {
        if let Some(warning) = capacity::warning(write_back.values_bytes) {
            anstream::eprintln!("pushroll: {warning}");
        }
        let result = write_back.written;
        let workloads: BTreeSet<_> = scan.images.values().flatten().collect();
        Self {
            result,
            config_map: config_map.to_string(),
            images: scan.images.len(),
            workloads: workloads.len(),
            refreshed_pods: None,
        }
    }

    /// For people and scripts.
    pub(super) fn word(&self) -> &'static str {
        match self.result {
            Written::Changed => "changed",
            Written::HeadRenewed | Written::Unchanged | Written::NewerKept => "unchanged",
        }
    }

    /// Prints the details to stderr.
    pub(super) fn print_details(&self, dry_run: bool) {
        let note = match self.result {
            Written::NewerKept => " (a newer scan is there already, and stays)",
            _ if dry_run => " (dry run: nothing was written)",
            _ => "",
        };
        anstream::eprintln!("{}: {} images, {} workloads{note}", self.config_map, self.images, self.workloads);
        if let Some(pods) = self.refreshed_pods {
            anstream::eprintln!("{pods} pods that mount it were notified");
        }
    }
}
