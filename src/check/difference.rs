//! Compares what the document lists with what a scan has found, workload by workload.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::code::Code;
use super::finding::Finding;
use crate::cache::UnseenPart;
use crate::cache::unseen::describe;
use crate::index::Scope;
use crate::index::document::Images;
use crate::workload::WorkloadRef;

/// How many workloads are named for each kind of difference.
const NAMES_MAX: usize = 5;

/// For a part of the scope that cannot be seen.
pub(super) const PART_UNSEEN_REMEDY: &str =
    "grant `list` there, or leave the namespace out of --namespaces; then `pushroll rebuild`";

/// Where the document and the cluster differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In the cluster, and not in the document.
    pub missing: Names,
    /// In the document, and no longer in the cluster.
    pub gone: Names,
    /// In both, and running other images than the document says.
    pub changed: Names,
}

/// A scan, compared with the document.
#[derive(Debug)]
pub struct Scanned {
    /// How it differs from the document; `None` where there is none that could be compared.
    pub difference: Option<Difference>,
    /// What the ConfigMap's values would take after a rebuild.
    pub next_bytes: usize,
    /// The parts of the scope that could not be compared.
    pub unseen: Vec<UnseenPart>,
}

/// Some workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Names {
    /// How many.
    pub count: usize,
    /// The first few.
    pub first: Vec<WorkloadRef>,
}

impl Difference {
    /// Compares what a document lists with what a scan of `scope` has found; other namespaces of the document are ignored.
    pub fn between(listed: &Images, scanned: &Images, scope: &Scope) -> Self {
        let (listed, scanned) = (by_workload(listed), by_workload(scanned));
        let mut difference = Self::default();
        for (workload, images) in &listed {
            let is_ours = scope.includes(&workload.namespace);
            match scanned.get(workload) {
                None if is_ours => difference.gone.add(workload),
                Some(runs) if runs != images => difference.changed.add(workload),
                None | Some(_) => {}
            }
        }
        for workload in scanned.keys().filter(|workload| !listed.contains_key(*workload)) {
            difference.missing.add(workload);
        }
        difference
    }
}

impl Names {
    fn add(&mut self, workload: &WorkloadRef) {
        self.count += 1;
        if self.first.len() < NAMES_MAX {
            self.first.push(workload.clone());
        }
    }

    /// `3 are gone (a/deployment/b, ...)`; nothing where there are none.
    fn describe(&self, one: &str, many: &str) -> Option<String> {
        let names = self.first.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let more = if self.count > self.first.len() { ", ..." } else { "" };
        match self.count {
            0 => None,
            1 => Some(format!("1 {one} ({names})")),
            count => Some(format!("{count} {many} ({names}{more})")),
        }
    }
}

fn by_workload(images: &Images) -> BTreeMap<&WorkloadRef, BTreeSet<&str>> {
    let mut workloads: BTreeMap<&WorkloadRef, BTreeSet<&str>> = BTreeMap::new();
    for (image, run) in images.iter() {
        for workload in run {
            workloads.entry(workload).or_default().insert(image);
        }
    }
    workloads
}

pub(super) fn findings(scanned: &Scanned) -> Vec<Finding> {
    let unseen = || {
        let reason = format!("{}: what the document lists of them cannot be compared", describe(&scanned.unseen));
        Finding::error(Code::PartUnseen, reason).remedy(PART_UNSEEN_REMEDY)
    };
    std::iter::once(finding(scanned)).chain((!scanned.unseen.is_empty()).then(unseen)).collect()
}

fn finding(scanned: &Scanned) -> Finding {
    let differs = |how: &str| {
        let reason = format!("the document differs from the cluster: {how}");
        Finding::error(Code::Differs, reason).remedy("`pushroll rebuild` writes what runs")
    };
    let Some(difference) = &scanned.difference else {
        return differs("it has entries that this pushroll cannot read");
    };
    let differences: Vec<String> = [
        difference.missing.describe("workload of the cluster is not in it", "workloads of the cluster are not in it"),
        difference.gone.describe("in it is gone", "in it are gone"),
        difference.changed.describe("runs other images than it says", "run other images than it says"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if differences.is_empty() {
        let seen = if scanned.unseen.is_empty() { "runs" } else { "can be seen" };
        Finding::ok(Code::Same, format!("the document lists what {seen} in the cluster"))
    } else {
        differs(&differences.join("; "))
    }
}
