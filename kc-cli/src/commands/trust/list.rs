use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::Clock;
use kc::actors::stored_entries;
use kc::core::chain::{TEMPORARY_ROOT, TrustEntry, TrustList, TrustStore};
use kc::core::keys::VerifyingKey;
use kc::core::store::config::{Name, NodeConfig};
use kc::core::types::Timestamp;
use kc::keystore_file::{SearchPlaces, find_node, read_config};
use serde::Serialize;

use crate::args::NodeArg;
use crate::date::until;
use crate::error::CliError;
use crate::status::trust;
use crate::ui::Ui;

/// The node may be running.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    /// Print it as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// The JSON of `kc trust list`.
#[derive(Debug, Serialize)]
struct Lists {
    node: String,
    allowlist: Vec<Entry>,
    denylist: Vec<Entry>,
}

/// A key on a list.
#[derive(Debug, Serialize)]
struct Entry {
    /// The entry's name in the configuration.
    name: String,
    /// Its type: 1 or 4.
    #[serde(rename = "type")]
    key_type: u8,
    fingerprint: String,
    /// Its byte form in base64.
    key: String,
    /// What it is limited to; none means everything.
    usages: Option<Vec<String>>,
    topics: Option<Vec<String>>,
    path_length: Option<i64>,
    /// When the entry ends, in seconds since the epoch.
    expires: Option<f64>,
    /// Why it has no effect, if it has none.
    ignored: Option<&'static str>,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let files = find_node(&args.node.node, &SearchPlaces::from_environment())?;
    let config = read_config(&files.config())?;
    let trust = trust(&files, &config)?;
    let lists = Lists {
        node: config.node_id().to_owned(),
        allowlist: entries(&config, &trust, TrustList::Allow)?,
        denylist: entries(&config, &trust, TrustList::Deny)?,
    };
    if args.json {
        let json = serde_json::to_string(&lists).map_err(CliError::from_error)?;
        return ui.result(json);
    }
    ui.result(lines(&lists).join("\n"))
}

fn entries(
    config: &NodeConfig,
    trust: &TrustStore,
    list: TrustList,
) -> Result<Vec<Entry>, CliError> {
    let now = Clock::system().now();
    let stored = stored_entries(config, list)?.unwrap_or_default();
    let of_key = |name: &Name, entry: &TrustEntry, key: &VerifyingKey| {
        let limits = entry.constraints().clone();
        Entry {
            name: name.to_string(),
            key_type: key.key_type().version(),
            fingerprint: key.fingerprint(),
            key: BASE64.encode(key.to_bytes()),
            usages: limits.usages,
            topics: limits.topics,
            path_length: limits.path_length,
            expires: entry.max_age().timestamp().map(Timestamp::as_secs),
            ignored: match list {
                TrustList::Allow => ignored(trust, entry, key, now),
                // A denial has no limits.
                TrustList::Deny => None,
            },
        }
    };
    let of_entry = |(name, entry): &(Name, TrustEntry)| {
        let keys = entry.keys().iter();
        keys.map(|key| of_key(name, entry, key)).collect::<Vec<_>>()
    };
    Ok(stored.iter().flat_map(of_entry).collect())
}

/// Why a key of the allowlist is no root of trust in force.
fn ignored(
    trust: &TrustStore,
    entry: &TrustEntry,
    key: &VerifyingKey,
    now: Timestamp,
) -> Option<&'static str> {
    if *key == TEMPORARY_ROOT {
        return Some("temporary root: its private key is public");
    }
    if entry.key() != Some(key) {
        return Some("one of several keys: a root of trust is one");
    }
    if trust.is_half_of_a_denied_hybrid(key) {
        return Some("classical half of a hybrid key on the denylist");
    }
    if !trust.roots().any(|(root, _)| root == key) {
        return Some("classical half of a hybrid root that is trusted (allow_classical_root)");
    }
    if trust.lists(TrustList::Deny, key) {
        return Some("on the denylist");
    }
    entry.max_age().is_over(now).then_some("expired")
}

fn lines(lists: &Lists) -> Vec<String> {
    let mut lines = vec![format!("allowlist of {}: roots of trust", lists.node)];
    lines.extend(lists.allowlist.iter().flat_map(root_lines));
    if lists.allowlist.is_empty() {
        lines.push("  none: it trusts nobody".to_owned());
    }
    lines.push(format!("denylist of {}: keys it refuses", lists.node));
    lines.extend(lists.denylist.iter().flat_map(key_lines));
    if lists.denylist.is_empty() {
        lines.push("  none".to_owned());
    }
    lines
}

fn root_lines(entry: &Entry) -> Vec<String> {
    let any = |list: &Option<Vec<String>>| {
        list.as_ref()
            .map_or_else(|| "any".to_owned(), |list| list.join(", "))
    };
    let mut lines = key_lines(entry);
    let mut limits = format!(
        "    usages {}; topics {}; {}",
        any(&entry.usages),
        any(&entry.topics),
        until(entry.expires.and_then(Timestamp::from_secs))
    );
    if let Some(left) = entry.path_length {
        limits.push_str(&format!("; path length {left}"));
    }
    lines.push(limits);
    if let Some(reason) = entry.ignored {
        lines.push(format!("    IGNORED: {reason}"));
    }
    lines
}

fn key_lines(entry: &Entry) -> Vec<String> {
    let Entry {
        name,
        key_type,
        fingerprint,
        key,
        ..
    } = entry;
    vec![
        format!("  {fingerprint} (type {key_type}, {name})"),
        format!("    key {key}"),
    ]
}
