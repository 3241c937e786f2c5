use std::fs;

use anyhow::Context;
use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, ItemUse, UseTree};

use crate::shell::sources_below;

const SOURCES: &str = "kc-actors/src";

/// The items that actors may import from modules of `kc-core` whose decisions a state machine makes: the machine, its
/// inputs and outputs, and plain types. An actor that imports a step of the machine would make decisions outside of the
/// machine.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "chain",
        &[
            "Trust",
            "TrustInput",
            "TrustEffect",
            "TrustEvent",
            "TrustStore",
            "TrustList",
            "TrustEntry",
            "ChainError",
            "Demand",
            "Identity",
            "ToBeSigned",
            "Usage",
            "ValidIdentity",
            "ValidatedChain",
        ],
    ),
    (
        "exchange",
        &[
            "Exchange",
            "ExchangeConfig",
            "ExchangeEvent",
            "Input",
            "Output",
            "Effect",
            "Job",
            "Failure",
            "KeyTableChange",
            "Missing",
            "MissingKeys",
            "Party",
            "Position",
            "ReceivedKeys",
            "RefusalId",
            "RequestForm",
            "RequestSeed",
            "Sender",
            "Validity",
        ],
    ),
    (
        "ratchet",
        &[
            "Ratchet",
            "RatchetConfig",
            "RatchetInput",
            "RatchetEffect",
            "Candidates",
            "Component",
            "Exhausted",
            "Giver",
            "KeyIdForm",
            "MAX_RETAINED_KEYS",
            "OpeningKey",
            "RetainedKey",
            "RetainedKeys",
            "SealingKey",
            "Step",
            "DataKey",
        ],
    ),
];

/// Returns all imports that are not allowed, except those of tests.
pub(super) fn wrong() -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for path in sources_below(SOURCES.as_ref())? {
        let source = fs::read_to_string(&path)?;
        let file =
            syn::parse_file(&source).with_context(|| format!("{} is no Rust", path.display()))?;
        let mut imports = Imports::default();
        imports.visit_file(&file);
        let wrong_here = imports.0.into_iter().filter(|import| !is_allowed(import));
        wrong.extend(wrong_here.map(|import| {
            let (path, import) = (path.display(), import.join("::"));
            format!("{path} imports kc_core::{import}")
        }));
    }
    Ok(wrong)
}

fn is_allowed(import: &[String]) -> bool {
    let [module, item @ ..] = import else {
        return true;
    };
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == module) else {
        return true;
    };
    item.first()
        .is_some_and(|item| allowed.contains(&item.as_str()))
}

/// The paths below `kc_core`, in `use` and in other places.
#[derive(Default)]
struct Imports(Vec<Vec<String>>);

impl Imports {
    fn gather(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.gather(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.add(&with(&name.ident)),
            UseTree::Rename(rename) => self.add(&with(&rename.ident)),
            UseTree::Glob(_) => self.add(before),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.gather(tree, before);
                }
            }
        }
    }

    fn add(&mut self, path: &[String]) {
        if let Some(("kc_core", below)) = path
            .split_first()
            .map(|(first, below)| (first.as_str(), below))
        {
            self.0.push(below.to_vec());
        }
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !module.attrs.iter().any(is_of_tests) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.gather(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter();
        let names: Vec<String> = segments.map(|segment| segment.ident.to_string()).collect();
        self.add(&names);
        visit::visit_path(self, path);
    }
}

fn is_of_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|condition| condition.is_ident("test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> Vec<Vec<String>> {
        let mut imports = Imports::default();
        imports.visit_file(&syn::parse_file(source).unwrap());
        let refused = imports.0.into_iter();
        refused.filter(|import| !is_allowed(import)).collect()
    }

    #[test]
    fn a_step_of_a_machine_is_found_however_it_is_imported() {
        for source in [
            "use kc_core::exchange::answer;",
            "use kc_core::{chain::{Trust, *}, types::Now};",
            "use kc_core::ratchet;",
            "use kc_core::exchange::Served as Exchange;",
            "fn f() { let x = kc_core::ratchet::PendingStep::new(); }",
            "mod inner { use kc_core::chain::validate; }",
        ] {
            assert_eq!(refused(source).len(), 1, "{source}");
        }
        for source in [
            "use kc_core::{exchange::{Exchange, Input}, store::RatchetStore};",
            "#[cfg(test)] mod tests { use kc_core::chain::encode_chain; }",
            "fn f(job: kc_core::exchange::Job) {}",
        ] {
            assert_eq!(refused(source), Vec::<Vec<String>>::new(), "{source}");
        }
    }
}
