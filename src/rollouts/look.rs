//! A look at the cluster: a LIST of each part of the scope, what waits, and the pods where they tell more.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::seen::{Found, Seen};
use crate::cache::UnseenPart;
use crate::cache::unseen::ForbiddenPart;
use crate::cluster::{ApiError, Cluster, WorkloadObject};
use crate::ending::Ending;
use crate::following::Standing;
use crate::image::ImageRef;
use crate::index::Scope;
use crate::rollout::OurRestart;
use crate::rollout::waiting::Waiting;
use crate::workload::WorkloadRef;

/// Calls at once.
const AT_ONCE: usize = 8;

/// Looks at the workloads of a scope.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Where they are.
    pub cluster: &'a Cluster,
    /// Which are looked at.
    pub scope: &'a Scope,
    /// What waits.
    pub waiting: &'a Waiting,
    /// The image that is asked for; without it, all.
    pub image: Option<&'a ImageRef>,
    /// Why no pods are looked at, where they are not to be.
    pub no_pods: Option<&'a str>,
}

impl Look<'_> {
    /// Looks once. A part of the scope that is forbidden is left out, unless each of them is.
    ///
    /// # Errors
    /// That of a LIST.
    pub async fn all(self) -> Result<Seen, ApiError> {
        let (mut seen, waiting_unread) = self.begin().await;
        let parts = self.scope.parts();
        let mut unseen = Vec::new();
        for part in &parts {
            let each = |workload, object| seen.add(workload, Arc::new(object));
            match self.cluster.list_workloads(part.kind, part.namespace.as_deref(), each).await {
                Ok(()) => {}
                Err(error @ ApiError::Forbidden(_)) if unseen.len() + 1 < parts.len() => {
                    unseen.push(UnseenPart::from(ForbiddenPart { part: part.clone(), reason: error.to_string() }));
                }
                Err(error) => return Err(error),
            }
        }
        let seen = seen.finish(self.scope, unseen, waiting_unread);
        Ok(self.with_pods(seen).await)
    }

    /// Looks again at the workloads that have not ended in `before`, with a GET of each.
    ///
    /// # Errors
    /// That of a GET.
    pub async fn again(self, before: &Seen) -> Result<Seen, ApiError> {
        let open: BTreeSet<WorkloadRef> = (0..before.workloads())
            .flat_map(|place| before.pushes(place))
            .filter(|push| !push.state.has_ended())
            .map(|push| push.workload)
            .collect();
        let (mut seen, waiting_unread) = self.begin().await;
        let looks = stream::iter(before.found()).map(|found| {
            let is_open = open.contains(&found.workload);
            async move {
                if !is_open {
                    return Ok((found, found.object.clone()));
                }
                match self.cluster.get_workload(&found.workload).await {
                    Ok(object) => Ok((found, Some(Arc::new(object)))),
                    Err(ApiError::NotFound(_)) => Ok((found, None)),
                    Err(error) => Err(error),
                }
            }
        });
        let looked: Vec<_> = looks.buffered(AT_ONCE).try_collect().await?;
        let mut deleted = BTreeSet::new();
        for (found, object) in looked {
            if object.is_none() {
                deleted.insert(found.workload.clone());
            }
            let object = object.or_else(|| found.object.clone());
            object.into_iter().for_each(|object| seen.add(found.workload.clone(), object));
        }
        let unseen = before.head().unseen_parts.clone();
        let mut seen = seen.finish(self.scope, unseen, waiting_unread);
        for found in seen.found_mut() {
            if deleted.contains(&found.workload) {
                found.standing = Some(Standing::deleted());
            } else if !open.contains(&found.workload) {
                let known = before.found().iter().find(|known| known.workload == found.workload);
                found.standing = known.and_then(|known| known.standing.clone());
            }
        }
        Ok(self.with_pods(seen).await)
    }

    async fn begin(self) -> (Seen, Option<String>) {
        let (view, waiting_unread) = match self.waiting.refresh().await {
            Ok(view) => (view, None),
            Err(error) => (self.waiting.view(), Some(error.to_string())),
        };
        (Seen::new(self.image, view, self.cluster.clock().now()), waiting_unread)
    }

    /// The pods tell why a rollout is held up, and what a complete one runs. The latter is a LIST for each workload that
    /// was ever restarted, and so only for an image that is asked for.
    async fn with_pods(self, mut seen: Seen) -> Seen {
        let is_wanted = |found: &Found, object: &WorkloadObject| {
            found.standing.is_none()
                && match Standing::of(found.workload.kind, object).ending {
                    None | Some(Ending::Failed) => true,
                    Some(Ending::Complete) => seen.is_of_image(),
                    Some(_) => false,
                }
        };
        let wanted: Vec<(usize, WorkloadRef, Arc<WorkloadObject>, OurRestart)> = seen
            .found()
            .iter()
            .enumerate()
            .filter_map(|(place, found)| {
                let object = found.object.clone().filter(|object| is_wanted(found, object))?;
                Some((place, found.workload.clone(), object, seen.restart(found)?))
            })
            .collect();
        let looks = wanted.into_iter().map(|(place, workload, object, restart)| async move {
            let standing = match self.no_pods {
                None => Standing::with_pods(self.cluster, &workload, &object, &restart).await,
                Some(why) => Standing::without_pods(workload.kind, &object, &restart, why),
            };
            (place, standing)
        });
        let standings: Vec<(usize, Standing)> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        for (place, standing) in standings {
            if let Some(found) = seen.found_mut().get_mut(place) {
                found.standing = Some(standing);
            }
        }
        seen
    }
}
