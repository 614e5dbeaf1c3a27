//! What a document says of itself.

use jiff::Timestamp;

use crate::index::{Part, Scope};

/// The format that this version writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// What a document says of itself. All of it may be absent; without it a document proves nothing.
///
/// Where a part of the scope could not be seen, [`Self::parts`] takes the place of the two other fields: a reader that
/// does not know it must not take the document for one of the whole scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// A time, by the API server's clock, before which nothing can have escaped the scan.
    pub as_of: Option<Timestamp>,
    /// What the scan has seen.
    pub scope: Option<Scope>,
    /// Each part of the scope with a time of its own, where not all of them could be seen.
    pub parts: Vec<PartAsOf>,
}

/// A part of the scope, and the time of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartAsOf {
    /// The part.
    pub part: Part,
    /// As [`Head::as_of`], for this part; `None`: it was never seen.
    pub as_of: Option<Timestamp>,
}

impl Head {
    /// Of a document whose writer has seen all of `scope`.
    pub fn whole(as_of: Option<Timestamp>, scope: Scope) -> Self {
        Self { as_of, scope: Some(scope), parts: Vec::new() }
    }

    /// Of a document whose writer has seen the parts of `scope` at `as_of`, but not those of `unseen`: their entries are
    /// of an earlier time. A later time counts as `as_of`: the newest time of a document is that of what its writer has seen.
    pub fn partial(as_of: Option<Timestamp>, scope: &Scope, unseen: &[PartAsOf]) -> Self {
        let of_part = |part| {
            let earlier = unseen.iter().find(|unseen| unseen.part == part);
            PartAsOf { as_of: earlier.map_or(as_of, |earlier| earlier.as_of.min(as_of)), part }
        };
        Self { as_of: None, scope: None, parts: scope.parts().into_iter().map(of_part).collect() }
    }

    /// The time up to which its newest part is complete: of all parts, where none is missing.
    pub fn newest(&self) -> Option<Timestamp> {
        if self.parts.is_empty() { self.as_of } else { self.parts.iter().map(|part| part.as_of).max().flatten() }
    }

    /// Whether its writer has looked for this part, and up to which time the entries of the part are complete; `None`
    /// where its writer has not looked for it.
    pub fn part(&self, part: &Part) -> Option<Option<Timestamp>> {
        if self.parts.is_empty() {
            return self.scope.as_ref()?.covers_part(part).then_some(self.as_of);
        }
        self.parts.iter().filter(|known| known.part.covers(part)).map(|known| known.as_of).min()
    }

    /// The time up to which the entries of the newest part of `scope` are complete, and the parts of `scope` whose entries
    /// are older or were never seen.
    pub fn of_scope(&self, scope: &Scope) -> (Option<Timestamp>, Vec<PartAsOf>) {
        if self.parts.is_empty() {
            return (self.as_of, Vec::new());
        }
        let of_part = |part| PartAsOf { as_of: self.part(&part).flatten(), part };
        let of_scope = Self { parts: scope.parts().into_iter().map(of_part).collect(), ..Self::default() };
        (of_scope.newest(), of_scope.unseen().cloned().collect())
    }

    /// The parts whose entries are older than the others', because they could not be seen.
    pub fn unseen(&self) -> impl Iterator<Item = &PartAsOf> {
        let newest = self.newest();
        self.parts.iter().filter(move |part| part.as_of < newest || newest.is_none())
    }

    /// What its writer has looked for, whether or not it could be seen.
    pub fn covered_scope(&self) -> Option<Scope> {
        if self.parts.is_empty() {
            return self.scope.clone();
        }
        let namespaces: Option<_> =
            self.parts.iter().map(|part| Some(part.part.namespace.as_ref()?.to_string())).collect();
        Some(namespaces.map_or(Scope::AllNamespaces, Scope::Namespaces))
    }
}
