use std::path::PathBuf;

use kc::keystore_hsm::{Pkcs11Uri, init_token};

use crate::args::{PasswordSource, TokenUri};
use crate::error::CliError;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What it is to be: pkcs11:token=LABEL?module-path=/PATH/OF/MODULE.so
    #[arg(value_name = "URI", value_parser = TokenUri)]
    uri: Pkcs11Uri,

    /// A file with the PIN for its security officer, who can set a new PIN; else KC_HSM_SO_PIN, else a
    /// prompt
    #[arg(long, value_name = "FILE")]
    so_pin_file: Option<PathBuf>,

    /// A file with the PIN for nodes; else KC_HSM_PIN, else a prompt
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let missing = |what: &str| CliError::usage(format!("the URI has no {what}"));
    let label = args.uri.token.as_deref();
    let label = label.ok_or_else(|| missing("token=LABEL"))?;
    let module = args.uri.module_path.as_deref();
    let module = module.ok_or_else(|| missing("module-path=/PATH/OF/MODULE.so"))?;
    let so_pin = PasswordSource::of_so_pin(args.so_pin_file.as_deref()).read_text()?;
    let pin = PasswordSource::of_new_pin(label, args.pin_file.as_deref()).read_text()?;
    init_token(module, label, &so_pin, &pin)?;
    ui.result(format!("token {label} is ready"))?;
    ui.note("`kc provision --keystore` makes a node on it, `kc hsm import` moves one onto it");
    Ok(())
}
