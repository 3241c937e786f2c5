//! Modules, tokens and PINs that are missing or wrong.

use std::fs;
use std::path::PathBuf;

use cryptoki::types::AuthPin;
use kc_core::store::{StoreError, StoreErrorKind};
use kc_keystore_hsm::{Capabilities, HsmError, PinSource, Pkcs11Uri, Token, init_token};

use crate::world::{
    Case, LABEL, PIN, SO_PIN, cases, folder, fresh_token, init, is_softhsm, module, module_path,
    only_on_softhsm, text, token, uri,
};

pub(crate) fn cases() -> Vec<Case> {
    [
        cases![
            no_module,
            no_pkcs11_module,
            no_such_token,
            two_tokens_of_one_label,
            a_wrong_pin,
            a_pin_that_is_wrong_too_often,
            no_pin,
            the_first_login_counts,
            pins_of_every_source,
            a_token_is_made_once,
            capabilities_need_no_pin,
            debug_output_shows_no_pin,
        ],
        only_on_softhsm(cases![a_token_that_lacks_a_mechanism]),
    ]
    .concat()
}

fn open(uri: &Pkcs11Uri, pin: &str) -> HsmError {
    let error = Token::open(uri, PinSource::Text(text(pin))).unwrap_err();
    assert!(!error.advice().is_empty());
    error
}

fn with_module(path: impl Into<PathBuf>) -> Pkcs11Uri {
    let mut uri = uri();
    uri.module_path = Some(path.into());
    uri
}

fn no_module() {
    let error = open(&with_module("/nowhere/lib.so"), PIN);
    assert!(matches!(error, HsmError::ModuleMissing { .. }), "{error:?}");
    assert_eq!(StoreError::from(error).kind(), StoreErrorKind::Missing);
    let mut nameless = uri();
    nameless.module_path = None;
    let error = open(&nameless, PIN);
    assert_eq!(error.to_string(), "pkcs11 URI: it has no module-path");
}

fn no_pkcs11_module() {
    let text_file = folder().join("text.so");
    fs::write(&text_file, "not a library").unwrap();
    for path in [text_file, PathBuf::from("/lib/x86_64-linux-gnu/libm.so.6")] {
        let error = open(&with_module(&path), PIN);
        assert!(matches!(error, HsmError::NotAModule { .. }), "{error:?}");
        assert!(error.to_string().contains("as a PKCS#11 module"));
    }
}

/// The case of another maker's module, or of a token that is not inserted.
fn no_such_token() {
    init();
    let mut uri = uri();
    uri.token = Some("other".to_owned());
    let error = open(&uri, PIN);
    let expected = format!(
        "no token with token \"other\" in {}; tokens in this module: \"kc\"",
        module_path().display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(StoreError::from(error).kind(), StoreErrorKind::Missing);
}

fn two_tokens_of_one_label() {
    init();
    let module = module();
    let slots = module.get_slots_with_token().unwrap();
    let mut blank = slots
        .into_iter()
        .filter(|slot| !module.get_token_info(*slot).unwrap().token_initialized());
    let slot = blank.next().unwrap();
    module
        .init_token(slot, &AuthPin::from(SO_PIN), LABEL)
        .unwrap();
    let error = open(&uri(), PIN);
    assert!(
        matches!(error, HsmError::TokenAmbiguous { count: 2, .. }),
        "{error:?}"
    );
    // The serial number distinguishes them, and the other has no user PIN.
    let mut other = uri();
    let serial = module.get_token_info(slot).unwrap();
    other.serial = Some(serial.serial_number().to_owned());
    let error = open(&other, PIN);
    assert!(
        matches!(
            error,
            HsmError::PinNotSet { .. } | HsmError::PinIncorrect { .. }
        ),
        "{error:?}"
    );
}

fn a_wrong_pin() {
    init();
    let error = open(&uri(), "654321");
    assert!(matches!(error, HsmError::PinIncorrect { .. }), "{error:?}");
    assert_eq!(error.to_string(), "the PIN of token \"kc\" is wrong");
    assert_eq!(StoreError::from(error).kind(), StoreErrorKind::Permission);
    token();
}

/// Kryoptic locks at the tenth wrong PIN, SoftHSM never.
fn a_pin_that_is_wrong_too_often() {
    init();
    for wrong in 0..9 {
        let error = open(&uri(), &format!("wrong-{wrong}"));
        assert!(matches!(error, HsmError::PinIncorrect { .. }), "{error:?}");
    }
    open(&uri(), "wrong-too-often");
    let opened = Token::open(&uri(), PinSource::Text(text(PIN)));
    if is_softhsm() {
        opened.unwrap();
    } else {
        let error = opened.unwrap_err();
        assert!(matches!(error, HsmError::PinLocked { .. }), "{error:?}");
    }
}

fn no_pin() {
    init();
    let absent = PinSource::File(folder().join("pin"));
    let error = Token::open(&uri(), absent).unwrap_err();
    assert!(matches!(error, HsmError::PinMissing { .. }), "{error:?}");
}

/// The login belongs to the process: the PIN of a second opener is not checked, as documented.
fn the_first_login_counts() {
    let _first = fresh_token();
    Token::open(&uri(), PinSource::Text(text("654321"))).unwrap();
}

fn pins_of_every_source() {
    init();
    let path = folder().join("pin");
    fs::write(&path, format!("{PIN}\n")).unwrap();
    let mut with_file = uri();
    with_file.pin_source = Some(path);
    let source = PinSource::of(&with_file).unwrap();
    assert!(matches!(source, PinSource::File(_)));
    Token::open(&with_file, source).unwrap();
    // The variable is not set: a prompt is needed.
    assert!(PinSource::of(&uri()).is_none());
    Token::open(&uri(), PinSource::Text(text(PIN))).unwrap();
}

fn a_token_is_made_once() {
    init();
    let again = init_token(&module_path(), LABEL, &text(SO_PIN), &text(PIN)).unwrap_err();
    assert!(matches!(again, HsmError::TokenExists { .. }), "{again:?}");
    for label in ["", "a label of more than thirty-two bytes"] {
        let error = init_token(&module_path(), label, &text(SO_PIN), &text(PIN)).unwrap_err();
        assert!(matches!(error, HsmError::TokenLabel { .. }), "{error:?}");
    }
}

/// SoftHSM has only the mechanisms that its configuration lists.
fn a_token_that_lacks_a_mechanism() {
    let path = folder().join("module.conf");
    let conf = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        conf + "slots.mechanisms = CKM_EDDSA,CKM_AES_KEY_GEN\n",
    )
    .unwrap();
    init();
    let error = open(&uri(), PIN);
    let shown = error.to_string();
    assert!(
        shown.starts_with("the token lacks CKM_AES_GCM\n"),
        "{shown}"
    );
    assert!(
        shown.contains("CKM_AES_GCM                  MISSING"),
        "{shown}"
    );
    let table = Capabilities::of(&uri()).unwrap().to_string();
    assert!(
        table.contains("CKM_AES_GCM                  MISSING"),
        "{table}"
    );
}

fn capabilities_need_no_pin() {
    init();
    let capabilities = Capabilities::of(&uri()).unwrap();
    capabilities.require().unwrap();
    println!("{capabilities}");
    assert_eq!(capabilities.rows().len(), 6);
}

fn debug_output_shows_no_pin() {
    let token = fresh_token();
    let shown = format!("{token:?} {token}");
    assert!(!shown.contains(PIN), "{shown}");
}
