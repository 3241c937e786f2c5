//! The token and the folder of a case.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use kc_core::keys::KeyType;
use kc_core::secret::SecretText;
use kc_keystore_hsm::{
    HsmError, HsmKeyStore, KeyStoreSettings, NewIdentity, NodeLabels, PinSource, Pkcs11Uri, Token,
    generate_identity, generate_opaque_key, init_token,
};

pub(crate) const CASE: &str = "KC_HSM_TEST_CASE";
pub(crate) const FOLDER: &str = "KC_HSM_TEST_FOLDER";
pub(crate) const LABEL: &str = "kc";
pub(crate) const PIN: &str = "123456";
pub(crate) const SO_PIN: &str = "87654321";

/// A test that runs in a process of its own.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) run: fn(),
    /// Runs only when another case starts it.
    pub(crate) hidden: bool,
    /// Needs behaviour of SoftHSM; reported as ignored on another module.
    pub(crate) only_on_softhsm: bool,
}

impl Case {
    pub(crate) fn new(name: &str, run: fn()) -> Self {
        Self {
            name: name.to_owned(),
            run,
            hidden: false,
            only_on_softhsm: false,
        }
    }

    /// Named after its module and its function.
    pub(crate) fn of(module: &str, function: &str, run: fn()) -> Self {
        let module = module.rsplit("::").next().unwrap();
        Self::new(&format!("{module}::{function}"), run)
    }
}

/// Makes a list of cases out of functions.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        vec![$($crate::world::Case::of(module_path!(), stringify!($case), $case)),*]
    };
}
pub(crate) use cases;

pub(crate) fn only_on_softhsm(mut cases: Vec<Case>) -> Vec<Case> {
    for case in &mut cases {
        case.only_on_softhsm = true;
    }
    cases
}

pub(crate) fn module_path() -> PathBuf {
    env::var_os("KC_HSM_TEST_MODULE").map_or_else(
        || PathBuf::from("/usr/lib/softhsm/libsofthsm2.so"),
        PathBuf::from,
    )
}

pub(crate) fn is_softhsm() -> bool {
    module_path().ends_with("libsofthsm2.so")
}

/// Writes the configuration of the module, for tokens in this folder. Returns the variable that names it, and its path.
pub(crate) fn write_configuration(folder: &Path) -> (&'static str, PathBuf) {
    let path = folder.join("module.conf");
    let tokens = folder.join("tokens");
    fs::create_dir(&tokens).unwrap();
    let tokens = tokens.display();
    if is_softhsm() {
        let text = format!(
            "directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
        );
        fs::write(&path, text).unwrap();
        ("SOFTHSM2_CONF", path)
    } else {
        let slot = |n| {
            format!("[[slots]]\nslot = {n}\ndbtype = \"sqlite\"\ndbargs = \"{tokens}/{n}.sql\"\n")
        };
        fs::write(&path, slot(1) + &slot(2)).unwrap();
        ("KRYOPTIC_CONF", path)
    }
}

/// Returns the folder of this case.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env::var_os(FOLDER).unwrap())
}

pub(crate) fn text(text: &str) -> SecretText {
    SecretText::from(text.to_owned())
}

/// Initializes the token of this case.
pub(crate) fn init() {
    init_token(&module_path(), LABEL, &text(SO_PIN), &text(PIN)).unwrap();
}

pub(crate) fn uri() -> Pkcs11Uri {
    let mut uri = Pkcs11Uri::default();
    uri.token = Some(LABEL.to_owned());
    uri.module_path = Some(module_path());
    uri
}

/// Opens the token, as a program that starts does.
pub(crate) fn token() -> Token {
    Token::open(&uri(), PinSource::Text(text(PIN))).unwrap()
}

/// Initializes and opens the token of this case.
pub(crate) fn fresh_token() -> Token {
    init();
    token()
}

pub(crate) fn labels() -> NodeLabels {
    NodeLabels::of_object("kc:n1:id").unwrap()
}

/// Makes a node on a fresh token.
pub(crate) fn node(key_type: KeyType) -> (Token, NewIdentity) {
    let token = fresh_token();
    generate_opaque_key(&token, &labels()).unwrap();
    let identity = generate_identity(&token, &labels(), key_type).unwrap();
    (token, identity)
}

pub(crate) fn settings(identity: &NewIdentity) -> KeyStoreSettings {
    let mut settings = KeyStoreSettings::default();
    settings.pinned = vec![identity.verifying_key.clone()];
    settings.sealed_slh_dsa = identity.sealed_slh_dsa.clone();
    settings
}

pub(crate) fn open(token: &Token, settings: KeyStoreSettings) -> Result<HsmKeyStore, HsmError> {
    HsmKeyStore::open(token.clone(), labels(), settings)
}

/// Returns the module, used without the crate.
pub(crate) fn module() -> Pkcs11 {
    let module = Pkcs11::new(module_path()).unwrap();
    // The crate has usually initialized it already.
    let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    module
}

/// Opens a session without the crate.
pub(crate) fn intruder() -> Session {
    let module = module();
    let slots = module.get_slots_with_initialized_token().unwrap();
    let mut ours = slots
        .into_iter()
        .filter(|slot| module.get_token_info(*slot).unwrap().label() == LABEL);
    let session = module.open_rw_session(ours.next().unwrap()).unwrap();
    let _ = session.login(UserType::User, Some(&AuthPin::from(PIN)));
    session
}
