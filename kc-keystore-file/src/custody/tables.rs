use kc_core::custody::{Day, Place};
use kc_core::types::{KEY_ID_LEN, KeyId, RootTopic, Timestamp};
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

use super::Change;
use super::database::Failure;

/// The version of the tables.
const VERSION: u64 = 1;
/// The name of the row with the [`VERSION`].
const VERSION_ROW: &str = "version";
/// The name of the row with the sequence number of the next pending id.
const SEQUENCE_ROW: &str = "sequence";

/// The class of likely ids in [`ORDER`].
pub(super) const LIKELY: u8 = 0;
/// The class of the other ids in [`ORDER`].
pub(super) const OTHER: u8 = 1;

/// A root topic and an [id](id_bytes).
pub(super) type IdKey = (&'static str, &'static [u8]);
/// A root topic, a day and an id.
pub(super) type DayKey = (&'static str, u32, &'static [u8]);
/// A root topic, a class and a sequence number.
pub(super) type OrderKey = (&'static str, u8, u64);
/// A root topic, an id and a number from 0.
pub(super) type OfferKey = (&'static str, &'static [u8], u8);
/// Likely?, sequence number, time, place.
type PendingRow = (bool, u64, f64, (&'static str, i32, i64));

/// Kept keys: day, number of the giver, sealed key.
pub(super) const KEPT: TableDefinition<'_, IdKey, (u32, u32, &[u8])> = TableDefinition::new("kept");
/// The days of kept keys.
pub(super) const DAYS: TableDefinition<'_, DayKey, ()> = TableDefinition::new("days");
/// Pending ids.
pub(super) const PENDING: TableDefinition<'_, IdKey, PendingRow> = TableDefinition::new("pending");
/// The order of the pending ids in each class.
pub(super) const ORDER: TableDefinition<'_, OrderKey, &[u8]> = TableDefinition::new("order");
/// Offered keys: number of the giver, key sealed under the day of the pending id.
pub(super) const OFFERS: TableDefinition<'_, OfferKey, (u32, &[u8])> =
    TableDefinition::new("offers");
/// The pending ids with offers, and their days.
pub(super) const UNPROVEN: TableDefinition<'_, DayKey, ()> = TableDefinition::new("unproven");
/// The number of kept keys and of pending ids of each root topic.
pub(super) const COUNTS: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("counts");
/// Givers by number.
pub(super) const GIVERS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("givers");
/// Named numbers.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The tables, open for writing.
pub(super) struct Tables<'t> {
    pub(super) kept: Table<'t, IdKey, (u32, u32, &'static [u8])>,
    pub(super) days: Table<'t, DayKey, ()>,
    pub(super) pending: Table<'t, IdKey, PendingRow>,
    pub(super) order: Table<'t, OrderKey, &'static [u8]>,
    pub(super) offers: Table<'t, OfferKey, (u32, &'static [u8])>,
    pub(super) unproven: Table<'t, DayKey, ()>,
    pub(super) counts: Table<'t, &'static str, (u64, u64)>,
    pub(super) givers: Table<'t, u32, &'static [u8]>,
    pub(super) meta: Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Failure> {
        Ok(Self {
            kept: transaction.open_table(KEPT)?,
            days: transaction.open_table(DAYS)?,
            pending: transaction.open_table(PENDING)?,
            order: transaction.open_table(ORDER)?,
            offers: transaction.open_table(OFFERS)?,
            unproven: transaction.open_table(UNPROVEN)?,
            counts: transaction.open_table(COUNTS)?,
            givers: transaction.open_table(GIVERS)?,
            meta: transaction.open_table(META)?,
        })
    }

    pub(super) fn set_version(&mut self) -> Result<(), Failure> {
        self.meta.insert(VERSION_ROW, VERSION)?;
        Ok(())
    }

    pub(super) fn check_version(transaction: &ReadTransaction) -> Result<(), Failure> {
        let meta = match transaction.open_table(META) {
            Ok(meta) => meta,
            Err(TableError::TableDoesNotExist(_)) => return Err(NOT_OURS),
            Err(error) => return Err(error.into()),
        };
        match meta.get(VERSION_ROW)?.map(|row| row.value()) {
            Some(VERSION) => Ok(()),
            Some(_) => Err(Failure::Row("a newer version of kc wrote the file")),
            None => Err(NOT_OURS),
        }
    }
}

const NOT_OURS: Failure = Failure::Row("the file is not the database of a custodian");

/// A pending id.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) is_likely: bool,
    pub(super) sequence: u64,
    /// The time of the newest record that needs the key.
    pub(super) at: Timestamp,
    pub(super) place: Place,
}

impl Pending {
    /// Returns the day whose key seals the offers.
    pub(super) fn day(&self) -> Day {
        Day::of(self.at)
    }

    pub(super) fn class(&self) -> u8 {
        match self.is_likely {
            true => LIKELY,
            false => OTHER,
        }
    }

    pub(super) fn find(
        table: &impl ReadableTable<IdKey, PendingRow>,
        root_topic: &RootTopic,
        id: &[u8],
    ) -> Result<Option<Self>, Failure> {
        let Some(row) = table.get((root_topic.as_str(), id))? else {
            return Ok(None);
        };
        let (is_likely, sequence, at, (topic, partition, offset)) = row.value();
        let at = Timestamp::from_secs(at).ok_or(Failure::Row("a time is not a number"))?;
        Ok(Some(Self {
            is_likely,
            sequence,
            at,
            place: Place {
                topic: topic.to_owned(),
                partition,
                offset,
            },
        }))
    }
}

impl Change<'_> {
    pub(super) fn put_pending(
        &mut self,
        root_topic: &RootTopic,
        id: &[u8],
        pending: &Pending,
    ) -> Result<(), Failure> {
        let Place {
            topic,
            partition,
            offset,
        } = &pending.place;
        let row = (
            pending.is_likely,
            pending.sequence,
            pending.at.as_secs(),
            (topic.as_str(), *partition, *offset),
        );
        let key = (root_topic.as_str(), id);
        self.tables.pending.insert(key, row)?;
        self.is_changed = true;
        Ok(())
    }

    /// Changes the number of kept keys and of pending ids of a root topic.
    pub(super) fn count(
        &mut self,
        root_topic: &RootTopic,
        change: impl FnOnce(&mut u64, &mut u64),
    ) -> Result<(), Failure> {
        let (mut kept, mut pending) = self.counts(root_topic)?;
        change(&mut kept, &mut pending);
        let counts = &mut self.tables.counts;
        match (kept, pending) {
            (0, 0) => counts.remove(root_topic.as_str())?,
            changed => counts.insert(root_topic.as_str(), changed)?,
        };
        self.is_changed = true;
        Ok(())
    }

    pub(super) fn counts(&self, root_topic: &RootTopic) -> Result<(u64, u64), Failure> {
        let counts = self.tables.counts.get(root_topic.as_str())?;
        Ok(counts.map(|row| row.value()).unwrap_or_default())
    }

    /// Returns the sequence number of a new pending id.
    pub(super) fn next_sequence(&mut self) -> Result<u64, Failure> {
        let meta = &mut self.tables.meta;
        let next = meta.get(SEQUENCE_ROW)?.map_or(0, |row| row.value());
        meta.insert(SEQUENCE_ROW, next.saturating_add(1))?;
        Ok(next)
    }
}

/// Follows the bytes of every id in the order of keys.
pub(super) const AFTER_IDS: &[u8] = &[u8::MAX];

const LONG: u8 = 0;
const SHORT: u8 = 1;

/// Encodes an id as a key of a table: a byte for its form, then the id.
pub(super) fn id_bytes(id: &KeyId) -> Vec<u8> {
    match id {
        KeyId::Long(id) => [&[LONG], &id[..]].concat(),
        KeyId::Short(index) => [&[SHORT], &index.to_be_bytes()[..]].concat(),
    }
}

pub(super) fn id_of(bytes: &[u8]) -> Result<KeyId, Failure> {
    let malformed = || Failure::Row("the id of a key is malformed");
    let (form, id) = bytes.split_first().ok_or_else(malformed)?;
    let id = match *form {
        LONG => <[u8; KEY_ID_LEN]>::try_from(id).ok().map(KeyId::Long),
        SHORT => {
            let index = <[u8; 8]>::try_from(id).ok();
            index.map(|index| KeyId::Short(u64::from_be_bytes(index)))
        }
        _ => None,
    };
    id.ok_or_else(malformed)
}
