use std::io;

use kc_core::store::{StoreError, StoreErrorKind};

use super::HsmError;

impl From<HsmError> for StoreError {
    /// The kind and the advice; the error itself is the source.
    fn from(error: HsmError) -> Self {
        use StoreErrorKind as Kind;
        let kind = match &error {
            HsmError::ModuleMissing { .. }
            | HsmError::TokenMissing { .. }
            | HsmError::ObjectMissing { .. }
            | HsmError::NoBlankToken { .. }
            | HsmError::NoSigningKey(_) => Kind::Missing,
            HsmError::PinMissing { .. }
            | HsmError::PinIncorrect { .. }
            | HsmError::PinRefused { .. }
            | HsmError::PinTriesSpent { .. }
            | HsmError::PinLocked { .. }
            | HsmError::PinLastTry { .. }
            | HsmError::PinExpired { .. }
            | HsmError::PinNotSet { .. }
            | HsmError::Exposed { .. } => Kind::Permission,
            HsmError::Uri(_)
            | HsmError::NotALabel(_)
            | HsmError::NotAModule { .. }
            | HsmError::TokenAmbiguous { .. }
            | HsmError::ObjectAmbiguous { .. }
            | HsmError::BadObject { .. }
            | HsmError::KeyChanged { .. }
            | HsmError::TwoKeys(_)
            | HsmError::SelfTest { .. }
            // Not `Missing`: nobody may take it for a reason to begin anew.
            | HsmError::RolledBack { .. }
            | HsmError::ForeignRatchet { .. }
            | HsmError::MalformedRatchet { .. } => Kind::Malformed,
            HsmError::Unauthentic { .. } => Kind::Unauthentic,
            HsmError::RatchetExhausted { .. } => Kind::Exhausted,
            HsmError::RatchetInUse { .. } | HsmError::RatchetLockLost { .. } => Kind::InUse,
            HsmError::File { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Kind::Missing,
                io::ErrorKind::PermissionDenied => Kind::Permission,
                _ => Kind::Io,
            },
            HsmError::Silent | HsmError::Ended => Kind::Timeout,
            HsmError::ModuleFailed { .. }
            | HsmError::Thread(_)
            | HsmError::Random(_)
            | HsmError::Gone { .. }
            | HsmError::Token { .. } => Kind::Io,
            HsmError::Lacks { .. }
            | HsmError::TokenExists { .. }
            | HsmError::TokenLabel { .. }
            | HsmError::ReservedId(_)
            | HsmError::NodeExists { .. }
            | HsmError::NotAdoptable { .. }
            | HsmError::RatchetKeyLeft { .. }
            | HsmError::ObjectExists { .. }
            | HsmError::RotationUnfinished { .. }
            | HsmError::PinUnsuitable { .. }
            | HsmError::RatchetExists { .. }
            | HsmError::RatchetRepeats { .. } => Kind::Other,
        };
        Self::new(kind, "PKCS#11 token")
            .with_advice(error.advice())
            .with_source(error)
    }
}
