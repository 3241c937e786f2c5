use std::sync::Arc;

use actix::{Actor, Handler, SyncContext};
use kc_core::store::{KeyStore, StoreError};

use crate::messages::Sign;

/// Signs with the node's keys. Runs on a thread of its own, because a token or a hybrid key takes its
/// time.
#[derive(Clone, Debug)]
pub struct KeystoreActor {
    store: Arc<dyn KeyStore>,
}

impl KeystoreActor {
    /// Over a keystore.
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
