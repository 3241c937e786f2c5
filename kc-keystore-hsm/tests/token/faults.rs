//! A module that fails at each call in turn: a daemon that ends, a card that is removed, a PIN that locks.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, exit};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::types::AuthPin;
use kc_core::keys::{KeyType, SigningKey};
use kc_core::ratchet::{Seed, Step};
use kc_core::store::{KeyStore, RatchetStore, StoreError, StoreErrorKind};
use kc_keystore_hsm::{
    HsmError, HsmKeyStore, HsmRatchetStore, KeyStoreSettings, NewIdentity, NodeLabels,
    OpaqueRotation, Patience, PinSource, Pkcs11Uri, Token, generate_identity, generate_opaque_key,
    import_identity, init_token, list_objects,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::world::{
    Case, LABEL, PIN, SO_PIN, cases, folder, init, labels, module, open, settings, text, uri,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        the_token_goes_and_returns,
        a_single_failure_is_got_over,
        a_step_that_fails_anywhere_loses_nothing,
        a_beginning_that_fails_anywhere_is_gone_on_with,
        a_locked_pin,
        a_wrong_pin_is_tried_once,
        the_last_try_is_a_persons,
        so_is_that_of_the_security_officer,
        a_rotation_that_fails_anywhere_is_gone_on_with,
        a_failure_that_is_no_loss_is_not_retried,
        who_has_a_session_is_not_held_up_by_who_connects,
        a_token_that_does_not_answer_is_given_up,
    ]
}

/// The environment variable that names the real module to the failing one.
pub(crate) const REAL_MODULE: &str = "KC_HSM_TEST_REAL_MODULE";

const ANY: i32 = -1;
const LOGIN: i32 = 18;
const FIND_OBJECTS_INIT: i32 = 26;
const SIGN_INIT: i32 = 42;

const GENERAL_ERROR: u64 = 0x05;
const DEVICE_ERROR: u64 = 0x30;
const DEVICE_REMOVED: u64 = 0x32;
const PIN_LOCKED: u64 = 0xa4;
/// The module does not answer.
const HANG: u64 = 0xffff_ffff;
const SESSION_HANDLE_INVALID: u64 = 0xb3;

const FOREVER: u32 = 1_000_000;

/// More calls than any operation makes.
const MANY: u32 = 200;

/// Makes the module fail until it is dropped.
struct Fault;

impl Fault {
    /// Sets several faults: the function, the number of failures, and the answer.
    fn all(faults: &[(i32, u32, u64)]) -> Self {
        let lines = faults
            .iter()
            .map(|(function, times, code)| format!("{function} 0 {times} {code}\n"));
        let draft = folder().join("fault.draft");
        fs::write(&draft, lines.collect::<String>()).unwrap();
        fs::rename(draft, folder().join("fault")).unwrap();
        Self
    }

    fn of(function: i32, skip: u32, times: u32, code: u64) -> Self {
        fs::write(
            folder().join("fault"),
            format!("{function} {skip} {times} {code}"),
        )
        .unwrap();
        Self
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        fs::remove_file(folder().join("fault")).unwrap();
    }
}

/// Builds the failing module for this case.
fn faulty() -> Pkcs11Uri {
    let path: PathBuf = folder().join("faulty.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/token/faulty.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&path)
        .args([source, "-ldl"])
        .status();
    assert!(built.expect("a C compiler").success());
    let mut uri = uri();
    uri.module_path = Some(path);
    uri
}

fn pin() -> PinSource {
    PinSource::Text(text(PIN))
}

fn logins() -> usize {
    fs::read(folder().join("logins")).map_or(0, |logins| logins.len())
}

fn node() -> (Token, NewIdentity, HsmKeyStore) {
    init();
    let token = Token::open(&faulty(), pin()).unwrap();
    generate_opaque_key(&token, &labels()).unwrap();
    let identity = generate_identity(&token, &labels(), KeyType::Ed25519).unwrap();
    let store = open(&token, settings(&identity)).unwrap();
    (token, identity, store)
}

/// The errors of a node while the daemon or the card is gone, and its recovery.
fn the_token_goes_and_returns() {
    let (_, identity, store) = node();
    let sign = || store.sign(&identity.verifying_key, b"message");
    for code in [DEVICE_ERROR, DEVICE_REMOVED] {
        let fault = Fault::of(ANY, 0, FOREVER, code);
        for _ in 0..3 {
            let error = sign().unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Io);
            let source = std::error::Error::source(&error).unwrap();
            assert!(
                source.to_string().ends_with("the token is gone"),
                "{source}"
            );
        }
        let error = Token::open(&faulty(), pin()).unwrap_err();
        assert!(matches!(error, HsmError::Gone { .. }), "{error:?}");
        assert!(error.advice().contains("daemon"), "{}", error.advice());
        drop(fault);
        sign().unwrap();
    }
}

fn a_single_failure_is_got_over() {
    let (_, identity, store) = node();
    let wrapped = store.wrap_opaque(b"value").unwrap();
    for skip in 0..MANY {
        let fault = Fault::of(ANY, skip, 1, SESSION_HANDLE_INVALID);
        store.sign(&identity.verifying_key, b"message").unwrap();
        assert_eq!(store.unwrap_opaque(&wrapped).unwrap().expose(), b"value");
        store.wrap_opaque(b"value").unwrap();
        drop(fault);
    }
}

/// Lets all calls from one on fail, as if the process died there, and repeats that for each call.
fn a_step_that_fails_anywhere_loses_nothing() {
    let seed = || Seed::generate(&mut StdRng::seed_from_u64(11));
    init();
    let token = Token::open(&faulty(), pin()).unwrap();
    let path = folder().join("n1.ratchet");
    let mut ratchet = HsmRatchetStore::import(token.clone(), &labels(), &path, &seed()).unwrap();
    let mut expected = seed();
    let (mut failed, mut lost) = (0, 0);
    for skip in 0..MANY {
        let fault = Fault::of(ANY, skip, FOREVER, DEVICE_ERROR);
        let result = ratchet.step();
        drop(fault);
        failed += usize::from(result.is_err());
        for step in [result, ratchet.step()].into_iter().flatten() {
            // A step that was stored but not returned is skipped.
            if step.index() == expected.index() + 1 {
                expected = expected.advance().unwrap().stored().1;
                lost += 1;
            }
            let (same, next) = expected.advance().unwrap().stored();
            assert_eq!((step.index(), secret(&step)), (same.index(), secret(&same)));
            expected = next;
        }
        let keys = list_objects(&token).unwrap();
        assert_eq!(keys.len(), 1, "{skip}: {keys:?}");
    }
    assert!((10..150).contains(&failed), "{failed} steps failed");
    assert!(lost < 5, "{lost} steps were skipped");
}

fn a_beginning_that_fails_anywhere_is_gone_on_with() {
    init();
    let token = Token::open(&faulty(), pin()).unwrap();
    let key = SigningKey::generate(KeyType::Ed25519, &mut StdRng::seed_from_u64(12));
    for skip in 0..MANY {
        let labels = NodeLabels::fresh("n1").unwrap();
        let begin = || -> Result<KeyStoreSettings, HsmError> {
            generate_opaque_key(&token, &labels)?;
            let imported = import_identity(&token, &labels, &key)?;
            let drawn = generate_identity(&token, &labels, KeyType::Hybrid)?;
            let mut both = settings(&drawn);
            both.pinned.push(imported.verifying_key);
            // The self-test of the hybrid key takes long.
            both.key_types = Some(vec![KeyType::Ed25519]);
            Ok(both)
        };
        let fault = Fault::of(ANY, skip, FOREVER, DEVICE_ERROR);
        let result = begin();
        drop(fault);
        if result.is_ok() {
            assert!(skip > 10, "it takes more calls than {skip}");
            return;
        }
        HsmKeyStore::open(token.clone(), labels.clone(), begin().unwrap()).unwrap();
    }
    panic!("it takes more than {MANY} calls");
}

fn secret(step: &Step) -> [u8; 32] {
    *step.data_key(&"t".into()).expose()
}

fn a_locked_pin() {
    init();
    let _fault = Fault::of(LOGIN, 0, FOREVER, PIN_LOCKED);
    let error = Token::open(&faulty(), pin()).unwrap_err();
    assert!(matches!(error, HsmError::PinLocked { .. }), "{error:?}");
    assert!(error.advice().contains("security officer"));
    assert_eq!(logins(), 1);
    assert_eq!(StoreError::from(error).kind(), StoreErrorKind::Permission);
}

fn a_wrong_pin_is_tried_once() {
    init();
    let path = folder().join("pin");
    fs::write(&path, PIN).unwrap();
    // Two tokens, like the keystore and the ratchet of a node.
    let uri = faulty();
    let open = || Token::open(&uri, PinSource::File(path.clone())).unwrap();
    let tokens = [open(), open()];
    assert_eq!(logins(), 2);
    // The PIN is changed, and then the token is removed and returns.
    fs::write(&path, "654321").unwrap();
    let fault = Fault::of(ANY, 0, FOREVER, DEVICE_REMOVED);
    for token in &tokens {
        list_objects(token).unwrap_err();
    }
    drop(fault);
    for token in tokens.iter().cycle().take(10) {
        let error = list_objects(token).unwrap_err();
        assert!(matches!(error, HsmError::PinIncorrect { .. }), "{error:?}");
    }
    assert_eq!(logins(), 3);
    fs::write(&path, PIN).unwrap();
    list_objects(&tokens[0]).unwrap();
    assert_eq!(logins(), 4);
}

fn the_last_try_is_a_persons() {
    init();
    fs::write(folder().join("last-try"), "").unwrap();
    let path = folder().join("pin");
    fs::write(&path, "654321").unwrap();
    let uri = faulty();
    let error = Token::open(&uri, PinSource::File(path)).unwrap_err();
    assert!(matches!(error, HsmError::PinLastTry { .. }), "{error:?}");
    assert_eq!(logins(), 0);
    Token::open(&uri, pin()).unwrap();
    assert_eq!(logins(), 1);
}

fn so_is_that_of_the_security_officer() {
    let module_path = faulty().module_path.unwrap();
    let blank = module().get_slots_with_token().unwrap()[0];
    let so_pin = AuthPin::from(SO_PIN);
    module().init_token(blank, &so_pin, LABEL).unwrap();

    fs::write(folder().join("last-try"), "").unwrap();
    let init = || init_token(&module_path, LABEL, &text(SO_PIN), &text(PIN));
    let error = init().unwrap_err();
    assert!(matches!(error, HsmError::PinLastTry { .. }), "{error:?}");
    assert_eq!(logins(), 0);
    fs::remove_file(folder().join("last-try")).unwrap();
    init().unwrap();
}

fn a_rotation_that_fails_anywhere_is_gone_on_with() {
    let (token, identity, store) = node();
    let mut value = store.wrap_opaque(b"value").unwrap();
    let rotate = |value: &[u8]| -> Result<Vec<u8>, HsmError> {
        let rotation = OpaqueRotation::begin(token.clone(), labels())?;
        let rewrapped = rotation.rewrap(value)?;
        rotation.finish()?;
        Ok(rewrapped)
    };
    for skip in 0..MANY {
        let fault = Fault::of(ANY, skip, FOREVER, DEVICE_ERROR);
        let rotated = rotate(&value);
        drop(fault);
        match open(&token, settings(&identity)) {
            Err(HsmError::RotationUnfinished { .. }) => {
                let drawn = generate_opaque_key(&token, &labels());
                assert!(matches!(drawn, Err(HsmError::RotationUnfinished { .. })));
            }
            opened => drop(opened.unwrap()),
        }
        if rotated.is_ok() {
            assert!(skip > 10, "it takes more calls than {skip}");
            return;
        }
        value = rotate(&value).unwrap();
        let store = open(&token, settings(&identity)).unwrap();
        assert_eq!(store.unwrap_opaque(&value).unwrap().expose(), b"value");
        assert_eq!(list_objects(&token).unwrap().len(), 3);
    }
    panic!("it takes more than {MANY} calls");
}

fn a_failure_that_is_no_loss_is_not_retried() {
    let (_, identity, store) = node();
    let before = logins();
    let fault = Fault::of(SIGN_INIT, 0, 1, GENERAL_ERROR);
    let error = store.sign(&identity.verifying_key, b"message").unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Io);
    drop(fault);
    store.sign(&identity.verifying_key, b"message").unwrap();
    assert_eq!(logins(), before);
}

/// Waits until the module has counted this many logins.
fn await_logins(wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while logins() < wanted {
        assert!(Instant::now() < deadline, "{} logins", logins());
        thread::sleep(Duration::from_millis(10));
    }
}

fn who_has_a_session_is_not_held_up_by_who_connects() {
    let (token, identity, store) = node();
    let signs = (SIGN_INIT, FOREVER, HANG);
    let lost = (FIND_OBJECTS_INIT, 1, SESSION_HANDLE_INVALID);
    let connects = (LOGIN, FOREVER, HANG);
    let _fault = Fault::all(&[signs, lost, connects]);
    let (signed, is_signed) = mpsc::channel();
    let key = identity.verifying_key;
    thread::spawn(move || signed.send(store.sign(&key, b"message")));
    let before = logins();
    thread::spawn(move || list_objects(&token));
    await_logins(before + 1);

    // The signing thread gets its answer while the other one still waits for its login.
    let _fault = Fault::all(&[connects]);
    let signed = is_signed.recv_timeout(Duration::from_secs(60));
    signed.expect("a signature").unwrap();
    exit(0);
}

fn a_token_that_does_not_answer_is_given_up() {
    init();
    let uri = faulty();
    for function in [LOGIN, ANY] {
        let fault = Fault::of(function, 0, FOREVER, HANG);
        let asked = uri.clone();
        let opened = Patience::default().run(move || Token::open(&asked, pin()));
        let error = opened.unwrap_err();
        assert!(matches!(error, HsmError::Silent), "{error:?}");
        assert!(error.advice().contains("daemon"), "{}", error.advice());
        assert_eq!(StoreError::from(error).kind(), StoreErrorKind::Timeout);
        drop(fault);
    }
}
