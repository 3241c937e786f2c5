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

/// The section with the settings of all consumers.
const CONSUMER: Section<'static> = Section::named("kafka-consumer");
/// The section with the settings of kc's consumers of data topics. The peers do not read it.
const MESSAGES: Section<'static> = Section::named("kafka-data-consumer");
const START: &str = "auto_offset_reset";

/// Make a node: its keys, and a certificate for its role and topics
///
/// Two passwords make all nodes of an organisation. The root password gives the root of trust: nodes exchange data keys
/// only if they share this root. The provisioning password gives the provisioners: keys that the root certifies, and
/// that certify the nodes. With provisioners, nodes can be made where the root password is not known, and all nodes of
/// a provisioner can be denied at once. If the folder already has nodes, the command checks each password: at least one
/// of these nodes must have been made with the same password.
///
/// If you do not know the root password, use --root-public and --signed-provisioner. If you know neither password, use
/// --root-public and --by-hand.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// producer seals, consumer opens, prodcon does both; prodcon-limited and consumer-limited request data
    /// keys only from a controller; controller vouches for their requests; chain-server renews chains of other
    /// nodes; administrator signs list updates
    #[arg(value_parser = Role::from_str)]
    role: Role,

    /// The id of the node, which is also the name of its files
    #[arg(long, value_name = "ID", value_parser = node_id, help_heading = "Node")]
    node: String,

    /// The folder for the node's files [default: $KC_HOME, else the current folder]
    #[arg(long, default_value_os_t = home(), hide_default_value = true, help_heading = "Node")]
    dir: PathBuf,

    /// Replace an existing node; on a token, generate new keys, and also keep the old keys of the node
    #[arg(long, help_heading = "Node")]
    force: bool,

    /// Make a node with another root of trust than that of the other nodes in the folder
    #[arg(long, help_heading = "Node")]
    new_root: bool,

    /// Certify the node with a provisioning password that differs from the password of the other nodes in the folder
    #[arg(long, help_heading = "Node")]
    new_provisioner: bool,

    /// Encrypt the first secret of the ratchet for this public key, the escrow key, and print the result once; whoever
    /// has the result and the private key can read all records of the node [default: no escrow]
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

    /// The time for which the certificate is valid; give 7d if a chain server renews the node's chain
    /// [default: ten years; for a chain server or administrator one year. With --root-public: one week; for a
    /// controller, chain server or administrator one year]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Certificate")]
    lifetime: Option<Duration>,

    /// The type of the signing keys: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers [default: the
    /// type of the root with --root-public, else 1]
    #[arg(long, value_name = "1|4", value_parser = key_type, help_heading = "Certificate")]
    key_type: Option<KeyType>,

    #[command(flatten)]
    root_password: RootPasswordArg,

    #[command(flatten)]
    provisioner: ProvisionerArgs,

    /// The public key of the root of trust in place of the root password; `kc chain root` prints the key
    #[arg(
        long,
        value_name = "FILE|BASE64",
        conflicts_with = "root_password_file",
        help_heading = "Root elsewhere"
    )]
    root_public: Option<Given>,

    /// The certificate of this role's provisioner: the result of `kc chain sign` for the request that `kc chain
    /// provisioners` printed
    #[arg(
        long,
        value_name = "FILE|BASE64",
        requires = "root_public",
        help_heading = "Root elsewhere"
    )]
    signed_provisioner: Option<Given>,

    /// Without any password, print a request that the root signs with `kc chain sign`; the node works after
    /// `kc chain install` has stored the result
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

/// Makes a node: generates its keys, makes its certificate chain or a request for a certificate, and writes its files.
pub(crate) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    // Arguments are checked before the program asks for passwords.
    if !args.dir.is_dir() {
        let folder = args.dir.display();
        return Err(CliError::failure(format!("there is no folder {folder}"))
            .advise("create the folder, or choose another with --dir"));
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
            CliError::usage("--by-hand and --escrow-key both print a value to stdout")
                .advise("add --json, which gives each value a name"),
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
        ui.note(format!(
            "the keys of the node are on {token}: the files of the node have no key that works without the token"
        ));
    }
    Ok(())
}

/// Makes the node with the keys at `home`, and writes its files.
fn make(
    args: &Args,
    home: &Home<'_>,
    files: &NodeFiles,
    (way, node): (Way, &NewNode<'_>),
    ui: Ui,
) -> Result<(Made, NodeFiles), CliError> {
    let mut made = way.make(node, Clock::system().now())?;
    check_neighbours(args, files, &way, made.root(), ui)?;
    let (config, seed) = made.config_and_seed();
    if seed.is_none() {
        remember_unused(config, node.first_index)?;
    }
    connect(config, &args.connection, ui)?;
    start_with_peers(config, args.role)?;
    let files = home.create(&mut made)?;
    Ok((made, files))
}

/// Checks that at least one node in the folder trusts the same root. If the node is certified with the root password
/// and a provisioning password, also checks that at least one node was certified with this provisioning password. With
/// `--new-root`, the result of the first check is only a note; `--new-provisioner` skips the second check.
fn check_neighbours(
    args: &Args,
    files: &NodeFiles,
    way: &Way,
    root: &VerifyingKey,
    ui: Ui,
) -> Result<(), CliError> {
    let neighbours = Neighbours::read(&args.dir, files);
    match neighbours.check_root(root) {
        Err(_) if args.new_root => ui.say(format!(
            "the new node exchanges no data keys with the other nodes in {}: its root of trust {} is not theirs",
            args.dir.display(),
            root.fingerprint()
        )),
        checked => checked?,
    }
    match way.provisioning_password() {
        Some(password) if !args.new_provisioner => neighbours.check_provisioner(password, root),
        _ => Ok(()),
    }
}

/// Returns the folder for the files of new nodes if `--dir` is not given.
fn home() -> PathBuf {
    let home = env::var_os("KC_HOME").filter(|home| !home.is_empty());
    home.map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Parses a node id, which becomes a part of file names, section names and the name of the consumer group.
fn node_id(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(
        "a node id has ASCII letters, digits, dots, underscores and hyphens, and begins with a letter or digit"
            .to_owned(),
    )
}

/// Writes the given Kafka settings to the node's configuration. Settings that only consumers have go to the section
/// `kafka-consumer`, and settings that only producers have go to the section `kafka-producer`. The Python peer does not
/// start if another kind of client gets such a setting.
fn connect(config: &mut NodeConfig, args: &ConnectionArgs, ui: Ui) -> Result<(), CliError> {
    if let Some(choice) = args.backend {
        config.set(Section::NODE, "backend", &Value::from(choice.name()))?;
    }
    let flags = args.flags(ui).into_iter();
    for (name, text) in flags.filter(|(_, text)| !text.is_empty()) {
        // Both peers know the names of kafka-python.
        let section = match client_role(&name)? {
            ClientRole::Consumer => CONSUMER,
            ClientRole::Producer => Section::named("kafka-producer"),
            _ => Section::KAFKA,
        };
        config.set(section, canonical_name(&name), &Value::from(text.as_str()))?;
    }
    Ok(())
}

/// Writes settings that make the peers read side topics from the beginning. If the peers read side topics from the end,
/// they would miss the first request or reply, and would ask again only after a minute. The setting is in the section
/// of all consumers, because the Java peer reads no other section of consumers. If the role opens records, a second
/// setting, in a section that only kc reads, makes kc's own consumers of data topics start at the end. If the user gave
/// `auto_offset_reset`, writes nothing.
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
