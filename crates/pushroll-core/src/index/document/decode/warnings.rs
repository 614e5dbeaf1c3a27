//! What was left out of a document, and what follows from it.

/// How many warnings of one document are kept.
pub const WARNINGS_MAX: usize = 10;

/// How the warning of something that was left out begins.
pub const LEFT_OUT: &str = "left out: ";

/// The warnings of one document.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    texts: Vec<String>,
    is_an_entry_left_out: bool,
    may_lack_a_workload: bool,
}

impl Warnings {
    /// Something is left out that takes nothing from what the rest says.
    pub(super) fn left_out(&mut self, text: impl FnOnce() -> String) {
        if self.texts.len() < WARNINGS_MAX {
            self.texts.push(format!("{LEFT_OUT}{}", text()));
        }
    }

    /// An entry is left out. One of a kind that pushroll does not restart is not missed.
    pub(super) fn entry_left_out(&mut self, is_of_another_kind: bool, text: impl FnOnce() -> String) {
        self.is_an_entry_left_out = true;
        self.may_lack_a_workload |= !is_of_another_kind;
        self.left_out(text);
    }

    /// What it means is not known.
    pub(super) fn not_understood(&mut self, text: impl FnOnce() -> String) {
        self.may_lack_a_workload = true;
        self.left_out(text);
    }

    pub(super) fn is_an_entry_left_out(&self) -> bool {
        self.is_an_entry_left_out
    }

    /// Whether a workload may be missing that was in what the writer has seen.
    pub(super) fn may_lack_a_workload(&self) -> bool {
        self.may_lack_a_workload
    }

    pub(super) fn into_texts(self) -> Vec<String> {
        self.texts
    }
}
