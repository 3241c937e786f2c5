use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kc_core::backend::end_of;
use kc_core::message::{Envelope, Unopened};
use kc_core::ratchet::Component;
use kc_core::types::{KeyId, TopicScheme};
use tokio::time::{Instant, timeout_at};

use super::{Awaiting, CryptoTables, OpenFailure, WaitingRecords};
use crate::actors::key_table::AwaitKey;
use crate::slot::Slot;

/// Time after which a waiting call looks again although no key has arrived.
const LOOK: Duration = Duration::from_secs(1);

/// Opens Kafka keys and values. Works with any Kafka client and from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Opener {
    tables: Arc<CryptoTables>,
    scheme: Arc<TopicScheme>,
    await_key: Slot<AwaitKey>,
    first_wait: Duration,
}

impl Opener {
    /// Returns an opener that reads `tables`. A key table must update `tables` and answer `await_key`. The first
    /// message that needs a missing data key waits for the key through `await_key`, for at most `first_wait`.
    #[must_use]
    pub fn new(tables: Arc<CryptoTables>, await_key: Slot<AwaitKey>, first_wait: Duration) -> Self {
        Self {
            scheme: Arc::clone(&tables.scheme),
            tables,
            await_key,
            first_wait,
        }
    }

    /// Opens a Kafka value of `topic`. If the data key is missing and this is the first message that needs it, the
    /// call waits for the key exchange. The setting `deser_initial_wait_intervals` limits this wait (protocol §9).
    ///
    /// Cancel safe: opening changes nothing, and the key exchange continues if the future is dropped.
    ///
    /// # Errors
    /// Returns [`OpenFailure`] if the data key is missing, only denied nodes have sent the data key, no data key opens
    /// the value, the value is not sealed, or the node is closed. Opening can succeed later if
    /// [`OpenFailure::may_still_open`] returns true.
    pub async fn open_value(&self, topic: &str, sealed: &[u8]) -> Result<Vec<u8>, OpenFailure> {
        self.open(topic, Component::Value, sealed).await
    }

    /// Opens a Kafka key as [`open_value`](Self::open_value) opens a value.
    ///
    /// Cancel safe: opening changes nothing, and the key exchange continues if the future is dropped.
    ///
    /// # Errors
    /// Returns the errors of [`open_value`](Self::open_value).
    pub async fn open_key(&self, topic: &str, sealed: &[u8]) -> Result<Vec<u8>, OpenFailure> {
        self.open(topic, Component::Key, sealed).await
    }

    /// Opens a Kafka value. If the data key is missing, waits for the key exchange, but at most for `patience`.
    ///
    /// Cancel safe: the data key stays requested.
    ///
    /// # Errors
    /// Returns [`OpenFailure`] if the value cannot be opened, or could not be opened in time.
    pub async fn open_value_within(
        &self,
        topic: &str,
        sealed: &[u8],
        patience: Duration,
    ) -> Result<Vec<u8>, OpenFailure> {
        self.open_within(topic, Component::Value, sealed, patience)
            .await
    }

    /// Opens a Kafka key as [`open_value_within`](Self::open_value_within) opens a value.
    ///
    /// Cancel safe: the data key stays requested.
    ///
    /// # Errors
    /// Returns [`OpenFailure`] if the key cannot be opened, or could not be opened in time.
    pub async fn open_key_within(
        &self,
        topic: &str,
        sealed: &[u8],
        patience: Duration,
    ) -> Result<Vec<u8>, OpenFailure> {
        self.open_within(topic, Component::Key, sealed, patience)
            .await
    }

    /// Opens a Kafka value without waiting. If the data key is missing, requests it from the key exchange.
    ///
    /// # Errors
    /// Returns the errors of [`open_value`](Self::open_value).
    pub fn try_open_value(&self, topic: &str, sealed: &[u8]) -> Result<Vec<u8>, OpenFailure> {
        self.try_open(topic, Component::Value, sealed)
    }

    /// Opens a Kafka key as [`try_open_value`](Self::try_open_value) opens a value.
    ///
    /// # Errors
    /// Returns the errors of [`open_value`](Self::open_value).
    pub fn try_open_key(&self, topic: &str, sealed: &[u8]) -> Result<Vec<u8>, OpenFailure> {
        self.try_open(topic, Component::Key, sealed)
    }

    /// Opens a Kafka key or value, and replaces the content of `plaintext` by the result. Never waits. Does not
    /// allocate if the capacity of `plaintext` is large enough.
    ///
    /// # Errors
    /// Returns the errors of [`open_value`](Self::open_value).
    pub fn try_open_into(
        &self,
        topic: &str,
        component: Component,
        sealed: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<(), OpenFailure> {
        if self.tables.is_closed() {
            return Err(OpenFailure::Closed);
        }
        let root_topic = self.scheme.root_str(topic);
        let ring = self.tables.ring();
        let opened = ring.open_into(&root_topic, component, sealed, plaintext);
        opened.map_err(|why| self.failure(topic, why))
    }

    /// Opens Kafka keys or values of `topic` without waiting, in less time than one by one. Appends one result for each of
    /// them to `opened`, in order. The plaintexts share one buffer, which is freed when the last of them is dropped.
    /// Requests missing data keys from the key exchange.
    ///
    /// # Errors
    /// Each result may be an error of [`open_value`](Self::open_value).
    pub fn try_open_batch<'s>(
        &self,
        topic: &str,
        component: Component,
        sealed: impl Iterator<Item = &'s [u8]> + Clone,
        opened: &mut Vec<Result<Bytes, OpenFailure>>,
    ) {
        match self.open_batch(topic, component, sealed.clone()) {
            Ok(batch) => opened
                .extend(batch.map(|plaintext| plaintext.map_err(|why| self.failure(topic, why)))),
            Err(closed) => opened.extend(sealed.map(|_| Err(closed.clone()))),
        }
    }

    /// Opens Kafka keys or values as [`try_open_batch`](Self::try_open_batch) does, but requests no data keys. For each
    /// result that the caller acts on, [`failure`](Self::failure) does so.
    ///
    /// # Errors
    /// Returns [`OpenFailure::Closed`] if the node is closed.
    pub(crate) fn open_batch<'s>(
        &self,
        topic: &str,
        component: Component,
        sealed: impl Iterator<Item = &'s [u8]> + Clone,
    ) -> Result<impl Iterator<Item = Result<Bytes, Unopened>>, OpenFailure> {
        if self.tables.is_closed() {
            return Err(OpenFailure::Closed);
        }
        let root_topic = self.scheme.root_str(topic);
        let (mut count, mut bytes) = (0, 0);
        for sealed in sealed.clone() {
            count += 1;
            bytes += sealed.len();
        }
        let mut places = Vec::with_capacity(count);
        let mut plaintexts = Vec::with_capacity(bytes);
        let ring = self.tables.ring();
        ring.open_batch(&root_topic, component, sealed, &mut plaintexts, |place| {
            places.push(place);
        });
        let plaintexts = Bytes::from(plaintexts);
        let places = places.into_iter();
        Ok(places.map(move |place| place.map(|place| plaintexts.slice(place))))
    }

    /// Requests the data key of a message that will be opened later, if the data key is missing. With this call the
    /// data keys of many messages can be requested at once. Never waits.
    pub fn foresee(&self, topic: &str, sealed: &[u8]) {
        let root_topic = self.scheme.root_str(topic);
        if let Ok(Envelope { key_id, .. }) = Envelope::parse(sealed)
            && !self.tables.ring().knows(&root_topic, &key_id)
        {
            self.tables.signal(&root_topic, key_id);
        }
    }

    pub(crate) fn scheme(&self) -> &Arc<TopicScheme> {
        &self.scheme
    }

    pub(crate) fn tables(&self) -> &Arc<CryptoTables> {
        &self.tables
    }

    pub(crate) fn waiting_records(&self) -> WaitingRecords {
        WaitingRecords::new(Arc::clone(&self.tables), Arc::clone(&self.scheme))
    }

    /// Returns an opener for a consumer that reads the topics `named`, and also topics that match a regular expression.
    /// See [`RootTopics::for_named`](kc_core::types::RootTopics::for_named).
    pub(crate) fn for_named<'n>(&self, named: impl IntoIterator<Item = &'n str> + Clone) -> Self {
        let scheme = TopicScheme {
            copies: self.scheme.copies.for_named(named),
            ..TopicScheme::clone(&self.scheme)
        };
        Self {
            scheme: Arc::new(scheme),
            ..self.clone()
        }
    }

    fn try_open(
        &self,
        topic: &str,
        component: Component,
        sealed: &[u8],
    ) -> Result<Vec<u8>, OpenFailure> {
        let mut plaintext = Vec::new();
        self.try_open_into(topic, component, sealed, &mut plaintext)?;
        Ok(plaintext)
    }

    async fn open(
        &self,
        topic: &str,
        component: Component,
        sealed: &[u8],
    ) -> Result<Vec<u8>, OpenFailure> {
        match self.try_open(topic, component, sealed) {
            Err(OpenFailure::AwaitingKey {
                id,
                why: Awaiting::NotYet,
            }) if self.came(topic, id).await || self.tables.is_closed() => {
                self.try_open(topic, component, sealed)
            }
            opened => opened,
        }
    }

    async fn open_within(
        &self,
        topic: &str,
        component: Component,
        sealed: &[u8],
        patience: Duration,
    ) -> Result<Vec<u8>, OpenFailure> {
        let end = end_of(Instant::now(), patience);
        let mut arrivals = self.tables.arrivals();
        loop {
            let failure = match self.try_open(topic, component, sealed) {
                Err(failure) if failure.may_still_open() => failure,
                opened => return opened,
            };
            if Instant::now() >= end {
                return Err(failure);
            }
            // The reason why a key is missing can change although no key arrives.
            let next_look = end.min(Instant::now() + LOOK);
            let _ = timeout_at(next_look, arrivals.changed()).await;
        }
    }

    /// Waits until the key table has a data key, but at most for the time of [`AwaitKey`] or until the node closes.
    /// Returns whether the key table has the key.
    async fn came(&self, topic: &str, id: KeyId) -> bool {
        let message = AwaitKey {
            root_topic: self.scheme.root_of(topic),
            id,
            wait: self.first_wait,
        };
        self.await_key.send(message).await.unwrap_or(false)
    }

    /// Returns the failure to open a key or value of `topic`. Requests the data key that is missing.
    pub(crate) fn failure(&self, topic: &str, why: Unopened) -> OpenFailure {
        let root_topic = &*self.scheme.root_str(topic);
        match why {
            Unopened::AwaitingKey(id) => {
                self.tables.signal(root_topic, id);
                let why = self.tables.why(root_topic, &id);
                if why == Awaiting::Unanswered && self.tables.ring().is_denied(root_topic, &id) {
                    return OpenFailure::Denied { id };
                }
                OpenFailure::AwaitingKey { id, why }
            }
            Unopened::Unauthentic(id) => {
                self.tables.signal(root_topic, id);
                let why = self.tables.why(root_topic, &id);
                OpenFailure::Unauthentic { id, why }
            }
            Unopened::Foreign(foreign) => OpenFailure::Foreign(foreign),
        }
    }
}

#[cfg(test)]
mod tests {
    use kc_core::exchange::{Missing, MissingKeys};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A value sealed with an unknown data key.
    fn sealed() -> Vec<u8> {
        let mut sealed = vec![0x01, 0x93, 7, 0xc4, 16];
        sealed.extend([0; 16]);
        sealed.extend([0xc4, 16]);
        sealed.extend([0; 16]);
        sealed
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_with_patience_ends_with_the_reason_at_the_end() {
        let (tables, _signals) = CryptoTables::new(TopicScheme::default());
        let opener = Opener::new(Arc::clone(&tables), Slot::unconnected(), Duration::ZERO);
        let since = Instant::now();
        let sealed = sealed();
        let opening = opener.open_value_within("t", &sealed, PATIENCE);
        let denying = async {
            tokio::time::sleep(PATIENCE / 2).await;
            tables.publish_awaiting(vec![MissingKeys {
                root_topic: "t".into(),
                own: Some(Missing::Expired),
                unanswered: Vec::new(),
            }]);
        };
        let (opened, ()) = tokio::join!(opening, denying);
        let id = KeyId::Short(7);
        let why = Awaiting::Expired;
        assert_eq!(opened, Err(OpenFailure::AwaitingKey { id, why }));
        assert_eq!(since.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_with_patience_ends_when_the_node_is_closed() {
        let (tables, _signals) = CryptoTables::new(TopicScheme::default());
        let opener = Opener::new(Arc::clone(&tables), Slot::unconnected(), Duration::ZERO);
        let since = Instant::now();
        let sealed = sealed();
        let opening = opener.open_value_within("t", &sealed, PATIENCE);
        let (opened, ()) = tokio::join!(opening, async { tables.close() });
        assert_eq!(opened, Err(OpenFailure::Closed));
        assert_eq!(since.elapsed(), Duration::ZERO);
    }
}
