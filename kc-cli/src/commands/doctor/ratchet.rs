//! The ratchet, and the keys of a node on a token.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kc::actors::SealedArchive;
use kc::core::ratchet::Seed;
use kc::core::store::config::{NodeConfig, Section};
use kc::core::types::Timestamp;
use kc::keystore_file::{
    MAX_SECRET_BYTES, NodeFiles, SearchPlaces, list_nodes, ratchet_path, read_config, sealed_index,
};
use zeroize::Zeroizing;

use super::chain::Granted;
use super::files::shown;
use super::finding::{Check, Findings};
use crate::args::read_limited;
use crate::error::{CliError, io_failed};
use crate::status::Report;
use crate::stored::StoredNode;

const RATCHET: &str = "ratchet";
const RENEW: &str = "`kc provision --force` makes a new node of this id, whose ratchet begins beyond the steps that were used; \
                     never put a ratchet back from a backup";
/// The prefix of an entry that names keys on a token.
const TOKEN: &str = "pkcs11:";
/// The section and the entry that exist while a move of the node onto a token is not finished.
const MOVING: (Section<'static>, &str) = (Section::named("hsm"), "moving");

/// The place of a node's ratchet.
enum Place {
    None,
    Memory,
    Token,
    File(PathBuf),
}

impl Place {
    fn of(config: &NodeConfig, files: &NodeFiles) -> Result<Self, CliError> {
        let entry = config.load_text(Section::NODE, RATCHET);
        let entry = entry.map_err(CliError::from_error)?;
        Ok(match entry.as_deref().map(|entry| entry.trim()) {
            Some("memory") => Self::Memory,
            Some(entry) if entry.starts_with(TOKEN) => Self::Token,
            _ => ratchet_path(config, files)?.map_or(Self::None, Self::File),
        })
    }
}

pub(super) fn check(
    node: &StoredNode,
    granted: Option<&Granted>,
    findings: &mut Findings,
) -> Result<(), CliError> {
    // Without a valid chain, the node may be one that seals records.
    let produces = granted.is_none_or(|granted| granted.produces);
    let (index, target) = match Place::of(&node.config, &node.files)? {
        Place::None if produces => {
            let advice = "provision the node again with --force; a node that only consumes needs a role that says so";
            return without_seed(
                "the configuration names no ratchet, so the node cannot seal records",
                advice,
                findings,
            );
        }
        Place::None => {
            findings.ok(Check::RatchetState, RATCHET, "none, as the role needs none")?;
            return findings.ok(Check::RatchetCopy, RATCHET, "there is no ratchet to copy");
        }
        Place::Memory => {
            let detail = "in memory: each start makes a new one, whose data keys are lost when the process ends";
            findings.ok(Check::RatchetState, RATCHET, detail)?;
            return findings.ok(
                Check::RatchetCopy,
                RATCHET,
                "a ratchet in memory has no copy",
            );
        }
        Place::Token => match sealed_index(&node.files) {
            Some(index) => {
                let name = shown(&node.files.sealed_ratchet());
                findings.ok(
                    Check::RatchetState,
                    &name,
                    format!("sealed by the token, next step {index}"),
                )?;
                (index, name)
            }
            None => {
                let advice =
                    "`kc hsm renew-ratchet` starts a new ratchet beyond all steps of the lost one";
                return without_seed(
                    "the file of the sealed ratchet is missing or damaged",
                    advice,
                    findings,
                );
            }
        },
        Place::File(path) => match seed(&path) {
            Ok(seed) => {
                let name = shown(&path);
                state(&path, &name, seed.index(), findings)?;
                (seed.index(), name)
            }
            Err(_) if !produces && !path.exists() => {
                findings.ok(
                    Check::RatchetState,
                    shown(&path),
                    "missing, and the role needs none",
                )?;
                return findings.ok(
                    Check::RatchetCopy,
                    shown(&path),
                    "there is no ratchet to copy",
                );
            }
            Err(error) => {
                return without_seed(&error.to_string(), RENEW, findings);
            }
        },
    };
    copies(node, index, &target, findings)
}

fn without_seed(detail: &str, advice: &str, findings: &mut Findings) -> Result<(), CliError> {
    findings.fail(Check::RatchetState, RATCHET, detail, advice)?;
    findings.skip_all(&[Check::RatchetCopy], RATCHET, Check::RatchetState)
}

fn seed(path: &Path) -> Result<Seed, CliError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| io_failed("read", &name, &error))?;
    let bytes = Zeroizing::new(read_limited(file, &name, MAX_SECRET_BYTES)?);
    Seed::decode(&bytes).map_err(|error| CliError::failure(format!("{name} is damaged: {error}")))
}

/// Reports the step and the age of a ratchet in a file.
fn state(path: &Path, name: &str, index: u64, findings: &mut Findings) -> Result<(), CliError> {
    let written = fs::metadata(path).and_then(|found| found.modified()).ok();
    let Some(written) = written else {
        return findings.ok(Check::RatchetState, name, format!("next step {index}"));
    };
    let since = written
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let at = Timestamp::from_unix(since);
    let detail = format!("next step {index}, written {at}");
    if written > SystemTime::now() {
        return findings.warn(
            Check::RatchetState,
            name,
            format!("{detail}, which is in the future"),
            "compare the clock of this host with a reliable one: nodes refuse what is signed at a wrong time",
        );
    }
    findings.ok(Check::RatchetState, name, detail)
}

/// Looks for signs that the ratchet was copied or put back.
fn copies(
    node: &StoredNode,
    index: u64,
    target: &str,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let check = Check::RatchetCopy;
    let used = SealedArchive::used(&node.config).map_err(CliError::from_error)?;
    if let Some(used) = used.filter(|used| *used >= index) {
        return findings.fail(
            check,
            target,
            format!(
                "the next step is {index}, but the node has used step {used} already: an old copy was put back. The node \
                 skips the used steps, but forward secrecy is lost: a thief of another old copy can compute its data keys"
            ),
            RENEW,
        );
    }
    if let Place::File(path) = Place::of(&node.config, &node.files)?
        && let Some(other) = other_with(&path, node)
    {
        return findings.fail(
            check,
            target,
            format!("node {other} has the same ratchet, so each of the two can compute the data keys of the other"),
            RENEW,
        );
    }
    let used = used.map_or("no step is recorded as used".to_owned(), |used| {
        format!("step {used} is the last used one")
    });
    findings.ok(
        check,
        target,
        format!("{used}; no other node on this host has this ratchet"),
    )
}

/// Returns another node in the current folder or in `KC_HOME` that has the ratchet in the file `path`, or a copy of it.
fn other_with(path: &Path, node: &StoredNode) -> Option<String> {
    let read = |path: &Path| {
        Some(Zeroizing::new(
            read_limited(File::open(path).ok()?, "", MAX_SECRET_BYTES).ok()?,
        ))
    };
    let own = read(path)?;
    let others = list_nodes(&SearchPlaces::from_environment()).into_iter();
    let mut others = others.filter(|other| *other != node.files);
    others.find_map(|other| {
        let config = read_config(&other).ok()?;
        let theirs = read(&ratchet_path(&config, &other).ok()??)?;
        (*theirs == *own).then(|| config.node_id().to_owned())
    })
}

/// Checks the keys of a node on a token.
pub(super) fn token(
    node: &StoredNode,
    report: Option<&Report>,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let check = Check::TokenKeys;
    let entry = |section, name| {
        node.config
            .load_text(section, name)
            .map_err(CliError::from_error)
    };
    if let Some(token) = entry(MOVING.0, MOVING.1)? {
        return findings.fail(
            check,
            &*token,
            "the move of the node onto this token is not finished",
            "run the same `kc hsm import` again, or cancel the move with `kc hsm undo-import`",
        );
    }
    let key = entry(Section::NODE, "cryptokey")?;
    let key = key
        .as_deref()
        .map(|key| key.trim())
        .filter(|key| key.starts_with(TOKEN));
    let Some(key) = key else {
        return findings.ok(check, "keys", "in files: the node is on no token");
    };
    match report.and_then(|report| report.running.as_ref()) {
        Some(running) => match running.failing_stores.iter().next() {
            Some((store, fault)) => findings.fail(
                check,
                key,
                format!("{store} failed when last used: {}", fault.reason),
                fault
                    .advice
                    .as_deref()
                    .unwrap_or("check the token and its PIN: `kc hsm doctor`"),
            ),
            None => findings.ok(
                check,
                key,
                "the running node uses the token without a fault",
            ),
        },
        None => findings.skip(
            check,
            key,
            "the token is not asked, because a wrong PIN could lock it",
            "`kc hsm doctor` looks at the token without a PIN",
        ),
    }
}
