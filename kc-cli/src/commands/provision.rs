//! `kc provision`.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ArgAction;
use kc::Clock;
use kc::core::keys::KeyType;
use kc::core::provision::{NewNode, ProvisionedNode, Role, provision_node};
use kc::core::store::config::{Section, Value};
use kc::core::types::TopicScheme;
use kc::keystore_file::{NodeFiles, create_node, read_config, system_rng};
use serde_json::json;

use crate::args::{ConnectionArgs, Password, PasswordSource, duration, key_type};
use crate::date::date;
use crate::error::{CliError, Exit};
use crate::status::read_files;
use crate::ui::Ui;

/// Two passwords make all nodes of an organisation. The root password decides whom they trust: nodes
/// that are to exchange keys have the same. The provisioning password certifies what each may do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// producer, consumer, prodcon (both), or the ones that ask through a controller:
    /// prodcon-limited, consumer-limited, controller; chain-server renews the chains of others
    #[arg(value_parser = Role::from_str)]
    role: Role,

    /// The node's id; its files are named after it
    #[arg(long, value_name = "ID", help_heading = "Node")]
    node: String,

    /// The folder for its files
    #[arg(long, default_value = ".", help_heading = "Node")]
    dir: PathBuf,

    /// Replace a node that exists
    #[arg(long, help_heading = "Node")]
    force: bool,

    /// The topics it may use [default: all]
    #[arg(long, value_name = "TOPIC,...", value_delimiter = ',', action = ArgAction::Append, help_heading = "Certificate")]
    topics: Vec<String>,

    /// How many certificates may follow the node's own; requests and replies need one, a chain server
    /// needs two [default: what it needs]
    #[arg(long, value_name = "N", help_heading = "Certificate")]
    pathlen: Option<u32>,

    /// How long its certificate is valid [default: ten years; one for a chain server]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Certificate")]
    lifetime: Option<Duration>,

    /// Its signing keys: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers
    #[arg(long, value_name = "1|4", default_value = "1", value_parser = key_type, help_heading = "Certificate")]
    key_type: KeyType,

    /// A file with the root password; else KC_ROOT_PASSWORD, else a prompt
    #[arg(long, value_name = "FILE", help_heading = "Passwords")]
    root_password_file: Option<PathBuf>,

    /// A file with the provisioning password; else KC_PROVISIONING_PASSWORD, else a prompt. A chain
    /// server needs none: the root itself certifies it
    #[arg(long, value_name = "FILE", help_heading = "Passwords")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    connection: ConnectionArgs,

    /// Print the result as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Derives the keys and writes the node's files.
pub(crate) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    // What cannot be written need not be asked for.
    let files = NodeFiles::in_folder(&args.dir, &args.node)?;
    if !args.force && files.config().exists() {
        return Err(kc::keystore_file::FileError::Exists {
            path: files.config(),
        }
        .into());
    }
    let root_password = PasswordSource::of_root(args.root_password_file.as_deref()).read()?;
    let password = match args.role.provisioner() {
        Some(_) => PasswordSource {
            name: "provisioning password",
            file: args.password_file.as_deref(),
            flag: "--password-file",
            variable: "KC_PROVISIONING_PASSWORD",
        }
        .read()?,
        None => Password::default(),
    };
    let node = NewNode {
        id: &args.node,
        role: args.role,
        topics: &args.topics,
        scheme: &TopicScheme::default(),
        path_length: Some(args.pathlen.unwrap_or(args.role.default_path_length())),
        lifetime: args.lifetime.unwrap_or(args.role.default_lifetime()),
        key_type: args.key_type,
        escrow: None,
        ssl_cafile: "",
    };
    let mut rng = system_rng()?;
    let mut provisioned = provision_node(
        &node,
        &root_password,
        &password,
        Clock::system().now(),
        &mut rng,
    )?;
    if args.connection.bootstrap_servers.is_some() {
        let flags = args.connection.flags(ui).into_iter();
        for (name, text) in flags.filter(|(_, text)| !text.is_empty()) {
            provisioned
                .config
                .set(Section::KAFKA, name.as_str(), &Value::from(text.as_str()))?;
        }
    }
    check_root(args, &files, &provisioned, ui)?;
    let files = create_node(&args.dir, &provisioned, args.force)?;
    report(args, &provisioned, &files, ui)
}

/// Of a wrong root password the only sign is another root of trust. To replace a node by one that its
/// peers would not know is refused; that its neighbours have another root may be meant.
fn check_root(
    args: &Args,
    files: &NodeFiles,
    node: &ProvisionedNode,
    ui: Ui,
) -> Result<(), CliError> {
    let root = node.root.fingerprint();
    if let Some(before) = roots(files).filter(|roots| !roots.contains(&root)) {
        return Err(CliError::new(
            Exit::Refused,
            format!(
                "wrong root password? It gives root of trust {root}, but {} trusts {}",
                files.config().display(),
                before.join(", ")
            ),
        )
        .advise("type the password again; to change the node's root, remove its files first"));
    }
    let configs = fs::read_dir(&args.dir).into_iter().flatten().flatten();
    let neighbours = configs.filter_map(|entry| NodeFiles::beside(&entry.path()).ok());
    let roots: Vec<_> = neighbours
        .filter_map(|files| roots(&files))
        .flatten()
        .collect();
    if !roots.is_empty() && !roots.contains(&root) {
        ui.note(format!(
            "note: no other node in {} has root of trust {root}; if they are to exchange keys, the root \
             password was another",
            args.dir.display()
        ));
    }
    Ok(())
}

/// The roots that a node trusts; `None` if there is no such node, or it cannot be read.
fn roots(files: &NodeFiles) -> Option<Vec<String>> {
    let config = read_config(&files.config()).ok()?;
    Some(read_files(files, &config).ok()?.roots)
}

fn report(args: &Args, node: &ProvisionedNode, files: &NodeFiles, ui: Ui) -> Result<(), CliError> {
    let root = node.root.fingerprint();
    let expires = node.expires.map(date);
    let config = files.config();
    if args.json {
        let result = json!({
            "node": args.node,
            "role": args.role.name(),
            "config": config,
            "root": root,
            "expires": expires,
        });
        return ui.result(result.to_string());
    }
    ui.result(format!(
        "{} {} in {}",
        args.role,
        args.node,
        config.display()
    ))?;
    ui.result(format!(
        "root of trust {root}: the same for all nodes of this root password"
    ))?;
    ui.result(format!(
        "valid until {}",
        expires.as_deref().unwrap_or("the end of time")
    ))?;
    if args.connection.bootstrap_servers.is_none() {
        ui.note("no broker in its configuration yet: give -b HOST:PORT with each command");
    }
    Ok(())
}
