//! Which sinks are notified of a workload: all, or those that its annotation `pushroll.dev/notify` names. Pure.

use std::collections::BTreeSet;

use crate::excerpt::excerpt;

/// On a workload: the sinks that are notified of it, in place of all.
pub const NOTIFY_ANNOTATION: &str = "pushroll.dev/notify";

/// The most of an unknown name that is repeated.
const NAME_CHARACTERS: usize = 63;

/// The sinks to notify of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChosenSinks {
    /// The names of sinks.
    pub sinks: Vec<String>,
    /// What the annotation names besides, for a warning.
    pub unknown: Vec<String>,
}

/// Reads the text of the annotation. Without one, or if it names no sink that exists, all sinks are chosen, so that no
/// notification is lost by a wrong name.
pub fn chosen_sinks<'a>(annotation: Option<&str>, configured: impl IntoIterator<Item = &'a str>) -> ChosenSinks {
    let configured: BTreeSet<&str> = configured.into_iter().collect();
    let names = annotation.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let (known, unknown): (BTreeSet<&str>, BTreeSet<&str>) = names.partition(|name| configured.contains(name));
    let sinks = if known.is_empty() { configured } else { known };
    ChosenSinks {
        sinks: sinks.into_iter().map(str::to_owned).collect(),
        unknown: unknown.into_iter().map(|name| excerpt(name, NAME_CHARACTERS)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_chooses_and_never_loses() {
        let all = ["audit", "chat", "team-a"];
        for (annotation, sinks, unknown) in [
            (None, &all[..], &[][..]),
            (Some(""), &all, &[]),
            (Some(" , "), &all, &[]),
            (Some("chat"), &["chat"], &[]),
            (Some(" team-a ,chat,, chat"), &["chat", "team-a"], &[]),
            (Some("chat,gone"), &["chat"], &["gone"]),
            (Some("gone, Chat"), &all, &["Chat", "gone"]),
        ] {
            let chosen = chosen_sinks(annotation, all);
            assert_eq!(
                (chosen.sinks, chosen.unknown),
                (sinks.iter().map(|s| s.to_string()).collect(), unknown.iter().map(|s| s.to_string()).collect()),
                "{annotation:?}"
            );
        }
        assert_eq!(chosen_sinks(Some("chat"), []), ChosenSinks { sinks: vec![], unknown: vec!["chat".to_owned()] });
        assert_eq!(chosen_sinks(Some(&"x".repeat(1000)), all).unknown[0].chars().count(), NAME_CHARACTERS + 1);
    }
}
