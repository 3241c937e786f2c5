//! `kc hsm list` and `kc hsm doctor`.

use kc::keystore_hsm::{Capabilities, Pkcs11Uri, list_objects};

use super::TokenArgs;
use crate::args::TokenUri;
use crate::error::CliError;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// The token: pkcs11:token=LABEL?module-path=/PATH/OF/MODULE.so
    #[arg(value_name = "URI", value_parser = TokenUri)]
    uri: Pkcs11Uri,
}

pub(super) fn list(args: TokenArgs, ui: Ui) -> Result<(), CliError> {
    for object in list_objects(&args.open()?)? {
        ui.result(object.to_string())?;
    }
    Ok(())
}

pub(super) fn doctor(args: &DoctorArgs, ui: Ui) -> Result<(), CliError> {
    let capabilities = Capabilities::of(&args.uri)?;
    ui.result(capabilities.to_string().trim_end())?;
    if capabilities.require().is_err() {
        // The table has said which.
        let error = CliError::failure("the token cannot hold a node: it lacks what is MISSING");
        return Err(error.advise("use another token, or newer firmware"));
    }
    ui.result("the token can hold a node")
}
