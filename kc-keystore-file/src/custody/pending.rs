use std::ops::RangeInclusive;

use kc_core::custody::{Day, MAX_OFFERS, Offer, Sighting, Unproven};
use kc_core::ratchet::{DataKey, Giver};
use kc_core::types::{KeyId, RootTopic};
use redb::{ReadTransaction, ReadableTable};

use super::Change;
use super::database::Failure;
use super::givers::Givers;
use super::tables::{
    LIKELY, OFFERS, ORDER, OTHER, OfferKey, PENDING, Pending, UNPROVEN, id_bytes, id_of,
};
use super::vault::Vault;

impl Change<'_> {
    /// Notes a sighting of an id that is not kept.
    pub(super) fn note_pending(&mut self, sighting: &Sighting) -> Result<(), Failure> {
        let root_topic = &sighting.root_topic;
        let id = id_bytes(&sighting.id);
        let Some(mut pending) = Pending::find(&self.tables.pending, root_topic, &id)? else {
            return self.add_pending(sighting, &id);
        };
        let is_newer = sighting.at > pending.at;
        // A record that is read again after a crash makes nothing likely.
        let is_other = sighting.is_likely || sighting.place != pending.place;
        let becomes_likely = is_other && !pending.is_likely;
        if !becomes_likely && !is_newer {
            return Ok(());
        }
        if becomes_likely {
            self.remove_order(root_topic, &pending)?;
            pending.is_likely = true;
            self.insert_order(root_topic, &id, &pending)?;
        }
        if is_newer {
            let before = pending.day();
            pending.at = sighting.at;
            // The first record of a day is less likely to be forged than a later one: its id was not yet known.
            if pending.day() > before {
                pending.place = sighting.place.clone();
                let offers = self.offers_of(root_topic, &sighting.id, before)?;
                self.remove_offers(root_topic, &id, before)?;
                self.put_offers(root_topic, &sighting.id, pending.day(), &offers)?;
            }
        }
        self.put_pending(root_topic, &id, &pending)
    }

    fn add_pending(&mut self, sighting: &Sighting, id: &[u8]) -> Result<(), Failure> {
        let root_topic = &sighting.root_topic;
        while self.counts(root_topic)?.1 >= self.limit {
            if !self.displace(root_topic)? {
                return Ok(());
            }
        }
        let pending = Pending {
            is_likely: sighting.is_likely,
            sequence: self.next_sequence()?,
            at: sighting.at,
            place: sighting.place.clone(),
        };
        self.insert_order(root_topic, id, &pending)?;
        self.count(root_topic, |_, pending| *pending += 1)?;
        self.put_pending(root_topic, id, &pending)
    }

    /// Removes the oldest pending id that is not likely, or else the oldest one, but none with offers. Returns false if
    /// there is none.
    fn displace(&mut self, root_topic: &RootTopic) -> Result<bool, Failure> {
        let mut oldest = None;
        for class in [OTHER, LIKELY] {
            for row in self.tables.order.range(of_class(root_topic, class))? {
                let id = row?.1.value().to_vec();
                let offers = (root_topic.as_str(), &*id, 0)..=(root_topic.as_str(), &*id, u8::MAX);
                if self.tables.offers.range(offers)?.next().is_none() {
                    oldest = Some(id);
                    break;
                }
            }
            if oldest.is_some() {
                break;
            }
        }
        let Some(id) = oldest else {
            return Ok(false);
        };
        let pending = Pending::find(&self.tables.pending, root_topic, &id)?
            .ok_or(Failure::Row("a pending id has no row"))?;
        self.remove_pending(root_topic, &id, &pending)?;
        Ok(true)
    }

    /// Removes a pending id and its offers.
    pub(super) fn remove_pending(
        &mut self,
        root_topic: &RootTopic,
        id: &[u8],
        pending: &Pending,
    ) -> Result<(), Failure> {
        self.remove_order(root_topic, pending)?;
        self.remove_offers(root_topic, id, pending.day())?;
        self.tables.pending.remove((root_topic.as_str(), id))?;
        self.count(root_topic, |_, pending| {
            *pending = pending.saturating_sub(1)
        })
    }

    fn insert_order(
        &mut self,
        root_topic: &RootTopic,
        id: &[u8],
        pending: &Pending,
    ) -> Result<(), Failure> {
        let key = (root_topic.as_str(), pending.class(), pending.sequence);
        self.tables.order.insert(key, id)?;
        Ok(())
    }

    fn remove_order(&mut self, root_topic: &RootTopic, pending: &Pending) -> Result<(), Failure> {
        let key = (root_topic.as_str(), pending.class(), pending.sequence);
        self.tables.order.remove(key)?;
        Ok(())
    }

    /// Stores an offer, unless the id is not pending or the key is already offered. Returns whether the id is pending.
    pub(super) fn offer(
        &mut self,
        root_topic: &RootTopic,
        id: &KeyId,
        secret: &DataKey,
        giver: &Giver,
    ) -> Result<bool, Failure> {
        let bytes = id_bytes(id);
        let Some(pending) = Pending::find(&self.tables.pending, root_topic, &bytes)? else {
            return Ok(false);
        };
        let day = pending.day();
        let mut offers = self.offers_of(root_topic, id, day)?;
        if offers.iter().any(|offer| &offer.secret == secret) {
            return Ok(true);
        }
        offers.retain(|offer| offer.giver.last() != giver.last());
        offers.push(Offer {
            secret: secret.expose_copy(),
            giver: giver.clone(),
        });
        let excess = offers.len().saturating_sub(MAX_OFFERS);
        offers.drain(..excess);
        self.remove_offers(root_topic, &bytes, day)?;
        self.put_offers(root_topic, id, day, &offers)?;
        Ok(true)
    }

    /// Stores the offers of a pending id that has none.
    fn put_offers(
        &mut self,
        root_topic: &RootTopic,
        id: &KeyId,
        day: Day,
        offers: &[Offer],
    ) -> Result<(), Failure> {
        let (root, bytes) = (root_topic.as_str(), id_bytes(id));
        for (number, offer) in (0..).zip(offers) {
            let giver = self.giver_number(&offer.giver)?;
            let key = (id, &offer.secret);
            let sealed = self.vault.seal(root_topic, day, key, &mut self.rng)?;
            let key = (root, &*bytes, number);
            self.tables.offers.insert(key, (giver, &*sealed))?;
            self.tables.unproven.insert((root, day.0, &*bytes), ())?;
            self.is_changed = true;
        }
        Ok(())
    }

    fn remove_offers(
        &mut self,
        root_topic: &RootTopic,
        id: &[u8],
        day: Day,
    ) -> Result<(), Failure> {
        let range = (root_topic.as_str(), id, 0)..=(root_topic.as_str(), id, u8::MAX);
        self.tables.offers.retain_in(range, |_, _| false)?;
        let key = (root_topic.as_str(), day.0, id);
        self.tables.unproven.remove(key)?;
        Ok(())
    }

    fn offers_of(
        &self,
        root_topic: &RootTopic,
        id: &KeyId,
        day: Day,
    ) -> Result<Vec<Offer>, Failure> {
        let Self { vault, givers, .. } = self;
        opened(&self.tables.offers, vault, givers, root_topic, id, day)
    }

    /// Keeps the offer with this secret. Returns false if there is none.
    pub(super) fn keep(
        &mut self,
        root_topic: &RootTopic,
        id: &KeyId,
        secret: &DataKey,
    ) -> Result<bool, Failure> {
        let bytes = id_bytes(id);
        let Some(pending) = Pending::find(&self.tables.pending, root_topic, &bytes)? else {
            return Ok(false);
        };
        let mut offers = self.offers_of(root_topic, id, pending.day())?.into_iter();
        let Some(offer) = offers.find(|offer| &offer.secret == secret) else {
            return Ok(false);
        };
        self.remove_pending(root_topic, &bytes, &pending)?;
        let giver = self.giver_number(&offer.giver)?;
        self.put_kept(root_topic, id, &offer.secret, giver, pending.day())?;
        self.count(root_topic, |kept, _| *kept += 1)?;
        Ok(true)
    }
}

fn of_class(root_topic: &RootTopic, class: u8) -> RangeInclusive<(&str, u8, u64)> {
    (root_topic.as_str(), class, 0)..=(root_topic.as_str(), class, u64::MAX)
}

/// Opens the offers of a pending id, oldest first. Leaves out those that do not open.
fn opened(
    table: &impl ReadableTable<OfferKey, (u32, &'static [u8])>,
    vault: &Vault,
    givers: &Givers,
    root_topic: &RootTopic,
    id: &KeyId,
    day: Day,
) -> Result<Vec<Offer>, Failure> {
    let (root, bytes) = (root_topic.as_str(), id_bytes(id));
    let mut offers = Vec::new();
    for row in table.range((root, &*bytes, 0)..=(root, &*bytes, u8::MAX))? {
        let row = row?.1;
        let (giver, sealed) = row.value();
        if let Some(secret) = vault.open_key(root_topic, day, id, sealed) {
            let giver = givers.get(giver)?;
            offers.push(Offer { secret, giver });
        }
    }
    Ok(offers)
}

/// Returns pending ids: likely ids from the first sequence number in `starts` on, then others from the second on.
/// Changes `starts` to the numbers after the returned ids.
pub(super) fn next(
    transaction: &ReadTransaction,
    root_topic: &RootTopic,
    max: usize,
    starts: &mut [u64; 2],
) -> Result<Vec<KeyId>, Failure> {
    let order = transaction.open_table(ORDER)?;
    let root = root_topic.as_str();
    let mut ids = Vec::new();
    // Anyone can make ids likely by several records, so the others get their share.
    let rooms = [(LIKELY, max - max / 4), (OTHER, max)];
    for ((class, room), start) in rooms.into_iter().zip(starts) {
        let after = order.range((root, class, *start)..=(root, class, u64::MAX))?;
        let around = order.range((root, class, 0)..(root, class, *start))?;
        for row in after.chain(around).take(room.saturating_sub(ids.len())) {
            let (key, id) = row?;
            *start = key.value().2.saturating_add(1);
            ids.push(id_of(id.value())?);
        }
    }
    Ok(ids)
}

/// Returns the pending ids that have offers.
pub(super) fn unproven(transaction: &ReadTransaction) -> Result<Vec<Unproven>, Failure> {
    let pending = transaction.open_table(PENDING)?;
    let mut unproven = Vec::new();
    for row in transaction
        .open_table(UNPROVEN)?
        .range::<(&str, u32, &[u8])>(..)?
    {
        let key = row?.0;
        let (root, _, id) = key.value();
        let root_topic = RootTopic::from(root);
        let place = Pending::find(&pending, &root_topic, id)?.map(|pending| pending.place);
        unproven.push(Unproven {
            root_topic,
            id: id_of(id)?,
            place: place.ok_or(Failure::Row("an offered key has no pending id"))?,
        });
    }
    Ok(unproven)
}

/// Returns the offers of a pending id, oldest first.
pub(super) fn offers(
    transaction: &ReadTransaction,
    vault: &Vault,
    givers: &Givers,
    root_topic: &RootTopic,
    id: &KeyId,
) -> Result<Vec<Offer>, Failure> {
    let pending = transaction.open_table(PENDING)?;
    let Some(pending) = Pending::find(&pending, root_topic, &id_bytes(id))? else {
        return Ok(Vec::new());
    };
    let table = transaction.open_table(OFFERS)?;
    opened(&table, vault, givers, root_topic, id, pending.day())
}
