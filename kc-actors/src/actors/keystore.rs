//! The role of the keystore. Its actor alone uses the signing keys of the node.

use std::sync::Arc;

use actix::{Actor, Handler, Message, SyncContext};
use kc_core::keys::VerifyingKey;
use kc_core::store::{KeyStore, StoreError};

use crate::role::role;

role! {
    /// The messages that the keystore actor answers: one [`Slot`](crate::Slot) for each.
    pub struct KeystoreRole {
        /// Signs a message with one of the node's keys.
        sign: Sign,
    }
}

/// Signs a message. Returns the signature followed by the message (protocol §5).
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<u8>, StoreError>")]
pub struct Sign {
    /// The key to sign with.
    pub key: VerifyingKey,
    /// The message.
    pub message: Vec<u8>,
}

/// The default actor of the keystore. It runs on a thread of its own, because signing with a token or with a hybrid key
/// takes long.
#[derive(Clone, Debug)]
pub struct KeystoreActor {
    store: Arc<dyn KeyStore>,
}

impl KeystoreActor {
    /// Returns an actor that signs with `store`.
    #[must_use]
    pub fn new(store: Arc<dyn KeyStore>) -> Self {
        Self { store }
    }
}

impl Actor for KeystoreActor {
    type Context = SyncContext<Self>;
}

impl Handler<Sign> for KeystoreActor {
    type Result = Result<Vec<u8>, StoreError>;

    fn handle(&mut self, Sign { key, message }: Sign, _: &mut Self::Context) -> Self::Result {
        self.store.sign(&key, &message)
    }
}
