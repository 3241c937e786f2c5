//! Loads PKCS#11 modules, and finds and initializes the tokens in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::UserType;
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use kc_core::secret::SecretText;

use crate::error::TokenFault;
use crate::patience::Asking;
use crate::{HsmError, Pkcs11Uri, UriError};

/// The modules that this process has loaded, by their real paths. A module is never unloaded. If it were unloaded and
/// loaded again, it could use the number of an old handle for another object, while a caller still uses the old handle.
static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// Returns the module at `path`. Loads the module unless this process has loaded it before, and initializes it unless
/// this was done before.
pub(crate) fn load(path: &Path) -> Result<Pkcs11, HsmError> {
    let real = path
        .canonicalize()
        .map_err(|source| HsmError::ModuleMissing {
            path: path.to_owned(),
            source,
        })?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let module = match loaded.get(&real) {
        Some(module) => module.clone(),
        None => Pkcs11::new(&real).map_err(|error| not_a_module(path, error))?,
    };
    initialize(&module).map_err(|error| not_a_module(path, error))?;
    loaded.insert(real, module.clone());
    Ok(module)
}

/// Initializes the module. Returns `Ok` also if another part of the process has initialized it already.
fn initialize(module: &Pkcs11) -> Result<(), Error> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        result => result,
    }
}

fn not_a_module(path: &Path, error: Error) -> HsmError {
    let path = path.to_owned();
    match error {
        // The file is a PKCS#11 module, but its initialization failed.
        Error::Pkcs11(..) => HsmError::ModuleFailed {
            path,
            source: TokenFault::from(error),
        },
        _ => HsmError::NotAModule {
            path,
            source: TokenFault::from(error),
        },
    }
}

/// Returns the module and the token that a URI names. The token is returned as its current slot and its properties.
pub(crate) fn locate(uri: &Pkcs11Uri) -> Result<(Pkcs11, Slot, TokenInfo), HsmError> {
    let path = uri.module_path.as_ref().ok_or(UriError::NoModule)?;
    let module = load(path)?;
    let (slot, info) = only_token(&module, uri, path)?;
    Ok((module, slot, info))
}

/// Returns the only initialized token that matches the URI, and its slot.
fn only_token(
    module: &Pkcs11,
    uri: &Pkcs11Uri,
    path: &Path,
) -> Result<(Slot, TokenInfo), HsmError> {
    let tokens = slots(module)?.into_iter();
    let tokens: Vec<_> = tokens
        .filter(|(_, info)| info.token_initialized())
        .collect();
    let mut fitting = tokens.iter().filter(|(_, info)| fits(uri, info));
    match (fitting.next(), fitting.count()) {
        (Some(token), 0) => Ok(token.clone()),
        (Some(_), more) => Err(HsmError::TokenAmbiguous {
            wanted: wanted(uri),
            count: more + 1,
        }),
        (None, _) => Err(HsmError::TokenMissing {
            wanted: wanted(uri),
            module: path.to_owned(),
            found: tokens
                .iter()
                .map(|(_, info)| format!("{:?}", info.label()))
                .collect(),
        }),
    }
}

/// Returns all slots that contain a token, each with the token's properties. Leaves out tokens whose properties cannot
/// be read, for example because they were removed in the meantime.
pub(crate) fn slots(module: &Pkcs11) -> Result<Vec<(Slot, TokenInfo)>, HsmError> {
    let slots = module
        .get_slots_with_token()
        .map_err(HsmError::call("list the tokens"))?;
    let tokens = slots
        .into_iter()
        .filter_map(|slot| Some((slot, module.get_token_info(slot).ok()?)));
    Ok(tokens.collect())
}

fn fits(uri: &Pkcs11Uri, info: &TokenInfo) -> bool {
    let fits = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found)
    };
    fits(&uri.token, info.label())
        && fits(&uri.manufacturer, info.manufacturer_id())
        && fits(&uri.model, info.model())
        && fits(&uri.serial, info.serial_number())
}

/// Describes the token that the URI names, for the text of an error.
fn wanted(uri: &Pkcs11Uri) -> String {
    let attributes = [
        ("token", &uri.token),
        ("manufacturer", &uri.manufacturer),
        ("model", &uri.model),
        ("serial", &uri.serial),
    ];
    let named = attributes
        .iter()
        .filter_map(|(name, value)| Some(format!("{name} {:?}", value.as_ref()?)));
    named.collect::<Vec<_>>().join(", ")
}

/// The maximum length of a token's label, in bytes.
const MAX_LABEL_LEN: usize = 32;

/// Initializes the first blank token of the module: sets its label, the PIN of its security officer, and the PIN of its
/// user. If the call was interrupted or a PIN was refused, the next call with the same label continues where it ended.
///
/// # Errors
/// Returns [`HsmError::TokenLabel`] if the label is not 1 to 32 bytes long; [`HsmError::ModuleMissing`],
/// [`HsmError::NotAModule`] or [`HsmError::ModuleFailed`] if the module cannot be loaded; [`HsmError::TokenExists`] if
/// a token with this label has a user PIN already; [`HsmError::NoBlankToken`] if the module has no uninitialized token;
/// [`HsmError::PinUnsuitable`] if the token does not accept a PIN as a new one; [`HsmError::PinIncorrect`] if the
/// security officer's PIN differs from that of the interrupted call; and [`HsmError::PinLastTry`] if one more wrong PIN
/// of the security officer locks the token.
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
    let module = load(module_path)?;
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

/// A new PIN of the token.
struct Pin {
    pin: AuthPin,
    len: usize,
    whose: &'static str,
    /// The minimum length that the token reports, in bytes. The token need not enforce this minimum.
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

    /// Returns a function that converts the error of the token into an [`HsmError`], if `action` with this PIN failed.
    fn refused(&self, action: &'static str) -> impl Fn(Error) -> HsmError {
        let (whose, min, max) = (self.whose, self.min, self.max);
        let too_short = self.len < min;
        let is_length = too_short || (max != 0 && self.len > max);
        move |error| match error {
            // SoftHSM reports a PIN that is too short as incorrect.
            Error::Pkcs11(RvError::PinIncorrect, _) if !too_short => HsmError::PinIncorrect {
                token: format!("the token's {whose}"),
            },
            Error::Pkcs11(
                value @ (RvError::PinIncorrect
                | RvError::PinLenRange
                | RvError::PinInvalid
                | RvError::PinTooWeak),
                _,
            ) => HsmError::PinUnsuitable {
                whose,
                lengths: (is_length || value == RvError::PinLenRange).then_some((min, max)),
            },
            error => HsmError::call(action)(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn the_lengths_of_a_pin_are_named_only_if_the_length_is_the_reason() {
        let refused = |len, value| {
            let pin = Pin {
                pin: AuthPin::from("1234"),
                len,
                whose: "user",
                min: 4,
                max: 8,
            };
            let error = pin.refused("set the user PIN")(Error::Pkcs11(value, Function::InitPIN));
            error.to_string()
        };
        let unsuitable = "the token does not accept this PIN for its user";
        let lengths = format!("{unsuitable}: a PIN must have 4 to 8 bytes");
        assert_eq!(refused(4, RvError::PinTooWeak), unsuitable);
        assert_eq!(refused(8, RvError::PinInvalid), unsuitable);
        assert_eq!(refused(9, RvError::PinInvalid), lengths);
        assert_eq!(refused(3, RvError::PinIncorrect), lengths);
        assert_eq!(refused(4, RvError::PinLenRange), lengths);
    }
}
