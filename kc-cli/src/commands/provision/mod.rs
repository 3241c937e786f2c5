//! `kc provision`.

mod report;
mod way;

use std::env;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use kc::Clock;
use kc::core::backend::{ClientRole, canonical_name, client_role};
use kc::core::chain::Usage;
use kc::core::keys::{KeyType, VerifyingKey};
use kc::core::provision::{NewNode, Role};
use kc::core::store::config::{NodeConfig, Section, Value};
use kc::keystore_file::{FileError, NodeFiles};
use kc::maintenance::remember_unused;

use self::report::Made;
use self::way::{Home, Way};
#[cfg(feature = "hsm")]
use crate::args::{AdoptArg, KeystoreArgs};
use crate::args::{
    ConnectionArgs, Given, GrantArgs, ProvisionerArgs, RootPasswordArg, SchemeArgs, duration,
    key_type,
};
use crate::error::CliError;
use crate::neighbours::Neighbours;
use crate::ui::Ui;

/// The section of the settings of consumers.
const CONSUMER: Section<'static> = Section::named("kafka-consumer");
/// The section of those of kc's consumers of messages, which the peers do not know.
const MESSAGES: Section<'static> = Section::named("kafka-data-consumer");
const START: &str = "auto_offset_reset";

/// Make a node: its keys, and the certificate of what it may do
///
/// Two passwords make all nodes of an organisation. The root password gives the root of trust: nodes exchange keys
/// only if they share it. The provisioning password gives the provisioners, keys that the root certifies and that
/// certify in turn what each node may do; so nodes can be made where the root password is not, and all that a
/// provisioner certified can be denied at once. A password that does not fit the other nodes in the folder is an
/// error.
///
/// Where the root password is elsewhere, --root-public and --signed-provisioner take its place; where
/// neither is at hand, --root-public and --by-hand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// producer, consumer, prodcon (both), or the ones that ask through a controller:
    /// prodcon-limited, consumer-limited, controller; chain-server renews the chains of others, and
    /// administrator signs updates of their lists
    #[arg(value_parser = Role::from_str)]
    role: Role,

    /// The node's id; its files are named after it
    #[arg(long, value_name = "ID", value_parser = node_id, help_heading = "Node")]
    node: String,

    /// The folder for its files [default: $KC_HOME; .]
    #[arg(long, default_value_os_t = home(), hide_default_value = true, help_heading = "Node")]
    dir: PathBuf,

    /// Replace a node that exists; on a token, draw its keys beside those of the same id
    #[arg(long, help_heading = "Node")]
    force: bool,

    /// Make a node of another root of trust than the other nodes in the folder have
    #[arg(long, help_heading = "Node")]
    new_root: bool,

    /// Certify it by another provisioning password than the other nodes in the folder
    #[arg(long, help_heading = "Node")]
    new_provisioner: bool,

    /// Seal the first secret of its ratchet to this public key, and print it once: the secret key
    /// then opens all that the node sends [default: none]
    #[arg(long, value_name = "FILE|BASE64", help_heading = "Node")]
    escrow_key: Option<Given>,

    #[cfg(feature = "hsm")]
    #[command(flatten)]
    keystore: KeystoreArgs,

    #[cfg(feature = "hsm")]
    #[command(flatten)]
    adopt: AdoptArg,

    #[command(flatten)]
    grant: GrantArgs,

    /// How long its certificate is valid; 7d for a node whose chain a chain server renews [default: ten
    /// years, one for a chain server; with the root elsewhere a week, one year for a controller or chain
    /// server]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Certificate")]
    lifetime: Option<Duration>,

    /// Its signing keys: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers [default: that of the
    /// root; 1]
    #[arg(long, value_name = "1|4", value_parser = key_type, help_heading = "Certificate")]
    key_type: Option<KeyType>,

    #[command(flatten)]
    root_password: RootPasswordArg,

    #[command(flatten)]
    provisioner: ProvisionerArgs,

    /// The public key of the root of trust, if its password is elsewhere: `kc chain root` prints it
    #[arg(
        long,
        value_name = "FILE|BASE64",
        conflicts_with = "root_password_file",
        help_heading = "Root elsewhere"
    )]
    root_public: Option<Given>,

    /// What the root signed for the provisioner of this role; `kc chain provisioners` makes the request
    #[arg(
        long,
        value_name = "FILE|BASE64",
        requires = "root_public",
        help_heading = "Root elsewhere"
    )]
    signed_provisioner: Option<Given>,

    /// With no password at all: print a request for the root to sign (`kc chain sign`); the node works
    /// when `kc chain install` has brought the answer
    #[arg(
        long,
        requires = "root_public",
        conflicts_with_all = ["signed_provisioner", "password_file"],
        help_heading = "Root elsewhere"
    )]
    by_hand: bool,

    #[command(flatten)]
    scheme: SchemeArgs,

    #[command(flatten)]
    connection: ConnectionArgs,

    /// Print the result as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Derives the keys and writes the node's files.
pub(crate) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    // No password is asked for in vain.
    if !args.dir.is_dir() {
        let folder = args.dir.display();
        return Err(CliError::failure(format!("there is no folder {folder}"))
            .advise("create it, or choose another by --dir"));
    }
    let files = NodeFiles::in_folder(&args.dir, &args.node)?;
    if !args.force && files.config().exists() {
        let path = files.config();
        return Err(FileError::Exists { path }.into());
    }
    let scheme = args.scheme.scheme()?;
    args.grant.note_on_topics(&scheme, ui);
    let escrow = args.escrow_key.as_ref();
    let escrow = escrow.map(Given::encapsulation_key).transpose()?;
    let way = Way::of(args)?;
    if matches!(way, Way::ByHand { .. }) && escrow.is_some() && !args.json {
        return Err(
            CliError::usage("a request and a sealed secret on one stdout")
                .advise("--json keeps them apart"),
        );
    }
    let lifetime = way.default_lifetime(args.role);
    let key_type = args.key_type.unwrap_or(way.key_type());
    let home = Home::of(args, key_type)?;
    let made = home.first_index(&files).and_then(|first_index| {
        let node = NewNode {
            id: &args.node,
            role: args.role,
            topics: &args.grant.topics,
            scheme: &scheme,
            path_length: Some(args.grant.path_length(args.role)),
            lifetime: args.lifetime.or(Some(lifetime)),
            key: home.key(),
            first_index,
            escrow: escrow.as_ref(),
            ssl_cafile: "",
        };
        make(args, &home, &files, (way, &node), ui)
    });
    let (made, files) = match made {
        Ok(made) => made,
        Err(error) => {
            home.give_up();
            return Err(error);
        }
    };
    made.report(args, &files, ui)?;
    if let Some(token) = home.token() {
        ui.note(format!("its keys are on {token}, and in no file"));
    }
    Ok(())
}

/// Makes the node whose keys are at `home`, and writes its files.
fn make(
    args: &Args,
    home: &Home<'_>,
    files: &NodeFiles,
    (way, node): (Way, &NewNode<'_>),
    ui: Ui,
) -> Result<(Made, NodeFiles), CliError> {
    let mut made = way.make(node, Clock::system().now())?;
    check_neighbours(args, files, &way, made.root())?;
    let (config, seed) = made.config_and_seed();
    if seed.is_none() {
        remember_unused(config, node.first_index)?;
    }
    connect(config, &args.connection, ui)?;
    start_with_peers(config, args.role)?;
    let files = home.create(&mut made)?;
    Ok((made, files))
}

/// Makes sure that the passwords are those of the other nodes in the folder, or another one is meant.
fn check_neighbours(
    args: &Args,
    files: &NodeFiles,
    way: &Way,
    root: &VerifyingKey,
) -> Result<(), CliError> {
    let neighbours = Neighbours::read(&args.dir, files);
    if !args.new_root {
        neighbours.check_root(root)?;
    }
    match way.provisioning_password() {
        Some(password) if !args.new_provisioner => neighbours.check_provisioner(password, root),
        _ => Ok(()),
    }
}

/// Where the files of new nodes are, unless --dir says.
fn home() -> PathBuf {
    let home = env::var_os("KC_HOME").filter(|home| !home.is_empty());
    home.map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// A node id is part of file names, of names of sections and of the node's consumer group.
fn node_id(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("a node id has ASCII letters, digits, dots, underscores and hyphens, and begins with a letter or digit".to_owned())
}

/// Writes to the configuration how the node reaches Kafka, if it was said: a setting that only consumers or producers
/// have to their section, because others of the Python peer do not start with it.
fn connect(config: &mut NodeConfig, args: &ConnectionArgs, ui: Ui) -> Result<(), CliError> {
    if let Some(choice) = args.backend {
        config.set(Section::NODE, "backend", &Value::from(choice.name()))?;
    }
    let flags = args.flags(ui).into_iter();
    for (name, text) in flags.filter(|(_, text)| !text.is_empty()) {
        // By kafka-python's names, which both peers have.
        let section = match client_role(&name)? {
            ClientRole::Consumer => CONSUMER,
            ClientRole::Producer => Section::named("kafka-producer"),
            _ => Section::KAFKA,
        };
        config.set(section, canonical_name(&name), &Value::from(text.as_str()))?;
    }
    Ok(())
}

/// Has the peers read the side topics from the beginning: from the end, they miss the first request or reply, and ask again
/// after a minute. The Java peer reads no narrower section than that of all consumers, so kc's own of messages keep their
/// start by another, unless the start was said.
fn start_with_peers(config: &mut NodeConfig, role: Role) -> Result<(), CliError> {
    if config.load_text(CONSUMER, START)?.is_some() {
        return Ok(());
    }
    config.set(CONSUMER, START, &Value::from("earliest"))?;
    let opens = [Usage::EncryptRequest, Usage::EncryptSubscribe];
    if role.usages().iter().any(|usage| opens.contains(usage)) {
        config.set(MESSAGES, START, &Value::from("latest"))?;
    }
    Ok(())
}
