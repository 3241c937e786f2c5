use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use kc_core::secret::SecretText;
use kc_core::text::with_sources;

use super::Token;
use crate::HsmError;
use crate::refused::Asked;

/// An attempt to log in.
pub(super) struct Login<'t> {
    pub(super) token: &'t Token,
    pub(super) pin: SecretText,
    /// `true` if the PIN was just typed at a prompt.
    pub(super) asked: bool,
}

impl Login<'_> {
    /// Logs the user in. The login applies to all sessions of the process.
    ///
    /// No thread of the process tries a PIN again after the token refused it. A PIN that was not just typed at a prompt
    /// is also not tried in three cases: if a wrong PIN would lock the token, if the node's record contains this PIN,
    /// or if the record shows that too many PINs were refused since the last login ([`HsmError::PinTriesSpent`]).
    pub(super) fn user(self, session: &Session, info: &TokenInfo) -> Result<(), HsmError> {
        let token = self.token.to_string();
        let names = names(info);
        let refused = refused_by(&names);
        let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.contains(&self.pin) {
            return Err(HsmError::PinIncorrect { token });
        }
        if info.user_pin_final_try() && !self.asked {
            return Err(HsmError::PinLastTry { token });
        }
        let record = self.token.shared.refused.as_ref();
        let asked = Asked {
            name: &token,
            names: &names,
        };
        if let Some(record) = record.filter(|_| !self.asked) {
            record.check(&asked, &self.pin)?;
        }
        let pin = AuthPin::from(self.pin.expose());
        let answer = session.login(UserType::User, Some(&pin));
        // If the process is logged in already, the token does not check the PIN.
        let is_right = answer.is_ok();
        let result = judge(answer, self.token);
        let is_wrong = matches!(result, Err(HsmError::PinIncorrect { .. }));
        let remembered = match record {
            Some(record) if is_right => record.clear(&asked),
            Some(record) if is_wrong && !self.asked => {
                record.add(&asked, &self.pin, info.user_pin_count_low())
            }
            _ => Ok(()),
        };
        if let Err(error) = remembered {
            tracing::warn!(%token, error = %with_sources(&error), "record of refused PINs cannot be updated");
        }
        if is_wrong && refused.len() < MAX_REFUSED {
            refused.push(self.pin);
        }
        result
    }
}

/// The maximum number of refused PINs that a process remembers for each token. Tokens that lock a PIN do so after fewer
/// wrong PINs.
const MAX_REFUSED: usize = 64;

fn names(info: &TokenInfo) -> [String; 4] {
    let names = [
        info.manufacturer_id(),
        info.model(),
        info.serial_number(),
        info.label(),
    ];
    names.map(str::to_owned)
}

/// Returns the PINs that a token refused, shared by all threads that log in to it.
fn refused_by(names: &[String; 4]) -> Arc<Mutex<Vec<SecretText>>> {
    type Refused = Arc<Mutex<Vec<SecretText>>>;
    static REFUSED: Mutex<BTreeMap<[String; 4], Refused>> = Mutex::new(BTreeMap::new());

    let mut all = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(all.entry(names.clone()).or_default())
}

fn judge(answer: Result<(), Error>, token: &Token) -> Result<(), HsmError> {
    let name = || token.to_string();
    match answer {
        Ok(()) => Ok(()),
        Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
            tracing::debug!(%token, "process is logged in already; the token does not check the PIN");
            Ok(())
        }
        Err(Error::Pkcs11(value, function)) => Err(match value {
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
                HsmError::PinIncorrect { token: name() }
            }
            RvError::PinLocked => HsmError::PinLocked { token: name() },
            RvError::PinExpired => HsmError::PinExpired { token: name() },
            RvError::UserPinNotInitialized => HsmError::PinNotSet { token: name() },
            _ => HsmError::call("log in")(Error::Pkcs11(value, function)),
        }),
        Err(error) => Err(HsmError::call("log in")(error)),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;
    use crate::{PinSource, Pkcs11Uri};

    /// Checked here because SoftHSM never locks a PIN.
    #[test]
    fn each_answer_is_told_apart() {
        let uri: Pkcs11Uri = "pkcs11:token=kc?module-path=/m".parse().unwrap();
        let token = Token::new(&uri, PinSource::Environment("UNUSED".to_owned()), None);
        let answer = |value| judge(Err(Error::Pkcs11(value, Function::Login)), &token);
        assert!(answer(RvError::UserAlreadyLoggedIn).is_ok());
        for (value, said) in [
            (RvError::PinLocked, "the PIN of token \"kc\" is locked"),
            (RvError::PinIncorrect, "the PIN of token \"kc\" is wrong"),
            (RvError::PinExpired, "the PIN of token \"kc\" has expired"),
            (
                RvError::UserPinNotInitialized,
                "token \"kc\" has no user PIN yet",
            ),
        ] {
            assert_eq!(answer(value).unwrap_err().to_string(), said);
        }
        assert!(answer(RvError::DeviceRemoved).unwrap_err().is_lost());
        assert!(!answer(RvError::PinIncorrect).unwrap_err().is_lost());
    }
}
