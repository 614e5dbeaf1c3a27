//! Where one LIST is cheaper than a GET of each workload. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::cluster::PAGE_ITEMS;
use crate::workload::{WorkloadKind, WorkloadRef};

/// What a GET costs the API server, and a page of a LIST before its items, where an item of a LIST costs 1
/// (docs/benchmarks.md has the measurement). So a LIST pays where at least some fifth of what it shows is needed.
const CALL_COST: usize = 5;

/// The workloads of a kind, in one namespace or in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Collection<'a> {
    pub(super) kind: WorkloadKind,
    pub(super) namespace: Option<&'a str>,
}

/// The collections to LIST for a look at `needed`. What is in none of them is looked at one by one. `sizes` is how many
/// workloads of each kind each namespace has, as far as is known. Only with `in_all_namespaces` may a LIST be of more
/// than one namespace.
pub(super) fn worth_listing<'a>(
    needed: &[&'a WorkloadRef],
    sizes: &HashMap<(&str, WorkloadKind), usize>,
    in_all_namespaces: bool,
) -> Vec<Collection<'a>> {
    let mut needed_of: BTreeMap<WorkloadKind, BTreeMap<&'a str, usize>> = BTreeMap::new();
    for workload in needed {
        *needed_of.entry(workload.kind).or_default().entry(&workload.namespace).or_default() += 1;
    }
    let mut worth = Vec::new();
    for (kind, namespaces) in needed_of {
        let needed_of_kind = namespaces.values().sum();
        let (mut apart, mut cost_apart) = (Vec::new(), 0);
        for (namespace, needed) in namespaces {
            let size = sizes.get(&(namespace, kind)).copied().unwrap_or_default();
            let (gets, list) = (needed * CALL_COST, list_cost(size.max(needed)));
            cost_apart += gets.min(list);
            if list < gets {
                apart.push(Collection { kind, namespace: Some(namespace) });
            }
        }
        let of_kind: usize = sizes.iter().filter(|((_, of), _)| *of == kind).map(|(_, size)| size).sum();
        if in_all_namespaces && list_cost(of_kind.max(needed_of_kind)) < cost_apart {
            worth.push(Collection { kind, namespace: None });
        } else {
            worth.extend(apart);
        }
    }
    worth
}

fn list_cost(size: usize) -> usize {
    size + CALL_COST * size.div_ceil(PAGE_ITEMS)
}

#[cfg(test)]
mod tests {
    use WorkloadKind::{DaemonSet, Deployment};

    use super::*;

    /// `(namespace, kind, needed, size)` to `kind/namespace` of each LIST, `*` for all namespaces.
    fn listed(rows: &[(&str, WorkloadKind, usize, usize)], in_all_namespaces: bool) -> Vec<String> {
        let workloads: Vec<WorkloadRef> = rows
            .iter()
            .flat_map(|(namespace, kind, needed, _)| {
                (0..*needed).map(|n| WorkloadRef::new(*namespace, *kind, format!("web-{n}")))
            })
            .collect();
        let sizes = rows.iter().map(|(namespace, kind, _, size)| ((*namespace, *kind), *size)).collect();
        let needed: Vec<_> = workloads.iter().collect();
        let shown = |one: Collection<'_>| format!("{}/{}", one.kind.plural(), one.namespace.unwrap_or("*"));
        worth_listing(&needed, &sizes, in_all_namespaces).into_iter().map(shown).collect()
    }

    #[test]
    fn a_list_pays_where_a_fifth_of_it_is_needed() {
        for (needed, size, pays) in
            [(150, 150, true), (150, 700, true), (150, 800, false), (150, 10_000, false), (2100, 10_000, true)]
        {
            let listed = listed(&[("shop", Deployment, needed, size)], false);
            assert_eq!(listed, if pays { vec!["deployments/shop"] } else { vec![] }, "{needed} of {size}");
        }
    }

    #[test]
    fn only_what_is_needed_is_listed() {
        let rows = [
            ("shop", Deployment, 1600, 1600),
            ("shop", DaemonSet, 1, 400),
            ("base", Deployment, 1, 30),
            ("other", Deployment, 0, 9000),
        ];
        assert_eq!(listed(&rows, true), ["deployments/shop"]);
    }

    #[test]
    fn one_list_of_all_namespaces_may_be_cheaper_than_one_of_each() {
        let names: Vec<String> = (0..100).map(|n| format!("team-{n:02}")).collect();
        let rows: Vec<_> = names.iter().map(|name| (name.as_str(), Deployment, 5, 6)).collect();
        assert_eq!(listed(&rows, true), ["deployments/*"]);
        // Permitted in these namespaces alone.
        assert_eq!(listed(&rows, false).len(), 100);
        let few_of_many: Vec<_> = names.iter().map(|name| (name.as_str(), Deployment, 2, 100)).collect();
        assert_eq!(listed(&few_of_many, true), Vec::<String>::new());
    }

    #[test]
    fn an_index_that_knows_less_than_is_needed_is_no_obstacle() {
        let workloads: Vec<_> = (0..150).map(|n| WorkloadRef::new("shop", Deployment, format!("web-{n}"))).collect();
        let needed: Vec<_> = workloads.iter().collect();
        let shop = Collection { kind: Deployment, namespace: Some("shop") };
        assert_eq!(worth_listing(&needed, &HashMap::new(), false), [shop]);
        let all = Collection { kind: Deployment, namespace: None };
        let spread: Vec<_> = (0..150).map(|n| WorkloadRef::new(format!("team-{n}"), Deployment, "web")).collect();
        assert_eq!(worth_listing(&spread.iter().collect::<Vec<_>>(), &HashMap::new(), true), [all]);
    }
}
