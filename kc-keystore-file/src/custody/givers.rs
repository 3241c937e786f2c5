use std::collections::HashMap;

use kc_core::keys::VerifyingKey;
use kc_core::ratchet::Giver;
use kc_core::wire::{Value, Writer};
use redb::{ReadTransaction, ReadableTable};

use super::Change;
use super::database::Failure;
use super::tables::GIVERS;

/// The nodes that sent keys. The rows of keys name them by number, because one node sends many keys.
#[derive(Default)]
pub(super) struct Givers {
    by_number: Vec<Giver>,
    numbers: HashMap<Giver, u32>,
}

impl Givers {
    pub(super) fn load(transaction: &ReadTransaction) -> Result<Self, Failure> {
        let mut givers = Self::default();
        for row in transaction.open_table(GIVERS)?.iter()? {
            let (number, encoded) = row?;
            let malformed = || Failure::Row("a giver is malformed");
            let giver = decode(encoded.value()).ok_or_else(malformed)?;
            if givers.add(giver) != number.value() {
                return Err(Failure::Row("a giver is missing"));
            }
        }
        Ok(givers)
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Drops the givers from a number on, because they were not stored.
    pub(super) fn truncate(&mut self, len: usize) {
        for giver in self.by_number.drain(len.min(self.by_number.len())..) {
            self.numbers.remove(&giver);
        }
    }

    pub(super) fn get(&self, number: u32) -> Result<Giver, Failure> {
        let index = usize::try_from(number).ok();
        let giver = index.and_then(|index| self.by_number.get(index));
        giver.cloned().ok_or(Failure::Row("a giver is missing"))
    }

    fn add(&mut self, giver: Giver) -> u32 {
        let number = u32::try_from(self.by_number.len()).unwrap_or(u32::MAX);
        self.by_number.push(giver.clone());
        self.numbers.insert(giver, number);
        number
    }
}

impl Change<'_> {
    /// Returns the number of a giver. Stores the giver if it is new.
    pub(super) fn giver_number(&mut self, giver: &Giver) -> Result<u32, Failure> {
        if let Some(number) = self.givers.numbers.get(giver) {
            return Ok(*number);
        }
        let number = self.givers.add(giver.clone());
        self.tables.givers.insert(number, &*encode(giver))?;
        self.is_changed = true;
        Ok(number)
    }
}

fn encode(giver: &Giver) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(giver.len());
    for key in giver.iter() {
        key.write_to(&mut writer);
    }
    writer.into_vec()
}

fn decode(encoded: &[u8]) -> Option<Giver> {
    let value = Value::decode(encoded).ok()?;
    let keys = value.array().ok()?.iter().map(VerifyingKey::from_value);
    keys.collect::<Result<_, _>>().ok()
}
