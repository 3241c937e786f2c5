use std::ops::Bound;

use kc_core::custody::{Day, KeptKey, RootCustody, Sighting};
use kc_core::ratchet::DataKey;
use kc_core::types::{KeyId, RootTopic};
use redb::{ReadTransaction, ReadableTable};

use super::Change;
use super::database::Failure;
use super::givers::Givers;
use super::tables::{AFTER_IDS, COUNTS, DAYS, DayKey, KEPT, Tables, id_bytes};
use super::vault::Vault;

impl Change<'_> {
    /// Notes a sighting: seals a kept key under the day of the record if this is later, or makes the id pending. Returns
    /// whether it is pending.
    pub(super) fn note(&mut self, sighting: &Sighting) -> Result<bool, Failure> {
        let (root_topic, id) = (&sighting.root_topic, &sighting.id);
        let bytes = id_bytes(id);
        let day = Day::of(sighting.at);
        let key = (root_topic.as_str(), &*bytes);
        let (last, giver, secret) = {
            let Some(row) = self.tables.kept.get(key)? else {
                self.note_pending(sighting)?;
                return Ok(true);
            };
            let (last, giver, sealed) = row.value();
            if day.0 <= last {
                return Ok(false);
            }
            let secret = self.vault.open_key(root_topic, Day(last), id, sealed);
            (last, giver, secret)
        };
        let key = (root_topic.as_str(), last, &*bytes);
        self.tables.days.remove(key)?;
        let Some(secret) = secret else {
            self.tables.kept.remove((root_topic.as_str(), &*bytes))?;
            self.count(root_topic, |kept, _| *kept = kept.saturating_sub(1))?;
            self.note_pending(sighting)?;
            return Ok(true);
        };
        self.put_kept(root_topic, id, &secret, giver, day)?;
        Ok(false)
    }

    /// Stores a kept key. The caller counts it.
    pub(super) fn put_kept(
        &mut self,
        root_topic: &RootTopic,
        id: &KeyId,
        secret: &DataKey,
        giver: u32,
        day: Day,
    ) -> Result<(), Failure> {
        let sealed = self
            .vault
            .seal(root_topic, day, (id, secret), &mut self.rng)?;
        let bytes = id_bytes(id);
        let key = (root_topic.as_str(), &*bytes);
        self.tables.kept.insert(key, (day.0, giver, &*sealed))?;
        let key = (root_topic.as_str(), day.0, &*bytes);
        self.tables.days.insert(key, ())?;
        self.is_changed = true;
        Ok(())
    }

    /// Removes the kept keys and the offers of the days before `before`, or all kept keys and pending ids. Returns the
    /// number of kept keys that were removed.
    pub(super) fn forget(
        &mut self,
        root_topic: &RootTopic,
        before: Option<Day>,
    ) -> Result<u64, Failure> {
        if before.is_none() {
            self.forget_pending(root_topic)?;
        }
        self.forget_days(root_topic, Day(0), before)
    }

    /// Removes the kept keys and the offers of days. The pending ids stay.
    fn forget_days(
        &mut self,
        root_topic: &RootTopic,
        from: Day,
        before: Option<Day>,
    ) -> Result<u64, Failure> {
        let root = root_topic.as_str();
        let end = match before {
            Some(before) => Bound::Excluded((root, before.0, &[][..])),
            None => Bound::Included((root, u32::MAX, AFTER_IDS)),
        };
        let range = (Bound::Included((root, from.0, &[][..])), end);
        let mut forgotten: u64 = 0;
        for row in self.tables.days.extract_from_if(range, |_, ()| true)? {
            let key = row?.0;
            self.tables.kept.remove((root, key.value().2))?;
            forgotten += 1;
        }
        if forgotten > 0 {
            self.count(root_topic, |kept, _| *kept = kept.saturating_sub(forgotten))?;
        }
        let Tables {
            unproven, offers, ..
        } = &mut self.tables;
        for row in unproven.extract_from_if(range, |_, ()| true)? {
            let key = row?.0;
            let id = key.value().2;
            offers.retain_in((root, id, 0)..=(root, id, u8::MAX), |_, _| false)?;
            self.is_changed = true;
        }
        Ok(forgotten)
    }

    fn forget_pending(&mut self, root_topic: &RootTopic) -> Result<(), Failure> {
        if self.counts(root_topic)?.1 == 0 {
            return Ok(());
        }
        let root = root_topic.as_str();
        let tables = &mut self.tables;
        let ids = (root, &[][..])..=(root, AFTER_IDS);
        tables.pending.retain_in(ids, |_, _| false)?;
        let numbers = (root, 0, 0)..=(root, u8::MAX, u64::MAX);
        tables.order.retain_in(numbers, |_, _| false)?;
        let offers = (root, &[][..], 0)..=(root, AFTER_IDS, u8::MAX);
        tables.offers.retain_in(offers, |_, _| false)?;
        let days = (root, 0, &[][..])..=(root, u32::MAX, AFTER_IDS);
        tables.unproven.retain_in(days, |_, ()| false)?;
        self.count(root_topic, |_, pending| *pending = 0)
    }

    /// Removes the rows whose day key is destroyed.
    pub(super) fn remove_stale_rows(&mut self) -> Result<(), Failure> {
        let mut days = days_in(&self.tables.days)?;
        days.extend(days_in(&self.tables.unproven)?);
        for (root_topic, day) in days {
            if !self.vault.has_key(&root_topic, day) {
                let after = day.0.checked_add(1).map(Day);
                let removed = self.forget_days(&root_topic, day, after)?;
                tracing::warn!(%root_topic, %day, removed, "kept keys removed, because the key that seals them is destroyed");
            }
        }
        Ok(())
    }
}

/// Returns each root topic and day that occurs in a table. Costs one look-up for each.
fn days_in(table: &impl ReadableTable<DayKey, ()>) -> Result<Vec<(RootTopic, Day)>, Failure> {
    let mut found: Vec<(RootTopic, Day)> = Vec::new();
    loop {
        let start = match found.last() {
            Some((root_topic, day)) => Bound::Excluded((root_topic.as_str(), day.0, AFTER_IDS)),
            None => Bound::Unbounded,
        };
        let mut rows = table.range::<(&str, u32, &[u8])>((start, Bound::Unbounded))?;
        let Some(row) = rows.next() else {
            return Ok(found);
        };
        let key = row?.0;
        let (root, day, _) = key.value();
        found.push((root.into(), Day(day)));
    }
}

/// Returns the kept keys among `ids`. Leaves out those that do not open.
pub(super) fn find(
    transaction: &ReadTransaction,
    vault: &Vault,
    givers: &Givers,
    root_topic: &RootTopic,
    ids: &[KeyId],
) -> Result<Vec<KeptKey>, Failure> {
    let kept = transaction.open_table(KEPT)?;
    let mut found = Vec::new();
    for id in ids {
        let Some(row) = kept.get((root_topic.as_str(), &*id_bytes(id)))? else {
            continue;
        };
        let (day, giver, sealed) = row.value();
        if let Some(secret) = vault.open_key(root_topic, Day(day), id, sealed) {
            found.push(KeptKey {
                id: *id,
                secret,
                giver: givers.get(giver)?,
            });
        }
    }
    Ok(found)
}

/// Returns the state of each root topic, by name.
pub(super) fn roots(transaction: &ReadTransaction) -> Result<Vec<RootCustody>, Failure> {
    let days = transaction.open_table(DAYS)?;
    let mut roots = Vec::new();
    for row in transaction.open_table(COUNTS)?.range::<&str>(..)? {
        let (root, counts) = row?;
        let (root, (kept, pending)) = (root.value(), counts.value());
        let mut rows = days.range((root, 0, &[][..])..=(root, u32::MAX, AFTER_IDS))?;
        let first = rows.next().transpose()?.map(|row| row.0.value().1);
        let last = rows.next_back().transpose()?.map(|row| row.0.value().1);
        let days = first.map(|first| (Day(first), Day(last.unwrap_or(first))));
        roots.push(RootCustody {
            root_topic: root.into(),
            kept,
            pending,
            days,
        });
    }
    Ok(roots)
}
