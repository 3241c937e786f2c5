//! Checks the layers of `ARCHITECTURE.md` against `cargo metadata`, and the imports of actors from the protocol against
//! their sources.

mod imports;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use cargo_metadata::{DependencyKind, MetadataCommand, NodeDep, PackageId};

/// The crates of this project, and the crates of this project that each may use at run time.
const LAYERS: &[(&str, &[&str])] = &[
    ("kc-kernels", &[]),
    ("kc-core", &["kc-kernels"]),
    ("kc-broker", &[]),
    ("kc-keystore-file", &["kc-core"]),
    ("kc-keystore-hsm", &["kc-core"]),
    ("kc-backend-pure", &["kc-core"]),
    ("kc-backend-rdkafka", &["kc-core"]),
    ("kc-actors", &["kc-core"]),
    (
        "kc",
        &[
            "kc-core",
            "kc-keystore-file",
            "kc-keystore-hsm",
            "kc-backend-pure",
            "kc-backend-rdkafka",
            "kc-actors",
        ],
    ),
    ("kc-fields", &["kc"]),
    ("kc-testkit", &["kc-core", "kc-broker"]),
    ("kc-files", &["kc"]),
    ("kc-cli", &["kc", "kc-broker", "kc-fields", "kc-files"]),
    ("rdkafka-app", &["kc", "kc-broker"]),
    ("xtask", &["kc-testkit"]),
];

/// The crates that must not be among the dependencies of a crate.
const FREE_OF: &[(&str, &[&str])] = &[
    (
        "kc-core",
        &["tokio", "actix", "actix-rt", "krafka", "rdkafka"],
    ),
    ("kc", &["rdkafka-sys", "openssl-sys"]),
];

/// Fails with all dependencies that are not allowed.
pub(crate) fn check() -> anyhow::Result<()> {
    let graph = Graph::read()?;
    let mut wrong = Vec::new();
    for name in graph.ours() {
        let allowed = LAYERS.iter().find(|(crate_name, _)| *crate_name == name);
        let (_, allowed) = allowed.with_context(|| format!("{name} is in no layer"))?;
        let imports = graph.normal.get(name).into_iter().flatten();
        for import in imports.filter(|import| graph.is_ours(import)) {
            if !allowed.contains(&import.as_str()) {
                wrong.push(format!("{name} imports {import}"));
            }
        }
    }
    for (name, banned) in FREE_OF {
        let below = graph.below(name);
        let found = banned.iter().filter(|banned| below.contains(**banned));
        wrong.extend(found.map(|banned| format!("{name} depends on {banned}")));
    }
    wrong.extend(imports::wrong()?);
    if !wrong.is_empty() {
        bail!("the layering is broken:\n  {}", wrong.join("\n  "));
    }
    println!("layering: {} crates in their places", graph.ours().count());
    Ok(())
}

/// The dependencies with default features, without those of tests and build scripts.
struct Graph {
    ours: BTreeSet<String>,
    normal: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new()
            .other_options(vec!["--locked".into()])
            .exec()?;
        let names: BTreeMap<_, _> = metadata
            .packages
            .iter()
            .map(|package| (&package.id, package.name.to_string()))
            .collect();
        let name = |id: &PackageId| names.get(id).cloned().unwrap_or_default();
        let resolve = metadata
            .resolve
            .as_ref()
            .context("no dependencies resolved")?;
        let normal = resolve.nodes.iter().map(|node| {
            let is_normal = |import: &&NodeDep| {
                let mut kinds = import.dep_kinds.iter();
                kinds.any(|kind| kind.kind == DependencyKind::Normal)
            };
            let imports = node.deps.iter().filter(is_normal);
            (
                name(&node.id),
                imports.map(|import| name(&import.pkg)).collect(),
            )
        });
        Ok(Self {
            ours: metadata.workspace_members.iter().map(name).collect(),
            normal: normal.collect(),
        })
    }

    fn ours(&self) -> impl Iterator<Item = &str> {
        self.ours.iter().map(String::as_str)
    }

    fn is_ours(&self, name: &str) -> bool {
        self.ours.contains(name)
    }

    fn below<'a>(&'a self, name: &'a str) -> BTreeSet<&'a str> {
        let mut below = BTreeSet::new();
        let mut ahead = vec![name];
        while let Some(name) = ahead.pop() {
            let imports = self.normal.get(name).into_iter().flatten();
            ahead.extend(
                imports
                    .map(String::as_str)
                    .filter(|import| below.insert(*import)),
            );
        }
        below
    }
}
