use std::sync::Arc;
use std::time::Duration;

use kc_core::message::{Envelope, Unopened};
use kc_core::ratchet::Component;
use kc_core::types::{KeyId, TopicScheme};

use super::{Awaiting, CryptoTables, Outcome, WaitingRecords};
use crate::actors::key_table::AwaitKey;
use crate::slot::Slot;

/// Opens Kafka keys and values. Cheap to clone, and to use from any thread.
#[derive(Clone, Debug)]
pub struct Deserializer {
    tables: Arc<CryptoTables>,
    await_key: Slot<AwaitKey>,
    first_wait: Duration,
}

impl Deserializer {
    /// Over the tables that a key table keeps, and where to wait for keys; `first_wait` is how long the
    /// first sight of a key waits.
    #[must_use]
    pub fn new(tables: Arc<CryptoTables>, await_key: Slot<AwaitKey>, first_wait: Duration) -> Self {
        Self {
            tables,
            await_key,
            first_wait,
        }
    }

    /// Opens a Kafka key. Never waits: if its key is missing, the exchange is told, and that is the
    /// outcome.
    pub fn try_open_key(&self, topic: &str, sealed: &[u8]) -> Outcome {
        self.try_open(topic, Component::Key, sealed)
    }

    /// Opens a Kafka value, as [`try_open_key`](Self::try_open_key) does.
    pub fn try_open_value(&self, topic: &str, sealed: &[u8]) -> Outcome {
        self.try_open(topic, Component::Value, sealed)
    }

    /// Opens a Kafka key; if its key is seen for the first time, waits for the exchange as long as the
    /// configuration says (protocol §9).
    pub async fn open_key(&self, topic: &str, sealed: &[u8]) -> Outcome {
        self.open(topic, Component::Key, sealed).await
    }

    /// Opens a Kafka value, as [`open_key`](Self::open_key) does.
    pub async fn open_value(&self, topic: &str, sealed: &[u8]) -> Outcome {
        self.open(topic, Component::Value, sealed).await
    }

    /// Opens a Kafka key or value into `plaintext`, replacing what it holds, without allocating if it has
    /// the room.
    ///
    /// # Errors
    /// The outcome, if it is no plaintext.
    pub fn open_into(
        &self,
        topic: &str,
        component: Component,
        sealed: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<(), Outcome> {
        if self.tables.is_closed() {
            return Err(Outcome::Closed);
        }
        let root_topic = self.tables.scheme.root_str(topic);
        let opened = self
            .tables
            .ring()
            .open_into(root_topic, component, sealed, plaintext);
        opened.map_err(|why| self.outcome(root_topic, why))
    }

    /// Tells the exchange that a Kafka key or value will need its key, if it is missing, so that the keys of
    /// many records are asked for at once. Never waits.
    pub fn foresee(&self, topic: &str, sealed: &[u8]) {
        let root_topic = self.tables.scheme.root_str(topic);
        if let Ok(Envelope { key_id, .. }) = Envelope::parse(sealed)
            && !self.tables.ring().knows(root_topic, &key_id)
        {
            self.tables.signal(root_topic, key_id);
        }
    }

    pub(crate) fn waiting_records(&self) -> WaitingRecords {
        WaitingRecords::new(Arc::clone(&self.tables))
    }

    fn try_open(&self, topic: &str, component: Component, sealed: &[u8]) -> Outcome {
        let mut plaintext = Vec::new();
        match self.open_into(topic, component, sealed, &mut plaintext) {
            Ok(()) => Outcome::Plaintext(plaintext),
            Err(outcome) => outcome,
        }
    }

    /// How topics are named.
    pub(crate) fn scheme(&self) -> &TopicScheme {
        &self.tables.scheme
    }

    async fn open(&self, topic: &str, component: Component, sealed: &[u8]) -> Outcome {
        match self.try_open(topic, component, sealed) {
            Outcome::AwaitingKey {
                id,
                why: Awaiting::NotYet,
            } if self.came(topic, id).await => self.try_open(topic, component, sealed),
            outcome => outcome,
        }
    }

    async fn came(&self, topic: &str, id: KeyId) -> bool {
        let root_topic = self.tables.scheme.root_of(topic);
        let wait = self.first_wait;
        let came = self
            .await_key
            .send(AwaitKey {
                root_topic,
                id,
                wait,
            })
            .await;
        came.unwrap_or(false)
    }

    fn outcome(&self, root_topic: &str, why: Unopened) -> Outcome {
        match why {
            Unopened::AwaitingKey(id) => {
                self.tables.signal(root_topic, id);
                let why = self.tables.why(root_topic, &id);
                if why == Awaiting::Unanswered && self.tables.ring().is_denied(root_topic, &id) {
                    return Outcome::Denied { id };
                }
                Outcome::AwaitingKey { id, why }
            }
            Unopened::Unauthentic(id) => {
                self.tables.signal(root_topic, id);
                let why = self.tables.why(root_topic, &id);
                Outcome::Unauthentic { id, why }
            }
            Unopened::Foreign(foreign) => Outcome::Foreign(foreign),
        }
    }
}
