//! `kc node keys`.

mod report;

use kc::core::kem::Suite;
use kc::core::keys::KeyType;
use kc::{KeyChanges, change_keys};

use self::report::Report;
use crate::args::{NodeArg, PinArg, key_type};
use crate::error::CliError;
use crate::pin;
use crate::stored::StoredNode;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    /// Offer and accept these key exchanges, the best first: 5 is X25519 with ML-KEM-1024, 2 is X25519
    /// with Streamlined NTRU Prime, 1 is X25519 alone
    #[arg(
        long,
        value_name = "5,2,1",
        value_delimiter = ',',
        value_parser = suite,
        help_heading = "Changes"
    )]
    exchange: Vec<Suite>,

    /// Add a signing key of this type, unless there is one; the others stay
    #[arg(long, value_name = "1|4", value_parser = key_type, help_heading = "Changes")]
    add_key_type: Option<KeyType>,

    /// Whether requests go out in the form of old peers, too; not sent unless 1 is the only key exchange
    #[arg(long, value_name = "on|off", value_parser = on_or_off, help_heading = "Changes")]
    legacy_requests: Option<bool>,

    #[command(flatten)]
    pin: PinArg,

    /// Print it as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Makes the changes, if any, and shows the keys.
pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let changes = KeyChanges {
        suites: args.exchange.clone(),
        legacy_requests: args.legacy_requests,
        key_type: args.add_key_type,
    };
    let changed = !changes.suites.is_empty()
        || changes.legacy_requests.is_some()
        || changes.key_type.is_some();
    let drawn = changed
        && pin::with(args.pin.file(), |pin| {
            change_keys(&args.node.node, &changes, pin)
        })?;
    let node = StoredNode::read(&args.node.node)?;
    if let Some(key_type) = args.add_key_type {
        tell(&node, key_type, drawn, ui)?;
    }
    let report = Report::new(&node)?;
    if args.json {
        let json = serde_json::to_string(&report).map_err(CliError::from_error)?;
        return ui.result(json);
    }
    ui.result(report.lines().join("\n"))
}

/// Tells what is left to do for a key of this type.
fn tell(node: &StoredNode, key_type: KeyType, drawn: bool, ui: Ui) -> Result<(), CliError> {
    let version = key_type.version();
    if drawn {
        let id = node.config.node_id();
        ui.note(format!(
            "the new key of type {version} has no chain yet: `kc chain issue --node {id} --key-type \
             {version}` issues one, `kc chain install` takes one that was issued elsewhere"
        ));
    } else {
        ui.note(format!("there is a key of type {version} already"));
    }
    if node.keys()?.iter().all(|key| key.key_type() != key_type) {
        ui.note(format!(
            "`keytypes` in the node's .config leaves keys of type {version} out: correct it"
        ));
    }
    Ok(())
}

fn suite(text: &str) -> Result<Suite, String> {
    let suite = text.trim().parse().ok().and_then(Suite::from_version);
    suite.ok_or_else(|| "there are 5, 2 and 1".to_owned())
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("say on or off".to_owned()),
    }
}
