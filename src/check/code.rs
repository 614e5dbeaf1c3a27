//! What a finding is about.

use std::fmt;

use serde::Serialize;

/// What a finding is about: a closed set, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// There is a document, and it can be read.
    Valid,
    /// There is no ConfigMap.
    Missing,
    /// The ConfigMap has no such key.
    NoKey,
    /// The document cannot be read.
    Invalid,
    /// A newer pushroll has written it.
    TooNew,
    /// Some of its entries are of no use.
    LeftOut,
    /// It is there in two forms, and one of them does not count.
    PassedOver,
    /// The ConfigMap can never change.
    Immutable,
    /// It says when it was true, and that is not too long ago.
    Fresh,
    /// It is older than it may be.
    Stale,
    /// It does not say when it was true.
    UnknownAge,
    /// It says that it will be true.
    FromTheFuture,
    /// It covers fewer namespaces than it should.
    Narrower,
    /// A part of its scope could not be seen when it was written, or cannot be compared.
    PartUnseen,
    /// It takes less than half of what a ConfigMap holds.
    Fits,
    /// It takes half of it or more.
    HalfFull,
    /// It takes 80 % of it or more.
    NearlyFull,
    /// What a rebuild would write does not fit.
    TooLarge,
    /// `kubectl apply` of it fails, or soon will.
    LastAppliedLimit,
    /// The mount shows the same document.
    Mounted,
    /// Nothing is mounted.
    NotMounted,
    /// The mount has no document.
    MountEmpty,
    /// The document in the mount cannot be read.
    MountInvalid,
    /// The kubelet never updates the mount.
    SubpathMount,
    /// The mount shows another document, and may still follow.
    MountBehind,
    /// The mount shows another document, and that is older than a document may be.
    MountStale,
    /// The mount shows another document, and should have followed by now.
    MountStuck,
    /// We may do what a rebuild needs.
    Writable,
    /// We may not read or write the ConfigMap.
    NotWritable,
    /// We may not list what a scan lists.
    NotScannable,
    /// We may not list pods.
    PodsNotListable,
    /// The API server does not say what we may.
    AccessUnknown,
    /// It lists what runs in the cluster.
    Same,
    /// It does not.
    Differs,
}

/// As in JSON.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
