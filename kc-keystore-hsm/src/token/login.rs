use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use kc_core::secret::SecretVec;

use super::Token;
use crate::{HsmError, PinSource};

/// Logs the user in, which holds for all sessions of the process.
///
/// A refused PIN is remembered, and not tried again for as long as its source gives the same one.
pub(super) fn user(
    session: &Session,
    token: &Token,
    source: &PinSource,
    refused: &mut Option<SecretVec>,
) -> Result<(), HsmError> {
    let pin = source.read()?;
    let tried = SecretVec::from(pin.expose().as_bytes().to_vec());
    if refused.as_ref() == Some(&tried) {
        return Err(HsmError::PinIncorrect {
            token: token.to_string(),
        });
    }
    let answer = session.login(UserType::User, Some(&AuthPin::from(pin.expose())));
    let result = judge(answer, token);
    if let Err(HsmError::PinIncorrect { .. }) = result {
        *refused = Some(tried);
    }
    result
}

fn judge(answer: Result<(), Error>, token: &Token) -> Result<(), HsmError> {
    let name = || token.to_string();
    match answer {
        Ok(()) => Ok(()),
        Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
            tracing::debug!(%token, "logged in already; the PIN is not checked again");
            Ok(())
        }
        Err(Error::Pkcs11(value, function)) => Err(match value {
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
                HsmError::PinIncorrect { token: name() }
            }
            RvError::PinLocked => HsmError::PinLocked { token: name() },
            RvError::UserPinNotInitialized | RvError::PinExpired => {
                HsmError::PinNotSet { token: name() }
            }
            _ => HsmError::call("log in")(Error::Pkcs11(value, function)),
        }),
        Err(error) => Err(HsmError::call("log in")(error)),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;
    use crate::Pkcs11Uri;

    /// SoftHSM locks no PIN.
    #[test]
    fn each_answer_is_told_apart() {
        let uri: Pkcs11Uri = "pkcs11:token=kc?module-path=/m".parse().unwrap();
        let token = Token::new(&uri, PinSource::Environment("UNUSED".to_owned()));
        let answer = |value| judge(Err(Error::Pkcs11(value, Function::Login)), &token);
        assert!(answer(RvError::UserAlreadyLoggedIn).is_ok());
        let error = |value| answer(value).unwrap_err().to_string();
        assert_eq!(
            error(RvError::PinLocked),
            "the PIN of token \"kc\" is locked"
        );
        assert_eq!(
            error(RvError::PinIncorrect),
            "the PIN of token \"kc\" is wrong"
        );
        assert_eq!(
            error(RvError::UserPinNotInitialized),
            "token \"kc\" has no user PIN yet"
        );
        assert!(answer(RvError::DeviceRemoved).unwrap_err().is_lost());
        assert!(!answer(RvError::PinIncorrect).unwrap_err().is_lost());
    }
}
