//! The scan: which workloads run which images, from a LIST of each part of the scope. It has all that we are permitted
//! to see, or is an error.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::unseen::ForbiddenPart;
use crate::cluster::{ApiError, Cluster};
use crate::index::document::stored::Stored;
use crate::index::document::{Head, Images};
use crate::index::{Part, Scope};
use crate::workload::{WorkloadKind, WorkloadRef};

/// What a scan has found, and when it began.
#[derive(Debug)]
pub struct Scan {
    /// Image references as they are written, with the workloads that run them.
    pub images: Images,
    /// A time by the API server's clock just before it began.
    pub as_of: Option<Timestamp>,
    /// When it began.
    pub began: Instant,
    /// The parts of the scope that it was not permitted to see; not all of them.
    pub forbidden: Vec<ForbiddenPart>,
}

/// What was seen of a scope: a document of it is made over the document that is stored.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Image references as they are written, with the workloads that run them.
    pub images: &'a Images,
    /// A time by the API server's clock: it misses nothing older.
    pub as_of: Option<Timestamp>,
    /// The scope.
    pub scope: &'a Scope,
    /// The parts of the scope that could not be seen.
    pub unseen: Vec<Part>,
}

/// Why there is no scan.
#[derive(Debug, thiserror::Error)]
#[error("the scan failed at the {} of {}: {source}", kind.plural(), namespace.as_deref().unwrap_or("all namespaces"))]
pub struct ScanError {
    kind: WorkloadKind,
    namespace: Option<String>,
    /// What the API server answered.
    #[source]
    pub source: ApiError,
    /// Every part of the scope, where each of them was forbidden.
    pub forbidden: Vec<ForbiddenPart>,
}

/// What of one kind was listed.
#[derive(Default)]
struct Listed {
    runs: Vec<(Box<str>, WorkloadRef)>,
    forbidden: Vec<(Part, ApiError)>,
}

/// Lists each part of `scope`. A part that is forbidden is left out, unless all are.
///
/// `as_of` is the API server's time of its last answer before the first LIST, so a caller makes a call just before (the
/// GET of the ConfigMap). It is unknown where there was no such answer, or where the API server's clock was further than
/// `clock_margin` from ours.
///
/// # Errors
/// The first LIST that failed otherwise; or the first of all, where each was forbidden.
pub async fn scan(cluster: &Cluster, scope: &Scope, clock_margin: Duration) -> Result<Scan, ScanError> {
    let as_of: Option<Timestamp> = cluster.server_clock().passed(clock_margin);
    let began = Instant::now();
    let [deployments, stateful_sets, daemon_sets] = WorkloadKind::ALL.map(|kind| list(cluster, kind, scope));
    let (mut all, stateful_sets, daemon_sets) = tokio::try_join!(deployments, stateful_sets, daemon_sets)?;
    for listed in [stateful_sets, daemon_sets] {
        all.runs.extend(listed.runs);
        all.forbidden.extend(listed.forbidden);
    }
    let reason = |(part, error): &(Part, ApiError)| ForbiddenPart { part: part.clone(), reason: error.to_string() };
    let forbidden = all.forbidden.iter().map(reason).collect::<Vec<_>>();
    if forbidden.len() == scope.parts().len()
        && let Some((part, source)) = all.forbidden.into_iter().next()
    {
        let namespace = part.namespace.map(String::from);
        return Err(ScanError { kind: part.kind, namespace, source, forbidden });
    }
    let images = all.runs.into_iter().map(|(image, workload)| (image, [workload])).collect();
    Ok(Scan { images, as_of, began, forbidden })
}

async fn list(cluster: &Cluster, kind: WorkloadKind, scope: &Scope) -> Result<Listed, ScanError> {
    let mut all = Listed::default();
    for namespace in scope.namespaces() {
        let mut found: Vec<(Box<str>, WorkloadRef)> = Vec::new();
        let listed = cluster.list_images(kind, namespace, |item| match item {
            None => found.clear(),
            Some((image, workload)) => found.push((image.into(), workload)),
        });
        match listed.await {
            Ok(()) => {}
            Err(error @ ApiError::Forbidden(_)) => {
                all.forbidden.push((Part::new(kind, namespace), error));
                continue;
            }
            Err(source) => {
                let namespace = namespace.map(str::to_owned);
                return Err(ScanError { kind, namespace, source, forbidden: Vec::new() });
            }
        }
        all.runs.extend(found);
    }
    Ok(all)
}

impl Scan {
    /// The parts that it was not permitted to see.
    pub fn unseen(&self) -> Vec<Part> {
        self.forbidden.iter().map(|forbidden| forbidden.part.clone()).collect()
    }

    /// What it has seen of `scope`, which it was of.
    pub fn seen<'a>(&'a self, scope: &'a Scope) -> Seen<'a> {
        Seen { images: &self.images, as_of: self.as_of, scope, unseen: self.unseen() }
    }
}

impl<'a> Seen<'a> {
    /// The head and the images of a document that takes the place of `stored`. What that lists of the parts that could not
    /// be seen is among the images, as of its own time. Where all could be seen, `stored` is not asked for.
    pub fn over(&self, stored: impl FnOnce() -> Option<Stored>) -> (Head, Cow<'a, Images>) {
        if self.unseen.is_empty() {
            return (Head::whole(self.as_of, self.scope.clone()), Cow::Borrowed(self.images));
        }
        let (kept, times) = stored().unwrap_or_else(|| Stored::Plain(Vec::new())).of_parts(&self.unseen);
        let both = self.images.iter().chain(kept.iter());
        let images = both.map(|(image, workloads)| (image, workloads.iter().cloned())).collect();
        (Head::partial(self.as_of, self.scope, &times), Cow::Owned(images))
    }
}
