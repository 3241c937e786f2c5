//! `kc hsm`: PKCS#11 tokens.

mod generate;
mod import;
mod init;
mod look;
mod provisioners;
mod ratchet;
mod root;
mod rotate;
mod undo;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kc::keystore_hsm::{PinSource, Pkcs11Uri, Token};

use crate::args::TokenUri;
use crate::error::CliError;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a blank token its label and its PINs
    Init(init::Args),
    /// Draw the keys of a node to be on a token
    Generate(generate::Args),
    /// Move a node from its files onto a token
    Import(import::Args),
    /// End a move onto a token that was interrupted: the node goes on in its files
    UndoImport(undo::Args),
    /// Put the root of trust of a password onto a token
    ImportRoot(root::Args),
    /// Put the provisioners of a provisioning password onto a token
    ImportProvisioners(provisioners::Args),
    /// Show what is on a token of ours, without any secret
    List(TokenArgs),
    /// Show what a token can do, and whether that is enough
    Doctor(look::DoctorArgs),
    /// Draw a new key for the values that the token seals in a node's configuration
    RotateOpaque(rotate::Args),
    /// Begin the ratchet of a node anew
    RenewRatchet(ratchet::Args),
}

/// A token, and who may use it.
#[derive(Args, Clone, Debug)]
pub(crate) struct TokenArgs {
    /// The token: pkcs11:token=LABEL?module-path=/PATH/OF/MODULE.so, perhaps with &pin-source=file:/PATH
    #[arg(value_name = "URI", value_parser = TokenUri)]
    uri: Pkcs11Uri,

    /// A file with the PIN; else pin-source of the URI, else KC_HSM_PIN, else a prompt
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

pub(crate) fn run(command: Command, ui: Ui) -> Result<(), CliError> {
    match command {
        Command::Init(args) => init::run(&args, ui),
        Command::Generate(args) => generate::run(&args, ui),
        Command::Import(args) => import::run(args, ui),
        Command::UndoImport(args) => undo::run(&args, ui),
        Command::ImportRoot(args) => root::run(&args, ui),
        Command::ImportProvisioners(args) => provisioners::run(&args, ui),
        Command::List(args) => look::list(args, ui),
        Command::Doctor(args) => look::doctor(&args, ui),
        Command::RotateOpaque(args) => rotate::run(&args, ui),
        Command::RenewRatchet(args) => ratchet::run(&args, ui),
    }
}

impl TokenArgs {
    fn open(&self) -> Result<Token, CliError> {
        Ok(Token::open(&self.uri, self.pin()?)?)
    }

    fn pin(&self) -> Result<PinSource, CliError> {
        crate::pin::of_token(&self.uri, self.pin_file.as_deref())
    }
}
