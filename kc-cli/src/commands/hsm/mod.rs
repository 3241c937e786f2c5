//! `kc hsm`: PKCS#11 tokens.

mod signers;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kc::keystore_hsm::{Capabilities, PinSource, Pkcs11Uri, Token, init_token, list_objects};
use kc::maintenance::{move_to_token, renew_ratchet, rotate_opaque, undo_move};

use crate::args::{NodeArg, PasswordSource, PinArg, TokenUri};
use crate::error::CliError;
use crate::pin;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Initialise a blank token: set its label and its PINs
    #[command(
        after_help = "Example:\n  kc hsm init 'pkcs11:token=kc?module-path=/usr/lib/softhsm/libsofthsm2.so'"
    )]
    Init(InitArgs),
    #[command(
        after_help = "Example:\n  kc hsm generate 'pkcs11:token=kc?module-path=/usr/lib/softhsm/libsofthsm2.so' --node alice"
    )]
    Generate(signers::GenerateArgs),
    #[command(
        after_help = "Example:\n  kc hsm import 'pkcs11:token=kc?module-path=/usr/lib/softhsm/libsofthsm2.so' --node alice"
    )]
    Import(ImportArgs),
    #[command(after_help = "Example:\n  kc hsm undo-import --node alice")]
    UndoImport(UndoArgs),
    #[command(
        after_help = "Example:\n  kc hsm import-root 'pkcs11:token=kc?module-path=/usr/lib/softhsm/libsofthsm2.so'"
    )]
    ImportRoot(signers::RootArgs),
    #[command(
        after_help = "Example:\n  kc hsm import-provisioners 'pkcs11:token=kc?module-path=/usr/lib/softhsm/libsofthsm2.so' --root-public root.pub"
    )]
    ImportProvisioners(signers::ProvisionersArgs),
    /// List the objects of kc on a token, without secrets
    #[command(
        after_help = "Example:\n  kc hsm list 'pkcs11:token=kc?module-path=/usr/lib/softhsm/libsofthsm2.so'"
    )]
    List(TokenArgs),
    /// Show the capabilities of a token, and whether it can hold the keys of a node
    #[command(
        after_help = "Example:\n  kc hsm doctor 'pkcs11:token=kc?module-path=/usr/lib/softhsm/libsofthsm2.so'"
    )]
    Doctor(DoctorArgs),
    /// Replace the key with which the token seals values of a node's configuration
    #[command(after_help = "Example:\n  kc hsm rotate-opaque --node alice")]
    RotateOpaque(RotateArgs),
    #[command(after_help = "Example:\n  kc hsm renew-ratchet --node alice")]
    RenewRatchet(RenewArgs),
}

/// A token, and its PIN.
#[derive(Args, Clone, Debug)]
pub(crate) struct TokenArgs {
    /// The token: pkcs11:token=LABEL?module-path=/PATH/OF/MODULE.so, optionally with &pin-source=file:/PATH
    #[arg(value_name = "URI", value_parser = TokenUri)]
    uri: Pkcs11Uri,

    /// A file with the PIN of the token [default: pin-source of the URI, else KC_HSM_PIN, else a prompt]
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

pub(crate) fn run(command: Command, ui: Ui) -> Result<(), CliError> {
    match command {
        Command::Init(args) => init(&args, ui),
        Command::Generate(args) => signers::generate(&args, ui),
        Command::Import(args) => import(args, ui),
        Command::UndoImport(args) => undo(&args, ui),
        Command::ImportRoot(args) => signers::import_root(&args, ui),
        Command::ImportProvisioners(args) => signers::import_provisioners(&args, ui),
        Command::List(args) => list(args, ui),
        Command::Doctor(args) => doctor(&args, ui),
        Command::RotateOpaque(args) => rotate(&args, ui),
        Command::RenewRatchet(args) => renew(&args, ui),
    }
}

impl TokenArgs {
    fn open(&self) -> Result<Token, CliError> {
        Ok(Token::open(&self.uri, self.pin()?)?)
    }

    fn pin(&self) -> Result<PinSource, CliError> {
        pin::of_token(&self.uri, self.pin_file.as_deref())
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The token, with its new label: pkcs11:token=LABEL?module-path=/PATH/OF/MODULE.so
    #[arg(value_name = "URI", value_parser = TokenUri)]
    uri: Pkcs11Uri,

    /// A file with the new PIN of the security officer, who can later change the user PIN [default: KC_HSM_SO_PIN,
    /// else a prompt]
    #[arg(long, value_name = "FILE")]
    so_pin_file: Option<PathBuf>,

    /// A file with the new user PIN, with which nodes log in [default: KC_HSM_PIN, else a prompt]
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

fn init(args: &InitArgs, ui: Ui) -> Result<(), CliError> {
    let missing = |what: &str| {
        CliError::usage(format!("the URI of the token has no {what}"))
            .advise("give pkcs11:token=LABEL?module-path=/PATH/OF/MODULE.so")
    };
    let label = args.uri.token.as_deref();
    let label = label.ok_or_else(|| missing("token=LABEL"))?;
    let module = args.uri.module_path.as_deref();
    let module = module.ok_or_else(|| missing("module-path=/PATH/OF/MODULE.so"))?;
    let so_pin = PasswordSource::of_so_pin(args.so_pin_file.as_deref()).read_text()?;
    let pin = PasswordSource::of_new_pin(label, args.pin_file.as_deref()).read_text()?;
    init_token(module, label, &so_pin, &pin)?;
    ui.result(format!("token {label} is ready"))?;
    ui.note(
        "`kc provision --keystore` makes a node on the token, and `kc hsm import` moves a node onto it",
    );
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// The token: pkcs11:token=LABEL?module-path=/PATH/OF/MODULE.so
    #[arg(value_name = "URI", value_parser = TokenUri)]
    uri: Pkcs11Uri,
}

fn list(args: TokenArgs, ui: Ui) -> Result<(), CliError> {
    for object in list_objects(&args.open()?)? {
        ui.result(object.to_string())?;
    }
    Ok(())
}

fn doctor(args: &DoctorArgs, ui: Ui) -> Result<(), CliError> {
    let capabilities = Capabilities::of(&args.uri)?;
    ui.result(capabilities.to_string().trim_end())?;
    if capabilities.require().is_err() {
        // The printed table shows the missing capabilities.
        let error = CliError::failure(
            "the token cannot hold a node: it lacks the capabilities that are marked MISSING",
        );
        return Err(error.advise("use another token, or newer firmware"));
    }
    ui.result("the token can hold a node")
}

/// Move a node from its files onto a token
///
/// The signing keys move onto the token, and the ratchet continues at its present step. The command destroys the file
/// of the ratchet, because two copies of a ratchet would repeat keys. If the command is interrupted, the ratchet takes
/// no step until the same command has completed the move, or `kc hsm undo-import` has cancelled it.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    node: NodeArg,

    /// Destroy the file of the signing keys, too; otherwise the file stays in its place
    #[arg(long)]
    shred: bool,
}

fn import(args: ImportArgs, ui: Ui) -> Result<(), CliError> {
    let moved = move_to_token(&args.node.node, &args.token.uri, args.token.pin()?)?;
    let config = moved.files.config();
    ui.result(format!(
        "the keys of the node in {} are on the token now",
        config.display()
    ))?;
    let Some(keys) = moved.keys else {
        return Ok(());
    };
    let path = keys.path().display().to_string();
    if args.shred {
        keys.shred()?;
        ui.note(format!("{path} was destroyed; destroy its backups, too"));
    } else {
        ui.note(format!(
            "{path} still holds the signing keys: move the file to a safe place, or run the same command with --shred \
             to destroy it"
        ));
    }
    Ok(())
}

/// Cancel an interrupted move onto a token, so that the node continues with its files
///
/// The command destroys the keys that the move put onto the token. It finds the token through the node's configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct UndoArgs {
    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    pin: PinArg,
}

fn undo(args: &UndoArgs, ui: Ui) -> Result<(), CliError> {
    let node = &args.node.node;
    pin::with(args.pin.file(), |pin| undo_move(node, pin))?;
    ui.result(format!(
        "the move was cancelled: {node} continues with its files"
    ))
}

#[derive(Debug, clap::Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    pin: PinArg,
}

fn rotate(args: &RotateArgs, ui: Ui) -> Result<(), CliError> {
    let node = &args.node.node;
    pin::with(args.pin.file(), |pin| rotate_opaque(node, pin))?;
    ui.result(format!(
        "the token has a new key for the sealed values in the configuration of {node}"
    ))?;
    Ok(())
}

/// Start a new ratchet for a node
///
/// Use this if a node on a token has lost its ratchet: the file of the ratchet, or the ratchet's key on the token. The
/// node still sends its retained data keys to consumers.
#[derive(Debug, clap::Args)]
pub(crate) struct RenewArgs {
    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    pin: PinArg,
}

fn renew(args: &RenewArgs, ui: Ui) -> Result<(), CliError> {
    let node = &args.node.node;
    let first = pin::with(args.pin.file(), |pin| renew_ratchet(node, pin))?;
    ui.result(format!(
        "{node} has a new ratchet, which begins at index {first}"
    ))
}
