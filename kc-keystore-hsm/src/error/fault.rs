use std::error::Error;
use std::fmt;

use cryptoki::error::RvError;

/// What a module said, in a few words.
pub struct TokenFault(cryptoki::error::Error);

impl TokenFault {
    /// The return value, if it was one.
    pub(crate) fn value(&self) -> Option<RvError> {
        match &self.0 {
            cryptoki::error::Error::Pkcs11(value, _) => Some(*value),
            _ => None,
        }
    }

    /// Whether the session, the login, a handle or the token itself went away.
    pub(super) fn is_lost(&self) -> bool {
        use RvError as Rv;
        self.value().is_some_and(|value| {
            matches!(
                value,
                Rv::SessionHandleInvalid
                    | Rv::SessionClosed
                    | Rv::UserNotLoggedIn
                    | Rv::ObjectHandleInvalid
                    | Rv::KeyHandleInvalid
                    | Rv::DeviceError
                    | Rv::DeviceRemoved
                    | Rv::TokenNotPresent
                    | Rv::SlotIdInvalid
                    | Rv::CryptokiNotInitialized
            )
        })
    }
}

impl From<cryptoki::error::Error> for TokenFault {
    fn from(error: cryptoki::error::Error) -> Self {
        Self(error)
    }
}

impl fmt::Debug for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenFault({self})")
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // cryptoki shows the paragraph of the standard.
            cryptoki::error::Error::Pkcs11(value, function) => {
                write!(f, "C_{function:?} answers {value:?}")
            }
            error => error.fmt(f),
        }
    }
}

impl Error for TokenFault {}
