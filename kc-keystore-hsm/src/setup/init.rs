use std::path::Path;

use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use kc_core::secret::SecretText;

use crate::token::slots;
use crate::{HsmError, module};

/// The longest label of a token, in bytes.
const MAX_LABEL_LEN: usize = 32;

/// Gives the module's first blank token a label, the PIN of its security officer, and the PIN of its user.
///
/// # Errors
/// The label is taken, or is not from 1 to 32 bytes long; there is no blank token; the token refuses a PIN, most often
/// because it is too short.
pub fn init_token(
    module_path: &Path,
    label: &str,
    so_pin: &SecretText,
    user_pin: &SecretText,
) -> Result<(), HsmError> {
    if !(1..=MAX_LABEL_LEN).contains(&label.len()) {
        return Err(HsmError::TokenLabel {
            label: label.to_owned(),
        });
    }
    let module = module::load(module_path)?;
    let tokens = slots(&module)?;
    let taken = |(_, info): &(_, cryptoki::slot::TokenInfo)| {
        info.token_initialized() && info.label() == label
    };
    if tokens.iter().any(taken) {
        return Err(HsmError::TokenExists {
            label: label.to_owned(),
        });
    }
    let mut blank = tokens.iter().filter(|(_, info)| !info.token_initialized());
    let (slot, _) = blank.next().ok_or_else(|| HsmError::NoBlankToken {
        module: module_path.to_owned(),
    })?;
    let so_pin = AuthPin::from(so_pin.expose());
    module
        .init_token(*slot, &so_pin, label)
        .map_err(HsmError::call("initialize the token"))?;
    let session = module
        .open_rw_session(*slot)
        .map_err(HsmError::call("open a session"))?;
    session
        .login(UserType::So, Some(&so_pin))
        .map_err(HsmError::call("log in as security officer"))?;
    session
        .init_pin(&AuthPin::from(user_pin.expose()))
        .map_err(HsmError::call("set the user PIN"))
}
