//! Findings on the mount: whether it exists, is made as the kubelet makes it, and shows the document of the ConfigMap.

use jiff::{SignedDuration, Timestamp};

use super::code::Code;
use super::document;
use super::facts::{Facts, Mount};
use super::finding::{Finding, Severity};
use crate::cache::configmap::HEAD_REFRESH;
use crate::cache::mount::{MountError, MountedFile, Version};
use crate::cache::mount_lag::KUBELET_DELAY_MAX;
use crate::index::document::Document;
use crate::index::document::stored::Stored;

/// A ConfigMap's document is written anew about this often where it is kept fresh, and the kubelet shows each within
/// [`KUBELET_DELAY_MAX`]: a mount that is further behind has missed one.
const BEHIND_MAX: SignedDuration =
    SignedDuration::from_secs((HEAD_REFRESH.as_secs() + KUBELET_DELAY_MAX.as_secs()) as i64);

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let Some(Mount { directory, read }) = &facts.mount else { return Vec::new() };
    let file = match read {
        Ok(file) => file,
        Err(error) => return vec![unreadable(error)],
    };
    let mounted = Stored::found_under(&file.key, file.bytes.clone());
    let document = match mounted.clone().decode() {
        Ok(document) => document,
        Err(error) => {
            let reason = format!("the document mounted at {directory} is unusable: {error}");
            let remedy = "`pushroll rebuild` writes the ConfigMap anew, and the kubelet shows it within 80 s";
            return vec![Finding::error(Code::MountInvalid, reason).remedy(remedy)];
        }
    };
    let compared = match &facts.stored {
        Some(stored) if *stored != mounted => behind(facts, directory, file, &document),
        _ if is_plain(file) => subpath(directory, "it shows what the ConfigMap held when the pod began"),
        None => Finding::warning(
            Code::MountBehind,
            format!("{directory} shows a document that the ConfigMap {} does not hold", facts.config_map),
        ),
        Some(_) => Finding::ok(Code::Mounted, format!("{directory} shows the same document as the ConfigMap")),
    };
    // Where it is the same document, there is a finding on its age already.
    let stale = (facts.stored.as_ref() != Some(&mounted)).then(|| stale(facts, directory, &document)).flatten();
    std::iter::once(compared).chain(stale).collect()
}

/// `lookup` reads the mount, so a fresh ConfigMap does not make up for an old mount.
fn stale(facts: &Facts, directory: &str, document: &Document) -> Option<Finding> {
    let age = document::age(facts, document);
    let reason = format!("{directory} shows a document that is not as --max-age has it: {}", age.reason);
    let remedy = "wait 80 s for the kubelet to show what the ConfigMap holds; where it does not, restart the pod";
    (age.severity == Severity::Error).then(|| Finding::error(Code::MountStale, reason).remedy(remedy))
}

fn unreadable(error: &MountError) -> Finding {
    let (code, remedy) = match error {
        MountError::NoDirectory(_) => {
            (Code::NotMounted, "mount the whole ConfigMap there as a directory, `optional: true`")
        }
        MountError::NoKey { .. } => (
            Code::MountEmpty,
            "`pushroll rebuild` fills the ConfigMap, and the kubelet shows it within 80 s; where it does not, restart \
             the pod",
        ),
        MountError::Io { .. } => (Code::MountInvalid, "mount it so that this process may read it"),
    };
    Finding::error(code, error.to_string()).remedy(remedy)
}

fn is_plain(file: &MountedFile) -> bool {
    matches!(file.version, Version::Plain(..))
}

fn subpath(directory: &str, what: &str) -> Finding {
    let reason =
        format!("{directory} has no ..data: a subPath mount or a plain file, which the kubelet never updates; {what}");
    Finding::warning(Code::SubpathMount, reason)
        .remedy("mount the whole ConfigMap as a directory, without subPath, and restart the pod")
}

/// The two differ. The ConfigMap's `managedFields` say since when.
fn behind(facts: &Facts, directory: &str, file: &MountedFile, document: &Document) -> Finding {
    if is_plain(file) {
        return subpath(directory, "it shows another document than the ConfigMap");
    }
    let stored_as_of = facts.read.document.as_ref().ok().and_then(|document| document.head.newest());
    let older = stored_as_of.zip(document.head.newest()).map(|(stored, mounted)| stored.duration_since(mounted));
    let older = older.filter(SignedDuration::is_positive);
    let by = match older {
        Some(older) => format!("{} s older than the ConfigMap's", older.as_secs()),
        None => "another than the ConfigMap's".to_owned(),
    };
    let changed_at = facts.read.object.as_ref().and_then(crate::cluster::ConfigMapObject::changed_at);
    let Some(ago) = changed_at.map(|changed_at: Timestamp| facts.now.duration_since(changed_at)) else {
        return Finding::warning(Code::MountBehind, format!("{directory} shows a document that is {by}"));
    };
    let seconds = ago.as_secs().max(0);
    let reason = format!("{directory} shows a document that is {by}, which was last changed {seconds} s ago");
    if ago <= SignedDuration::try_from(KUBELET_DELAY_MAX).unwrap_or(SignedDuration::MAX) {
        // Where the ConfigMap changes all the time, its last change does not say how long the mount has been behind.
        return match older {
            Some(older) if older > BEHIND_MAX => Finding::warning(Code::MountBehind, reason)
                .remedy("look again in 80 s: where it is as far behind then, restart the pod"),
            Some(_) | None => Finding::ok(Code::MountBehind, reason).remedy("wait: the kubelet takes up to 80 s"),
        };
    }
    Finding::warning(Code::MountStuck, reason).remedy(
        "the mount is no longer updated, or is of another ConfigMap: restart the pod, and look at its volumes (a \
         ConfigMap that was immutable, or was deleted and made anew, is not followed)",
    )
}
