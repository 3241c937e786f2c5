//! Keys of a node on a PKCS#11 token: signing keys that never leave the token, and a ratchet that cannot be rolled back
//! unless the token can be rolled back, too.
//!
//! | part | purpose |
//! |---|---|
//! | [`Pkcs11Uri`] | `pkcs11:token=kc;object=kc:n1:id?module-path=...`: names a token and an object on it |
//! | [`PinSource`] | the source of the PIN: a file, the environment or a prompt; never the configuration |
//! | [`Token`] | a token that a process has logged in to; a removed token is found again by its URI when it returns |
//! | [`Patience`] | waits for a token with a time limit, in case the token does not answer |
//! | [`Capabilities`] | a table of the mechanisms that nodes use, which shows whether the token has each |
//! | [`NodeLabels`] | the labels of a node's objects, `kc:<node>:<instance>:<role>`, and of a root of trust, `kc-root:<name>:<role>` |
//! | [`HsmKeyStore`] | signs and seals on the token |
//! | [`open_signer`] | opens one key, to sign as a root of trust or a provisioner |
//! | [`HsmRatchetStore`] | a ratchet: a sealed file, and on the token the key of the current step |
//! | [`init_token`], [`generate_identity`], [`import_identity`], [`generate_opaque_key`] | the steps that set up a token and a node |
//! | [`list_objects`], [`OpaqueRotation`] | list the objects on a token; replace the key that seals values of the configuration |
//! | [`nodes_called`], [`destroy_node_keys`] | find the nodes with a given id; destroy the keys of an abandoned node |
//! | [`relabel_signer`] | renames keys of a root of trust or a provisioner that an earlier version labelled like keys of a node |
//! | [`HsmError`] | an error, with [advice](HsmError::advice) |
//!
//! # Storage of each secret
//!
//! | secret | storage |
//! |---|---|
//! | Ed25519 key, and the Ed25519 half of a hybrid key (version 4) | token; sensitive, non-extractable |
//! | SLH-DSA half of a hybrid key | token if it can hold this half, else a blob sealed by the token |
//! | key that seals values of the configuration | token; sensitive, non-extractable |
//! | ratchet | a file, sealed by a key on the token that lives for one step |
//! | ephemeral keys of key exchanges, data keys | memory |
//!
//! An attacker with a copy of the host's files learns nothing without the token. An attacker who controls the running
//! host can use the keys for as long as that control lasts, but cannot copy keys that are on a hardware token. Two
//! secrets are opened in the host's memory: the ratchet's secret, at each step, and a sealed SLH-DSA half, at each
//! signature.
//!
//! # Threads
//!
//! Every call blocks until the token answers; [`Patience`] bounds the wait. The actors call the keystore and the
//! ratchet on threads of their own. Signing with a hybrid key takes long, so call it on such a thread, too. Sealing and
//! opening of messages never use the token. While the token is removed, a node continues with the data keys that it has
//! in memory.
//!
//! # Performance
//!
//! On two cores of an AMD EPYC, mostly idle, by `cargo run --release -p kc-keystore-hsm --example throughput`:
//!
//! | | SoftHSM 2.6.1 | kryoptic 1.5.4 |
//! |---|---|---|
//! | open the token, then the keystore | 1 ms, 1 ms | 1 ms, 2 ms |
//! | the same with a hybrid key, including its self-test | 70 to 77 ms | 36 to 38 ms |
//! | signatures per second, Ed25519 | 7700, up to 12500 with four threads | 12300 to 13300, not more with several threads |
//! | signatures per second, hybrid | 15: the SLH-DSA half in memory | 33: on the token |
//! | values of 256 bytes per second | 41000 to 58000 sealed, 57000 opened | 30000 sealed, 30000 opened |
//! | ratchet steps per second, files in memory | 1100 | 1100 |
//! | the same on a disk, which is flushed twice a step | 190 | 180 |
//!
//! # Example
//!
//! ```no_run
//! use std::path::Path;
//!
//! use kc_core::keys::KeyType;
//! use kc_core::store::{KeyStore, RatchetStore};
//! use kc_keystore_hsm::{
//!     HsmKeyStore, HsmRatchetStore, KeyStoreSettings, NodeLabels, PinSource, Pkcs11Uri, Token,
//!     generate_identity, generate_opaque_key,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let uri: Pkcs11Uri = "pkcs11:token=kc?module-path=/usr/lib/softhsm/libsofthsm2.so".parse()?;
//! let token = Token::open(&uri, PinSource::Environment("KC_HSM_PIN".into()))?;
//! let labels = NodeLabels::fresh("n1")?;
//! let path = Path::new("n1.ratchet");
//!
//! // Once:
//! generate_opaque_key(&token, &labels)?;
//! let identity = generate_identity(&token, &labels, KeyType::Ed25519)?;
//! HsmRatchetStore::create(token.clone(), &labels, path)?;
//!
//! // At each start:
//! let mut settings = KeyStoreSettings::default();
//! settings.pinned = vec![identity.verifying_key.clone()];
//! let keys = HsmKeyStore::open(token.clone(), labels.clone(), settings)?;
//! let mut ratchet = HsmRatchetStore::open(token, &labels, path)?;
//!
//! let signed = keys.sign(&identity.verifying_key, b"message")?;
//! assert_eq!(identity.verifying_key.verify(&signed)?, b"message");
//! assert_eq!(ratchet.step()?.index(), 0);
//! # Ok(())
//! # }
//! ```

mod aead;
mod capabilities;
mod error;
mod file;
mod inventory;
mod key_store;
mod keys;
mod labels;
mod module;
mod opaque;
mod patience;
mod pin;
mod random;
mod ratchet_store;
mod refused;
mod setup;
mod token;
mod uri;

pub use capabilities::{Capabilities, Capability};
pub use error::{HsmError, TokenFault};
pub use inventory::{
    ListedObject, NodeOnToken, destroy_node_keys, list_objects, nodes_called, relabel_signer,
};
pub use key_store::{HsmKeyStore, KeyStoreSettings, open_signer};
pub use labels::{NodeLabels, ROOT_NAME};
pub use module::init_token;
pub use patience::Patience;
pub use pin::{PIN_VARIABLE, PinSource};
pub use ratchet_store::HsmRatchetStore;
pub use setup::{
    NewIdentity, OpaqueRotation, generate_identity, generate_opaque_key, import_identity,
};
pub use token::Token;
pub use uri::{Pkcs11Uri, UriError};
