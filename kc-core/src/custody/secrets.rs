use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use rand_core::CryptoRng;

use crate::exchange::RequestSeed;
use crate::ratchet::DataKey;
use crate::secret::{Secret, SecretVec};
use crate::store::opaque;
use crate::types::{KeyId, RootTopic, Timestamp};
use crate::wire::{Reader, Value, WireError, Writer};

/// The number of request seeds that are remembered. A reply to a request that is older than the last of them is not
/// opened.
const SEEDS: usize = 2;

/// The number of seconds of a day.
const DAY_SECS: f64 = 86_400.0;

/// A day in UTC: the number of days since 1970-01-01. Displayed as `2026-11-29`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// Returns the day of a time. Times before 1970 belong to the first day.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a conversion of a float saturates"
    )]
    pub fn of(time: Timestamp) -> Self {
        Self((time.as_secs() / DAY_SECS) as u32)
    }

    /// Returns the first moment of the day.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp::from_secs(f64::from(self.0) * DAY_SECS).unwrap_or(Timestamp::EPOCH)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.start().to_string();
        f.write_str(start.split('T').next().unwrap_or_default())
    }
}

/// The secrets of a custodian: a key for each root topic and day, under which the kept keys are sealed, and the seeds of
/// its requests.
///
/// The secrets are small. A store keeps them in a file that is replaced as a whole. Without the key of a day, what was
/// sealed under it is unreadable.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CustodySecrets {
    keys: BTreeMap<RootTopic, BTreeMap<Day, Secret<32>>>,
    /// The newest is the first.
    seeds: VecDeque<(Day, Secret<32>)>,
}

impl CustodySecrets {
    /// Makes sure that there is a key for a root topic and a day. Returns whether a new key was drawn: the secrets must
    /// then be stored before the key is used.
    pub fn prepare(&mut self, root_topic: &RootTopic, day: Day, rng: &mut dyn CryptoRng) -> bool {
        let days = self.keys.entry(root_topic.clone()).or_default();
        let is_new = !days.contains_key(&day);
        days.entry(day).or_insert_with(|| Secret::random(rng));
        is_new
    }

    /// Seals a data key under the key of a day: 90 bytes or more, of which 24 are a nonce. Returns `None` if there is no
    /// key for the day; see [`prepare`](Self::prepare).
    #[must_use]
    pub fn seal(
        &self,
        root_topic: &RootTopic,
        day: Day,
        (id, secret): (&KeyId, &DataKey),
        rng: &mut dyn CryptoRng,
    ) -> Option<Vec<u8>> {
        let key = self.keys.get(root_topic)?.get(&day)?;
        let mut writer = Writer::append_to(Vec::with_capacity(128 + root_topic.as_str().len()));
        writer.array(3).text(root_topic.as_str());
        writer.key_id(id).bytes(secret.expose());
        let plaintext = SecretVec::from(writer.into_vec());
        Some(opaque::wrap(plaintext.expose(), key, rng))
    }

    /// Opens a sealed data key. Returns `None` if the key of the day is forgotten, or the value was altered or belongs to
    /// another root topic or id.
    #[must_use]
    pub fn open(
        &self,
        root_topic: &RootTopic,
        day: Day,
        id: &KeyId,
        sealed: &[u8],
    ) -> Option<DataKey> {
        let key = self.keys.get(root_topic)?.get(&day)?;
        let plaintext = opaque::unwrap(sealed, key)?;
        let value = Value::decode(plaintext.expose()).ok()?;
        let [root, sealed_id, secret] = value.array().ok()? else {
            return None;
        };
        let is_of = root.text().ok()? == root_topic.as_str() && sealed_id.key_id().ok()? == *id;
        let secret = Secret::from_slice(secret.bytes().ok()?)?;
        is_of.then(|| secret.into())
    }

    /// Returns whether the key of the day exists, so that data keys can be sealed and opened.
    #[must_use]
    pub fn has_key(&self, root_topic: &RootTopic, day: Day) -> bool {
        self.keys
            .get(root_topic)
            .is_some_and(|days| days.contains_key(&day))
    }

    /// Destroys the keys of a root topic for all days before `before`, or for all days. Returns whether any key was
    /// destroyed: the secrets must then be stored before the caller reports success.
    pub fn forget(&mut self, root_topic: &RootTopic, before: Option<Day>) -> bool {
        let Some(days) = self.keys.get_mut(root_topic) else {
            return false;
        };
        let had = days.len();
        match before {
            Some(before) => days.retain(|day, _| *day >= before),
            None => days.clear(),
        }
        let left = days.len();
        if left == 0 {
            self.keys.remove(root_topic);
        }
        left < had
    }

    /// Destroys the request seeds, so that recorded replies can no longer be opened. The secrets must then be stored.
    pub fn forget_seeds(&mut self) {
        self.seeds.clear();
    }

    /// Makes sure that the first request seed is of this day. Returns whether a new seed was drawn: the secrets must
    /// then be stored before the seed is used.
    pub fn renew_seeds(&mut self, today: Day, rng: &mut dyn CryptoRng) -> bool {
        // A clock that is set back does not renew the seed.
        if self.seeds.front().is_some_and(|(day, _)| *day >= today) {
            return false;
        }
        self.seeds.push_front((today, Secret::random(rng)));
        self.seeds.truncate(SEEDS);
        true
    }

    /// Drops the newest request seed, because it could not be stored.
    pub fn drop_newest_seed(&mut self) {
        self.seeds.pop_front();
    }

    /// Returns the request seeds, the newest first.
    #[must_use]
    pub fn seeds(&self) -> Vec<RequestSeed> {
        let secrets = self.seeds.iter().map(|(_, secret)| secret.expose_copy());
        secrets.map(RequestSeed::from).collect()
    }

    /// Encodes the secrets: `[[[root topic, day, key], ...], [[day, seed], ...]]` in MessagePack.
    #[must_use]
    pub fn encode(&self) -> SecretVec {
        let keys = || {
            let roots = self.keys.iter();
            roots.flat_map(|(root, days)| days.iter().map(move |(day, key)| (root, day, key)))
        };
        let names: usize = keys().map(|(root, ..)| root.as_str().len()).sum();
        let count = keys().count();
        // The capacity is sufficient from the start, because a buffer that grows leaves copies of secrets in memory.
        let capacity = 32 + names + (count + self.seeds.len()) * 48;
        let mut writer = Writer::append_to(Vec::with_capacity(capacity));
        writer.array(2).array(count);
        for (root_topic, day, key) in keys() {
            writer.array(3).text(root_topic.as_str()).uint(day.0.into());
            writer.bytes(key.expose());
        }
        writer.array(self.seeds.len());
        for (day, seed) in &self.seeds {
            writer.array(2).uint(day.0.into()).bytes(seed.expose());
        }
        writer.into_vec().into()
    }

    /// Decodes the secrets.
    ///
    /// # Errors
    /// Returns a [`WireError`] if the layout, a day or a key is wrong.
    pub fn decode(plaintext: &SecretVec) -> Result<Self, WireError> {
        let mut reader = Reader::new(plaintext.expose());
        if reader.array()? != 2 {
            return Err(WireError::Expected("an array of keys and seeds"));
        }
        let mut secrets = Self::default();
        for _ in 0..reader.array()? {
            // A reader reads a limited number of elements, but there may be more keys.
            reader = Reader::new(reader.rest());
            let entry = reader.value()?;
            let [root_topic, day, key] = entry.array()? else {
                return Err(WireError::Expected("a root topic, a day and a key"));
            };
            let days = secrets.keys.entry(root_topic.text()?.into()).or_default();
            days.insert(day_of(day)?, secret_of(key)?);
        }
        for _ in 0..reader.array()? {
            let entry = reader.value()?;
            let [day, seed] = entry.array()? else {
                return Err(WireError::Expected("a day and a seed"));
            };
            secrets.seeds.push_back((day_of(day)?, secret_of(seed)?));
        }
        reader.finish()?;
        Ok(secrets)
    }
}

fn day_of(value: &Value<'_>) -> Result<Day, WireError> {
    let Value::Int(day) = value else {
        return Err(WireError::Expected("the number of a day"));
    };
    let day = u32::try_from(*day).map_err(|_| WireError::Expected("the number of a day"))?;
    Ok(Day(day))
}

fn secret_of(value: &Value<'_>) -> Result<Secret<32>, WireError> {
    Secret::from_slice(value.bytes()?).ok_or(WireError::Expected("a secret of 32 bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const ID: KeyId = KeyId::Long([7; 32]);

    fn key(number: u8) -> DataKey {
        DataKey::from(Secret::fill_with(|secret| secret.fill(number)))
    }

    fn prepared(rng: &mut StdRng) -> CustodySecrets {
        let mut secrets = CustodySecrets::default();
        for (root, day) in [("a", 1), ("a", 2), ("b", 1)] {
            assert!(secrets.prepare(&root.into(), Day(day), rng));
            assert!(!secrets.prepare(&root.into(), Day(day), rng));
        }
        secrets
    }

    #[test]
    fn a_sealed_key_opens_only_for_its_root_topic_day_and_id() {
        let rng = &mut StdRng::seed_from_u64(1);
        let secrets = prepared(rng);
        let a = "a".into();
        assert_eq!(secrets.seal(&a, Day(3), (&ID, &key(9)), rng), None);
        let sealed = secrets.seal(&a, Day(1), (&ID, &key(9)), rng).unwrap();
        let open = |root: &str, day, id| secrets.open(&root.into(), Day(day), &id, &sealed);
        assert_eq!(open("a", 1, ID), Some(key(9)));
        assert_eq!(open("a", 2, ID), None);
        assert_eq!(open("b", 1, ID), None);
        assert_eq!(open("a", 1, KeyId::Short(7)), None);
        for place in 0..sealed.len() {
            let mut altered = sealed.clone();
            *altered.get_mut(place).unwrap() ^= 1;
            assert_eq!(secrets.open(&a, Day(1), &ID, &altered), None);
        }
    }

    #[test]
    fn what_is_forgotten_is_not_in_the_encoding() {
        let rng = &mut StdRng::seed_from_u64(2);
        let mut secrets = prepared(rng);
        assert!(secrets.renew_seeds(Day(2), rng));
        let a = "a".into();
        let sealed = secrets.seal(&a, Day(1), (&ID, &key(9)), rng).unwrap();
        let has = |secrets: &CustodySecrets, secret: &[u8]| {
            let encoded = secrets.encode();
            encoded.expose().windows(32).any(|it| it == secret)
        };
        let forgotten = secrets.keys[&a][&Day(1)].expose_copy();
        let seed = secrets.seeds[0].1.expose_copy();
        assert!(has(&secrets, forgotten.expose()) && has(&secrets, seed.expose()));
        assert!(!secrets.forget(&a, Some(Day(1))));
        assert!(!secrets.forget(&"c".into(), None));
        assert!(secrets.forget(&a, Some(Day(2))));
        assert!(!has(&secrets, forgotten.expose()) && has(&secrets, seed.expose()));
        secrets.forget_seeds();
        assert!(!has(&secrets, seed.expose()) && secrets.seeds().is_empty());
        assert_eq!(secrets.open(&a, Day(1), &ID, &sealed), None);
        assert!(secrets.keys[&a].contains_key(&Day(2)));
        assert!(secrets.forget(&a, None));
        assert_eq!(secrets.keys.keys().collect::<Vec<_>>(), [&"b".into()]);
    }

    #[test]
    fn seeds_last_until_the_end_of_the_next_day() {
        let rng = &mut StdRng::seed_from_u64(3);
        let mut secrets = CustodySecrets::default();
        let mut first = |day| {
            let is_new = secrets.renew_seeds(Day(day), rng);
            (is_new, secrets.seeds())
        };
        let (_, day_1) = first(1);
        assert!(!first(1).0);
        let (is_new, day_2) = first(2);
        assert!(is_new);
        assert_eq!(day_2[1..], day_1);
        let (_, day_5) = first(5);
        assert_eq!(day_5[1..], day_2[..1]);
    }

    #[test]
    fn many_keys_survive_their_encoding() {
        let rng = &mut StdRng::seed_from_u64(4);
        let mut secrets = CustodySecrets::default();
        for day in 0..30_000 {
            secrets.prepare(&"a".into(), Day(day), rng);
        }
        assert_eq!(CustodySecrets::decode(&secrets.encode()), Ok(secrets));
    }

    #[test]
    fn a_day_is_shown_as_its_date() {
        let time = Timestamp::from_secs(1_795_996_799.0).unwrap();
        assert_eq!(time.to_string(), "2026-11-29T23:59:59Z");
        assert_eq!(Day::of(time).to_string(), "2026-11-29");
        assert_eq!(Day::of(time).start().to_string(), "2026-11-29T00:00:00Z");
        assert_eq!(Day::of(Timestamp::from_secs(-1.0).unwrap()), Day(0));
    }

    proptest! {
        #[test]
        fn secrets_survive_their_encoding(
            keys in prop::collection::vec(("[a-z]{0,300}", any::<u32>()), 0..20),
            days in prop::collection::vec(any::<u32>(), 0..5),
            seed: u64,
        ) {
            let rng = &mut StdRng::seed_from_u64(seed);
            let mut secrets = CustodySecrets::default();
            for (root, day) in &keys {
                secrets.prepare(&root.as_str().into(), Day(*day), rng);
            }
            for day in days {
                secrets.renew_seeds(Day(day), rng);
            }
            let encoded = secrets.encode();
            prop_assert_eq!(CustodySecrets::decode(&encoded), Ok(secrets));
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = CustodySecrets::decode(&bytes.into());
        }
    }
}
