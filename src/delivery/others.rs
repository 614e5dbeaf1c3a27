//! What else runs an image: CronJobs, Jobs and ReplicaSets, which no push restarts. `explain` names them and says what
//! becomes of each.

use std::time::Instant;

use futures_util::future::join_all;
use serde::{Serialize, Serializer};

use crate::cluster::{self, Cluster, OtherKind, OtherObject};
use crate::image::ImageRef;
use crate::index::Scope;

/// An object that runs the image and is not restarted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Other {
    /// Its namespace.
    pub namespace: String,
    /// Its kind.
    #[serde(serialize_with = "kind")]
    pub kind: OtherKind,
    /// Its name.
    pub name: String,
    /// When its pods pull the image, as its pod template says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// What becomes of it, for programs.
    pub code: OtherCode,
    /// What becomes of it: a sentence.
    pub reason: String,
}

/// The closed set of what becomes of something that is not restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherCode {
    /// A CronJob: its next run pulls the image, as its pull policy says.
    NextRun,
    /// A Job: its pods run on as they are.
    RunsOn,
    /// A ReplicaSet without a controller: its pods run on until they are deleted.
    NoController,
    /// It belongs to a controller that pushroll does not know.
    OtherController,
}

/// Objects that were not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// Their kind.
    #[serde(serialize_with = "kind")]
    pub kind: OtherKind,
    /// Their namespace; absent where it is all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Why: a sentence.
    pub reason: String,
}

fn kind<S: Serializer>(kind: &OtherKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

/// Lists each kind in each namespace of `scope`, until `deadline` at most. What is found is sorted.
pub(super) async fn others(
    cluster: &Cluster,
    scope: &Scope,
    image: &ImageRef,
    deadline: Instant,
) -> (Vec<Other>, Vec<Unseen>) {
    let of_kind = |kind: OtherKind| async move {
        let (mut found, mut unseen) = (Vec::new(), Vec::new());
        for namespace in scope.namespaces() {
            let listed = cluster.list_others(kind, namespace, |object| judge(kind, &object, image));
            let reason = match cluster::within(deadline, listed).await {
                Ok(Ok(more)) => {
                    found.extend(more);
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(out_of_time) => out_of_time.to_string(),
            };
            unseen.push(Unseen { kind, namespace: namespace.map(str::to_owned), reason });
        }
        (found, unseen)
    };
    let (found, unseen): (Vec<_>, Vec<_>) = join_all(OtherKind::ALL.map(of_kind)).await.into_iter().unzip();
    let mut found: Vec<Other> = found.into_iter().flatten().collect();
    found.sort_unstable();
    (found, unseen.into_iter().flatten().collect())
}

/// What becomes of an object; `None` where it does not run the image, has ended, or belongs to what is named already.
fn judge(kind: OtherKind, object: &OtherObject, image: &ImageRef) -> Option<Other> {
    let followers = object.images().filter(|candidate| candidate.follows(image));
    let mut policies: Vec<&str> = followers.map(|follower| follower.pull_policy.unwrap_or("")).collect();
    if policies.is_empty() || object.has_ended() {
        return None;
    }
    // The one by which fewest pods pull stands for all.
    policies.sort_by_key(|policy| ["Never", "IfNotPresent", "", "Always"].iter().position(|one| one == policy));
    let policy = policies.first().copied().filter(|policy| !policy.is_empty());
    let (code, reason) = match (kind, object.controller()) {
        (OtherKind::Job, Some(owner)) if owner.kind == "CronJob" => return None,
        (OtherKind::ReplicaSet, Some(owner)) if owner.kind == "Deployment" => return None,
        // The old ones that a controller keeps.
        (OtherKind::ReplicaSet, Some(_)) if object.has_no_replicas() => return None,
        (OtherKind::Job | OtherKind::ReplicaSet, Some(owner)) => {
            let reason = format!("it belongs to {} {}, which pushroll does not restart", owner.kind, owner.name);
            (OtherCode::OtherController, reason)
        }
        (OtherKind::CronJob, _) => (OtherCode::NextRun, next_run(object, policy)),
        (OtherKind::Job, None) if object.is_suspended() => {
            (OtherCode::RunsOn, format!("it is suspended: its pods {} when it is resumed", pulls(policy)))
        }
        (OtherKind::Job, None) => (OtherCode::RunsOn, "its pods run on as they are: a Job is not restarted".to_owned()),
        (OtherKind::ReplicaSet, None) if object.has_no_replicas() => {
            (OtherCode::NoController, format!("it has no replicas: its pods {} when it is scaled up", pulls(policy)))
        }
        (OtherKind::ReplicaSet, None) => {
            let reason = format!(
                "no controller replaces its pods: they run on until they are deleted, and those that take their place {}",
                pulls(policy)
            );
            (OtherCode::NoController, reason)
        }
    };
    Some(Other {
        namespace: object.namespace().to_owned(),
        kind,
        name: object.name().to_owned(),
        image_pull_policy: policy.map(str::to_owned),
        code,
        reason,
    })
}

fn next_run(object: &OtherObject, policy: Option<&str>) -> String {
    let next_run = if object.is_suspended() { "it is suspended: its next run after that" } else { "its next run" };
    let is_one = match policy {
        Some("Never") => "does not pull the image: its imagePullPolicy is Never",
        Some("IfNotPresent") => {
            "pulls the image only on a node that does not hold the tag: its imagePullPolicy is IfNotPresent"
        }
        _ => "pulls the image",
    };
    format!("{next_run} {is_one}")
}

/// What pods do when they are made.
fn pulls(policy: Option<&str>) -> &'static str {
    match policy {
        Some("Never") => "do not pull the image (imagePullPolicy Never)",
        Some("IfNotPresent") => {
            "pull the image only on a node that does not hold the tag (imagePullPolicy IfNotPresent)"
        }
        _ => "pull the image",
    }
}
