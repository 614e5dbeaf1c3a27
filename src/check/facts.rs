//! What `check` judges.

use std::time::Duration;

use jiff::Timestamp;

use super::difference::Scanned;
use crate::cache::configmap::ReadConfigMap;
use crate::cache::mount::{MountError, MountedFile};
use crate::cluster::ApiError;
use crate::cluster::access::Access;
use crate::index::Scope;
use crate::index::document::stored::Stored;

/// What is known of the cache.
#[derive(Debug)]
pub struct Facts {
    /// The ConfigMap, `NAMESPACE/NAME`.
    pub config_map: String,
    /// What was read of it.
    pub read: ReadConfigMap,
    /// The document as it stands there.
    pub stored: Option<Stored>,
    /// The documents that do not count beside it, in sentences: in the ConfigMap, and in the mount.
    pub passed_over: Vec<String>,
    /// Whether the ConfigMap can be written, tried as a dry run; `None`: it was not tried.
    pub dry_run: Option<Result<(), ApiError>>,
    /// The time by the API server's clock, or by ours where its answers do not say.
    pub now: Timestamp,
    /// How old the document may be, in the ConfigMap and in the mount.
    pub max_age: Option<Duration>,
    /// What it must have seen; `None`: whatever it says it has.
    pub scope: Option<Scope>,
    /// The mount, where it is to be judged.
    pub mount: Option<Mount>,
    /// What a rebuild needs, and whether we may, or why the API server did not say.
    pub access: Vec<(Access, Result<bool, String>)>,
    /// The permission to list pods, which pushes make use of, in each namespace or in all.
    pub pods: Vec<(Access, Result<bool, String>)>,
    /// What a scan has found, where there was one.
    pub scanned: Option<Scanned>,
}

/// The mount as it was read.
#[derive(Debug)]
pub struct Mount {
    /// Where.
    pub directory: String,
    /// The document there.
    pub read: Result<MountedFile, MountError>,
}
