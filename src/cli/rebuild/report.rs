//! What a rebuild has done, as it is printed.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cache::configmap::{CacheConfigMap, WriteBack, Written};
use crate::cache::unseen::{ForbiddenPart, describe};
use crate::cache::{UnseenPart, capacity};
use crate::cli::Answered;
use crate::index::document::Images;

#[derive(Debug, Serialize)]
pub(super) struct RebuildReport {
    result: Written,
    config_map: String,
    images: usize,
    workloads: usize,
    /// How many pods that mount it were notified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refreshed_pods: Option<usize>,
    /// The parts of the scope that could not be seen; what was known of them is kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unseen_parts: Vec<UnseenPart>,
}

impl RebuildReport {
    /// Of a write to this ConfigMap. Warns where that is becoming full.
    pub(super) fn new(
        images: &Images,
        forbidden: &[ForbiddenPart],
        config_map: &CacheConfigMap,
        write_back: &WriteBack,
    ) -> Self {
        if let Some(warning) = capacity::warning(write_back.values_bytes) {
            anstream::eprintln!("pushroll: {warning}");
        }
        let result = write_back.written;
        let workloads: BTreeSet<_> = images.workloads().iter().collect();
        Self {
            result,
            config_map: config_map.to_string(),
            images: images.len(),
            workloads: workloads.len(),
            refreshed_pods: None,
            unseen_parts: forbidden.iter().cloned().map(UnseenPart::from).collect(),
        }
    }

    /// For people and scripts.
    pub(super) fn word(&self) -> &'static str {
        match self.result {
            Written::Changed => "changed",
            Written::HeadRenewed | Written::Unchanged | Written::NewerKept => "unchanged",
        }
    }

    /// The exit code; says on stderr what could not be seen.
    pub(super) fn answered(&self) -> Answered {
        if self.unseen_parts.is_empty() {
            return Answered::Yes;
        }
        anstream::eprintln!("pushroll: {}; what was known of them is kept", describe(&self.unseen_parts));
        Answered::Failed
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
