//! Dependencies between source files have no cycles.
//!
//! A file depends on the file that defines an item which it names. A re-export (`pub use`) alone is no dependency; it
//! leads to the file that defines the item. Code under `#[cfg(test)]` does not count. Calls of methods are not resolved,
//! only names are.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Item, UseTree, Visibility};

/// The segments of a path from the root of the crate.
type ModulePath = Vec<String>;

/// A source file.
#[derive(Default)]
struct Module {
    file: PathBuf,
    children: BTreeSet<String>,
    /// What a name means that was brought in by `use`, public or not.
    imports: BTreeMap<String, Vec<String>>,
    /// Paths as they are written, each with the line of its first mention.
    mentions: BTreeSet<Vec<String>>,
}

type Modules = BTreeMap<ModulePath, Module>;

#[test]
fn no_file_depends_on_itself_through_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut crates = vec![root.join("src")];
    if let Ok(members) = root.join("crates").read_dir() {
        crates.extend(members.map(|member| member.unwrap().path().join("src")));
    }
    let cycles: Vec<String> = crates.iter().flat_map(|source| cycles_of(source)).collect();
    assert!(cycles.is_empty(), "\n{}", cycles.join("\n"));
}

#[test]
fn a_cycle_is_found_through_a_re_export_and_within_a_macro() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("lib.rs", "mod a; mod b; pub use a::A; pub fn f() {}");
    write("a.rs", "pub struct A; fn g() { println!(\"{}\", crate::b::h()); }");
    write("b.rs", "use crate::A; pub fn h() -> A { A }");
    assert_eq!(cycles_of(directory.path()).len(), 1);
    write("b.rs", "mod c; use c::c; pub fn h() { c() }");
    std::fs::create_dir(directory.path().join("b")).unwrap();
    write("b/c.rs", "pub fn c() { super::h() }");
    assert_eq!(cycles_of(directory.path()).len(), 1);
    write("b.rs", "#[cfg(test)] mod tests { use crate::A; } pub fn h() {}");
    assert_eq!(cycles_of(directory.path()), Vec::<String>::new());
}

/// One sentence for each cycle of the crate with its root in this folder.
fn cycles_of(source: &Path) -> Vec<String> {
    let mut modules = Modules::new();
    read(&source.join("lib.rs"), source, Vec::new(), &mut modules);
    let edges: BTreeMap<&ModulePath, BTreeMap<&ModulePath, String>> =
        modules.keys().map(|module| (module, dependencies(module, &modules))).collect();
    let mut cycles = Vec::new();
    let mut closed = BTreeSet::new();
    for start in modules.keys() {
        let mut path = Vec::new();
        find(start, &edges, &mut path, &mut closed, &mut |cycle| {
            let next = cycle.iter().skip(1).chain(cycle.first());
            let steps = cycle.iter().zip(next).map(|(from, to)| {
                let file = modules[*from].file.strip_prefix(source).unwrap().display();
                format!("  {file} names {}", edges[*from][*to])
            });
            cycles.push(format!("a cycle in {}:\n{}", source.display(), steps.collect::<Vec<_>>().join("\n")));
        });
    }
    cycles
}

/// Depth first; each module is closed once, so that each reported cycle has an edge that no other has.
fn find<'a>(
    module: &'a ModulePath,
    edges: &BTreeMap<&'a ModulePath, BTreeMap<&'a ModulePath, String>>,
    path: &mut Vec<&'a ModulePath>,
    closed: &mut BTreeSet<&'a ModulePath>,
    found: &mut impl FnMut(&[&'a ModulePath]),
) {
    if closed.contains(module) {
        return;
    }
    if let Some(start) = path.iter().position(|open| *open == module) {
        found(&path[start..]);
        return;
    }
    path.push(module);
    for next in edges[module].keys() {
        find(next, edges, path, closed, found);
    }
    path.pop();
    closed.insert(module);
}

fn read(file: &Path, directory: &Path, module_path: ModulePath, modules: &mut Modules) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut module = Module { file: file.to_owned(), ..Module::default() };
    for item in &parsed.items {
        if let Item::Mod(child) = item
            && child.content.is_none()
            && !is_for_tests(&child.attrs)
        {
            let name = child.ident.to_string();
            let child_path = module_path.iter().cloned().chain([name.clone()]).collect();
            read(&directory.join(format!("{name}.rs")), &directory.join(&name), child_path, modules);
            module.children.insert(name);
        }
    }
    Mentions(&mut module).visit_file(&parsed);
    modules.insert(module_path, module);
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    let is_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    };
    attributes.iter().any(is_test)
}

struct Mentions<'a>(&'a mut Module);

impl<'ast> Visit<'ast> for Mentions<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => {}
            Item::Use(item) => {
                let is_re_export = !matches!(item.vis, Visibility::Inherited);
                self.import(&item.tree, &mut Vec::new(), is_re_export);
            }
            _ => syn::visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.mentions.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
    }
}

impl Mentions<'_> {
    fn import(&mut self, tree: &UseTree, before: &mut Vec<String>, is_re_export: bool) {
        let (name, path) = match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before, is_re_export);
                before.pop();
                return;
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, before, is_re_export));
                return;
            }
            UseTree::Name(name) if name.ident == "self" => (before.last().cloned(), before.clone()),
            UseTree::Name(name) => {
                (Some(name.ident.to_string()), [before.clone(), vec![name.ident.to_string()]].concat())
            }
            UseTree::Rename(name) => {
                (Some(name.rename.to_string()), [before.clone(), vec![name.ident.to_string()]].concat())
            }
            UseTree::Glob(_) => (None, before.clone()),
        };
        if !is_re_export {
            self.0.mentions.insert(path.clone());
        }
        if let Some(name) = name {
            self.0.imports.insert(name, path);
        }
    }

    /// The paths in a macro's arguments, of which only the tokens are known.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 || path.is_empty() => {
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    self.0.mentions.insert(std::mem::take(&mut path));
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            self.0.mentions.insert(std::mem::take(&mut path));
            colons = 0;
        }
        self.0.mentions.insert(path);
    }
}

/// The other files that define what this one names, each with the name.
fn dependencies<'a>(from: &ModulePath, modules: &'a Modules) -> BTreeMap<&'a ModulePath, String> {
    let mut dependencies = BTreeMap::new();
    for mention in modules[from].mentions.iter().filter(|mention| !mention.is_empty()) {
        if let Some(to) = definition(from, mention, modules, 0)
            && to != from
        {
            dependencies.entry(to).or_insert_with(|| mention.join("::"));
        }
    }
    dependencies
}

/// The file that defines what `path` names in the file `from`; `None` for what is not of this crate, and for a module,
/// which is no dependency until something of it is named.
fn definition<'a>(from: &ModulePath, path: &[String], modules: &'a Modules, depth: usize) -> Option<&'a ModulePath> {
    assert!(depth < 32, "{from:?} {path:?}");
    let module = modules.get(from)?;
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => walk(Vec::new(), rest, modules, depth),
        "self" => walk(from.clone(), rest, modules, depth),
        "super" => walk(from.split_last()?.1.to_vec(), rest, modules, depth),
        _ if module.imports.contains_key(first) => {
            let imported = &module.imports[first];
            match imported.first() == Some(first) {
                // `use build::build`: the path begins with the module, whatever else has its name.
                true if module.children.contains(first) => {
                    walk(from.clone(), &[imported, rest].concat(), modules, depth)
                }
                // `use clap::clap` and the like: the name of a crate.
                true => None,
                false => definition(from, &[imported, rest].concat(), modules, depth + 1),
            }
        }
        _ if module.children.contains(first) => walk(from.clone(), path, modules, depth),
        _ => None,
    }
}

/// Goes down from a module as far as the path names modules; what comes then is an item.
fn walk<'a>(mut at: ModulePath, path: &[String], modules: &'a Modules, depth: usize) -> Option<&'a ModulePath> {
    let mut path = path;
    while let Some((first, rest)) = path.split_first() {
        let module = modules.get(&at)?;
        if first == "super" {
            at.pop();
        } else if module.children.contains(first) {
            at.push(first.clone());
        } else if module.imports.contains_key(first) {
            return definition(&at, path, modules, depth + 1);
        } else {
            return modules.get_key_value(&at).map(|(key, _)| key);
        }
        path = rest;
    }
    None
}
