use std::fmt::Debug;

use super::Day;
use crate::exchange::RequestSeed;
use crate::keys::VerifyingKey;
use crate::ratchet::{DataKey, Giver};
use crate::store::StoreError;
use crate::types::{KeyId, RootTopic, Timestamp};

/// The maximum number of pending ids of one root topic. At this number, a new id displaces the oldest id that is not
/// likely, or else the oldest one. Ids with offers stay.
pub const MAX_PENDING_PER_ROOT: usize = 100_000;
/// The maximum number of offered keys of one pending id. At this number, a new offer displaces the oldest one.
pub const MAX_OFFERS: usize = 4;

/// The place of a record in Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The topic's name.
    pub topic: String,
    /// The partition's number, from 0.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
}

/// A data key that records need.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The id of the data key.
    pub id: KeyId,
    /// One of the records.
    pub place: Place,
    /// The time of the last of the records: the broker's timestamp, but never later than the present time.
    pub at: Timestamp,
    /// True if several records need the key, or if the id follows from a key that is already kept. Such ids are
    /// requested before others, because they are hardly invented.
    pub is_likely: bool,
}

/// A key that was received for a pending id. No record has proven it yet.
#[derive(Debug)]
pub struct Offer {
    /// The key.
    pub secret: DataKey,
    /// The node that sent the key.
    pub giver: Giver,
}

/// A pending id that has offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The id of the data key.
    pub id: KeyId,
    /// A record that needs the key.
    pub place: Place,
}

/// A key that is kept.
#[derive(Debug)]
pub struct KeptKey {
    /// The id of the key.
    pub id: KeyId,
    /// The key.
    pub secret: DataKey,
    /// The node that sent the key.
    pub giver: Giver,
}

/// The state of custody of one root topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootCustody {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The number of kept keys.
    pub kept: u64,
    /// The number of ids whose keys are not kept yet.
    pub pending: u64,
    /// The first and the last of the days on which records last needed one of the kept keys; `None` if no key is kept.
    pub days: Option<(Day, Day)>,
}

/// An entry of the audit log: keys that are about to be given to a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The time.
    pub at: Timestamp,
    /// The root topic.
    pub root_topic: RootTopic,
    /// The ids of the keys.
    pub ids: Vec<KeyId>,
    /// The key that signed the request: that of the node that gets the keys, or of a controller that vouched for it.
    pub requester: VerifyingKey,
    /// The root of trust that certifies the requester.
    pub root: VerifyingKey,
}

/// Keeps what a custodian must not lose. Each method stores durably before it returns.
///
/// Ids are pending or kept, never both.
pub trait CustodyArchive: Debug + Send {
    /// Notes that records need keys. The last day of a kept key moves to the day of the record, if this is later. An id
    /// that is not kept becomes pending, or likely, if it is already pending and the
    /// record is another one. The place of a pending id is that of
    /// the first record of the last day. Bounded by [`MAX_PENDING_PER_ROOT`].
    /// Returns, for each of the sightings, whether its id is pending now; false means that its key is kept.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn note(&mut self, sightings: &[Sighting]) -> Result<Vec<bool>, StoreError>;

    /// Returns at most `max` pending ids of a root topic: likely ids first, up to three quarters of `max`, then others.
    /// Calls go round: each call continues after
    /// the last likely id, and after the last other id, of the call before.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn next_pending(
        &mut self,
        root_topic: &RootTopic,
        max: usize,
    ) -> Result<Vec<KeyId>, StoreError>;

    /// Stores keys that a node sent. Ignores keys whose id is not pending, and keys that were already offered for their
    /// id. Returns the ids that have offers now. A new key displaces the offer for the same id by the same node (the same last key of the giver), so that one
    /// node alone cannot displace the offers of others; at [`MAX_OFFERS`], it displaces the oldest offer.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn offer(
        &mut self,
        root_topic: &RootTopic,
        keys: &[(KeyId, DataKey)],
        giver: &Giver,
    ) -> Result<Vec<KeyId>, StoreError>;

    /// Returns the pending ids that have offers.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn unproven(&self) -> Result<Vec<Unproven>, StoreError>;

    /// Returns the offers for a pending id, oldest first.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn offers(&self, root_topic: &RootTopic, id: &KeyId) -> Result<Vec<Offer>, StoreError>;

    /// Keeps the offer with this secret, because a record has proven it. The id is no longer pending, and its other
    /// offers are dropped. The last day of the key is that of the id's last sighting. Returns false if there is no such
    /// offer.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn keep(
        &mut self,
        root_topic: &RootTopic,
        id: &KeyId,
        secret: &DataKey,
    ) -> Result<bool, StoreError>;

    /// Returns the kept keys among `ids`.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn kept(&self, root_topic: &RootTopic, ids: &[KeyId]) -> Result<Vec<KeptKey>, StoreError>;

    /// Returns the state of each root topic with kept keys or pending ids, by name.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn roots(&self) -> Result<Vec<RootCustody>, StoreError>;

    /// Forgets the kept keys of a root topic that no record has needed since the day `before`, or all kept keys and
    /// pending ids of the root topic if `before` is `None`. Returns the number of forgotten keys.
    ///
    /// The keys are unreadable at once, even in copies of the store's large file, because the keys that sealed them are
    /// destroyed first. The [request seeds](Self::request_seeds) are replaced, so that recorded replies are unreadable
    /// too. Replies that are under way then cannot be opened after a crash.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn forget(&mut self, root_topic: &RootTopic, before: Option<Day>) -> Result<u64, StoreError>;

    /// Forgets the kept keys of a root topic that no record has needed since the day `before`, because their records no
    /// longer exist. Returns the number of forgotten keys. The request seeds stay.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn expire(&mut self, root_topic: &RootTopic, before: Day) -> Result<u64, StoreError>;

    /// Returns the seeds of this custodian's requests: the one for new requests first, then the one before. On a new
    /// day, a new seed becomes the first, and the oldest is destroyed. If this cannot be stored, the seeds of before are
    /// returned.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails and has no seed.
    fn request_seeds(&mut self, today: Day) -> Result<Vec<RequestSeed>, StoreError>;

    /// Adds an entry to the audit log.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails. The keys must not be given then.
    fn log_given(&mut self, given: &Given) -> Result<(), StoreError>;
}
