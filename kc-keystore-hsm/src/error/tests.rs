use std::error::Error;

use cryptoki::context::Function;
use cryptoki::error::{Error as Cryptoki, RvError};
use kc_core::store::{StoreError, StoreErrorKind};

use super::*;

fn answer(value: RvError) -> HsmError {
    HsmError::call("sign")(Cryptoki::Pkcs11(value, Function::Sign))
}

#[test]
fn what_went_away_is_worth_connecting_anew_and_a_wrong_pin_is_not() {
    use RvError as Rv;
    for value in [
        Rv::SessionHandleInvalid,
        Rv::SessionClosed,
        Rv::UserNotLoggedIn,
        Rv::ObjectHandleInvalid,
        Rv::DeviceError,
        Rv::DeviceRemoved,
        Rv::TokenNotPresent,
        Rv::CryptokiNotInitialized,
    ] {
        assert!(answer(value).is_lost(), "{value:?}");
    }
    for value in [
        Rv::PinIncorrect,
        Rv::PinLocked,
        Rv::GeneralError,
        Rv::MechanismInvalid,
    ] {
        assert!(!answer(value).is_lost(), "{value:?}");
    }
}

#[test]
fn the_token_is_gone_once_the_second_try_fails() {
    let gone = answer(RvError::DeviceRemoved).given_up();
    assert_eq!(gone.to_string(), "cannot sign: the token is gone");
    let source = gone.source().map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("C_Sign returned DeviceRemoved"));
    let refused = answer(RvError::KeyFunctionNotPermitted);
    assert_eq!(refused.to_string(), "cannot sign");
}

#[test]
fn a_rolled_back_ratchet_is_no_reason_to_begin_anew() {
    let error = HsmError::RolledBack {
        path: "/n1.ratchet".into(),
        index: 4,
        newest: Some(7),
    };
    assert_eq!(
        error.to_string(),
        "ratchet in /n1.ratchet: the wrapping key of step 4 is gone; the token is at step 7"
    );
    assert!(error.advice().contains("put back"));
    let error = StoreError::from(error);
    assert_eq!(error.kind(), StoreErrorKind::Malformed);
    let behind = error.source().and_then(<dyn Error>::downcast_ref);
    assert!(matches!(
        behind,
        Some(HsmError::RolledBack { index: 4, .. })
    ));
}

#[test]
fn kinds_follow_the_errors() {
    let kind = |error: HsmError| StoreError::from(error).kind();
    let token = || "token \"kc\"".to_owned();
    assert_eq!(
        kind(HsmError::PinIncorrect { token: token() }),
        StoreErrorKind::Permission
    );
    assert_eq!(
        kind(HsmError::PinLocked { token: token() }),
        StoreErrorKind::Permission
    );
    assert_eq!(
        kind(HsmError::Unauthentic { what: "value" }),
        StoreErrorKind::Unauthentic
    );
    assert_eq!(
        kind(answer(RvError::DeviceRemoved).given_up()),
        StoreErrorKind::Io
    );
}
