use std::path::Path;

use cryptoki::error::{Error, RvError};
use cryptoki::session::UserType;
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use kc_core::secret::SecretText;

use crate::patience::Asking;
use crate::token::slots;
use crate::{HsmError, module};

/// The longest label of a token, in bytes.
const MAX_LABEL_LEN: usize = 32;

/// Gives the module's first blank token a label, the PIN of its security officer, and the PIN of its user. Interrupted,
/// or after a PIN that was refused, it goes on when it is called again.
///
/// # Errors
/// The label is taken, or is not from 1 to 32 bytes long; there is no blank token; [`HsmError::PinUnsuitable`]; going on,
/// [`HsmError::PinIncorrect`] if the security officer's PIN is another than before.
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
    let _asking = Asking::start();
    let module = module::load(module_path)?;
    let tokens = slots(&module)?;
    let called_so = |info: &TokenInfo| info.token_initialized() && info.label() == label;
    let begun = tokens.iter().find(|(_, info)| called_so(info));
    let blank = || tokens.iter().find(|(_, info)| !info.token_initialized());
    let (slot, info) = begun.or_else(blank).ok_or_else(|| HsmError::NoBlankToken {
        module: module_path.to_owned(),
    })?;
    if info.user_pin_initialized() {
        return Err(HsmError::TokenExists {
            label: label.to_owned(),
        });
    }
    if info.so_pin_final_try() {
        return Err(HsmError::PinLastTry {
            token: "the token's security officer".to_owned(),
        });
    }
    let officer = Pin::new(so_pin, "security officer", info);
    let user = Pin::new(user_pin, "user", info);
    if begun.is_none() {
        module
            .init_token(*slot, &officer.pin, label)
            .map_err(officer.refused("initialize the token"))?;
    }
    let session = module
        .open_rw_session(*slot)
        .map_err(HsmError::call("open a session"))?;
    session
        .login(UserType::So, Some(&officer.pin))
        .map_err(officer.refused("log in as security officer"))?;
    session
        .init_pin(&user.pin)
        .map_err(user.refused("set the user PIN"))
}

/// A PIN that the token is to have.
struct Pin {
    pin: AuthPin,
    len: usize,
    whose: &'static str,
    /// How long the token says that PINs are. It need not insist.
    min: usize,
    max: usize,
}

impl Pin {
    fn new(pin: &SecretText, whose: &'static str, info: &TokenInfo) -> Self {
        Self {
            pin: AuthPin::from(pin.expose()),
            len: pin.expose().len(),
            whose,
            min: info.min_pin_length(),
            max: info.max_pin_length(),
        }
    }

    /// Why a token does not take it.
    fn refused(&self, action: &'static str) -> impl Fn(Error) -> HsmError {
        let (whose, min, max) = (self.whose, self.min, self.max);
        let too_short = self.len < min;
        move |error| match error {
            // SoftHSM says of a PIN that is too short that it is wrong.
            Error::Pkcs11(RvError::PinIncorrect, _) if !too_short => HsmError::PinIncorrect {
                token: format!("the token's {whose}"),
            },
            Error::Pkcs11(
                RvError::PinIncorrect
                | RvError::PinLenRange
                | RvError::PinInvalid
                | RvError::PinTooWeak,
                _,
            ) => HsmError::PinUnsuitable { whose, min, max },
            error => HsmError::call(action)(error),
        }
    }
}
