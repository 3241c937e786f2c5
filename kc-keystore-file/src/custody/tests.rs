mod audit;
mod failures;
mod model;

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use kc_core::custody::{CustodySecrets, MAX_PENDING_PER_ROOT, Place};
use kc_core::keys::{KeyType, SigningKey};
use kc_core::secret::{Secret, SecretVec};
use kc_core::store::{MemoryKeyStore, NodeSecrets};
use kc_core::types::Timestamp;
use tempfile::TempDir;

use super::*;

const DAY: f64 = 86_400.0;

/// A folder for a store, and the keystore of its node.
struct Home {
    parent: TempDir,
    keystore: Arc<dyn KeyStore>,
}

impl Home {
    fn new() -> Self {
        Self {
            parent: tempfile::tempdir().unwrap(),
            keystore: keystore(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.parent.path().join("custody")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn open(&self) -> FileCustody {
        FileCustody::open(&self.folder(), Arc::clone(&self.keystore)).unwrap()
    }

    fn refused(&self) -> StoreError {
        FileCustody::open(&self.folder(), Arc::clone(&self.keystore)).unwrap_err()
    }

    fn secrets(&self) -> SecretVec {
        let sealed = fs::read(self.file(SECRETS_FILE)).unwrap();
        self.keystore.unwrap_opaque(&sealed).unwrap()
    }
}

fn keystore() -> Arc<dyn KeyStore> {
    let mut rng = system_rng().unwrap();
    let mut secrets = NodeSecrets::generate(&mut rng);
    secrets.ensure_key(KeyType::Ed25519, &mut rng);
    let generators = || Ok(Box::new(system_rng()?) as _);
    Arc::new(MemoryKeyStore::new(secrets, None, Box::new(generators)))
}

fn root() -> RootTopic {
    "sensors".into()
}

fn id(number: u64) -> KeyId {
    KeyId::Short(number)
}

fn key(number: u8) -> DataKey {
    DataKey::from(Secret::fill_with(|secret| secret.fill(number)))
}

fn giver(number: u8) -> Giver {
    let keys = [0, number].map(|number| {
        let seed = Secret::fill_with(|seed| seed.fill(number));
        kc_core::keys::Signer::verifying_key(&SigningKey::from_ed25519_seed(&seed)).clone()
    });
    keys.into()
}

fn at(days: f64) -> Timestamp {
    Timestamp::from_secs(days * DAY).unwrap()
}

fn place(offset: i64) -> Place {
    Place {
        topic: "sensors.berlin".to_owned(),
        partition: 7,
        offset,
    }
}

fn sighting(number: u64, days: f64) -> Sighting {
    Sighting {
        root_topic: root(),
        id: id(number),
        place: place(7),
        at: at(days),
        is_likely: false,
    }
}

/// Has a key kept whose last record is of the time `days`.
fn keep(store: &mut FileCustody, number: u64, secret: u8, days: f64) {
    store.note(&[sighting(number, days)]).unwrap();
    let offered = [(id(number), key(secret))];
    store.offer(&root(), &offered, &giver(1)).unwrap();
    assert!(store.keep(&root(), &id(number), &key(secret)).unwrap());
}

fn kept(store: &FileCustody, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let ids: Vec<_> = numbers.into_iter().map(id).collect();
    let kept = store.kept(&root(), &ids).unwrap();
    let numbers = kept.iter().map(|kept| match kept.id {
        KeyId::Short(number) => number,
        KeyId::Long(_) => panic!("{kept:?}"),
    });
    numbers.collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|it| it == part)
}

#[test]
fn what_is_stored_survives_a_restart() {
    let home = Home::new();
    let mut store = home.open();
    keep(&mut store, 1, 11, 20.5);
    let long = KeyId::Long([9; 32]);
    let mut likely = sighting(0, 21.0);
    (likely.id, likely.is_likely) = (long, true);
    let pending = [likely, sighting(2, 21.5)];
    assert_eq!(store.note(&pending).unwrap(), [true, true]);
    store.offer(&root(), &[(long, key(12))], &giver(2)).unwrap();
    let seeds = store.request_seeds(Day(21)).unwrap();
    drop(store);

    let mut store = home.open();
    let found = store.kept(&root(), &[id(1), id(2), long]).unwrap();
    let [found] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((found.id, &found.giver), (id(1), &giver(1)));
    assert_eq!(found.secret, key(11));
    let offers = store.offers(&root(), &long).unwrap();
    assert_eq!(offers.len(), 1);
    assert_eq!((&offers[0].secret, &offers[0].giver), (&key(12), &giver(2)));
    let unproven = store.unproven().unwrap();
    assert_eq!(unproven.len(), 1);
    assert_eq!((unproven[0].id, &unproven[0].place), (long, &place(7)));
    assert_eq!(store.next_pending(&root(), 9).unwrap(), [long, id(2)]);
    assert_eq!(store.request_seeds(Day(21)).unwrap(), seeds);
    let expected = RootCustody {
        root_topic: root(),
        kept: 1,
        pending: 2,
        days: Some((Day(20), Day(20))),
    };
    assert_eq!(store.roots().unwrap(), [expected]);
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_access_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home::new();
    let mut store = home.open();
    keep(&mut store, 1, 11, 20.0);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(home.folder()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(home.folder()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(entry.path()), 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, [AUDIT_FILE, KEYS_FILE, SECRETS_FILE]);
}

#[test]
fn new_ids_displace_the_oldest_unlikely_id_or_else_the_oldest() {
    let home = Home::new();
    let open =
        || FileCustody::open_with_limit(&home.folder(), Arc::clone(&home.keystore), 3).unwrap();
    let mut store = open();
    let mut offset = 0;
    let mut note = |store: &mut FileCustody, number| {
        let mut sighting = sighting(number, 1.0);
        offset += 1;
        sighting.place.offset = offset;
        store.note(&[sighting]).unwrap();
        let mut left = store.next_pending(&root(), 99).unwrap();
        left.sort();
        left
    };
    for number in [1, 2, 3, 1] {
        note(&mut store, number);
    }
    assert_eq!(note(&mut store, 4), [id(1), id(3), id(4)]);
    store.offer(&root(), &[(id(1), key(1))], &giver(1)).unwrap();
    for number in [3, 4] {
        note(&mut store, number);
    }
    // An id with an offer stays.
    assert_eq!(note(&mut store, 5), [id(1), id(4), id(5)]);
    assert_eq!(store.unproven().unwrap().len(), 1);
    drop(store);
    let mut store = open();
    assert_eq!(note(&mut store, 6), [id(1), id(4), id(6)]);
    assert_eq!(store.roots().unwrap()[0].pending, 3);
}

#[test]
fn calls_of_next_pending_go_round() {
    let home = Home::new();
    let mut store = home.open();
    for (offset, number) in (0..).zip([1, 2, 3, 4, 5, 6, 4, 5, 6]) {
        let mut sighting = sighting(number, 1.0);
        sighting.place.offset = offset;
        // The same record makes nothing likely.
        store.note(&[sighting.clone(), sighting]).unwrap();
    }
    // A quarter of each call is for the ids that are not likely.
    for (max, expected) in [
        (1, &[4][..]),
        (0, &[]),
        (4, &[5, 6, 4, 1]),
        (2, &[5, 6]),
        (9, &[4, 5, 6, 2, 3, 1]),
    ] {
        let expected: Vec<_> = expected.iter().copied().map(id).collect();
        assert_eq!(store.next_pending(&root(), max).unwrap(), expected);
    }
    assert_eq!(store.next_pending(&"other".into(), 9).unwrap(), []);
}

#[test]
fn a_forgotten_key_is_in_no_file() {
    let home = Home::new();
    let mut store = home.open();
    keep(&mut store, 1, 11, 20.0);
    keep(&mut store, 2, 12, 21.0);
    let seeds = store.request_seeds(Day(21)).unwrap();
    let sealed = |store: &FileCustody, number| {
        let row = store.keys.read("read", |transaction| {
            let kept = transaction.open_table(tables::KEPT)?;
            let row = kept.get((root().as_str(), &*tables::id_bytes(&id(number))))?;
            Ok(row.unwrap().value().2.to_vec())
        });
        row.unwrap()
    };
    let (first, second) = (sealed(&store, 1), sealed(&store, 2));
    let database = fs::read(home.file(KEYS_FILE)).unwrap();
    assert!(contains(&database, &first) && contains(&database, &second));
    let mut replaced = fs::File::open(home.file(SECRETS_FILE)).unwrap();
    let secrets = CustodySecrets::decode(&home.secrets()).unwrap();
    assert_eq!(
        secrets.open(&root(), Day(20), &id(1), &first),
        Some(key(11))
    );

    assert_eq!(store.forget(&root(), Some(Day(21))).unwrap(), 1);
    assert_eq!(kept(&store, [1, 2]), [2]);
    let secrets = CustodySecrets::decode(&home.secrets()).unwrap();
    assert_eq!(secrets.open(&root(), Day(20), &id(1), &first), None);
    assert_eq!(
        secrets.open(&root(), Day(21), &id(2), &second),
        Some(key(12))
    );
    for entry in fs::read_dir(home.folder()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!contains(&bytes, &first));
    }
    let mut bytes = Vec::new();
    replaced.read_to_end(&mut bytes).unwrap();
    assert!(!cfg!(unix) || bytes.iter().all(|byte| *byte == 0) && !bytes.is_empty());
    let renewed = store.request_seeds(Day(21)).unwrap();
    assert!(renewed.iter().all(|seed| !seeds.contains(seed)));

    store.note(&[sighting(3, 30.0)]).unwrap();
    assert_eq!(store.forget(&root(), None).unwrap(), 1);
    assert!(kept(&store, [1, 2]).is_empty());
    assert_eq!(store.next_pending(&root(), 9).unwrap(), []);
    assert_eq!(store.roots().unwrap(), []);
}

#[test]
fn a_key_that_records_still_need_is_not_forgotten() {
    let home = Home::new();
    let mut store = home.open();
    keep(&mut store, 1, 11, 20.0);
    assert_eq!(store.note(&[sighting(1, 23.0)]).unwrap(), [false]);
    assert_eq!(store.note(&[sighting(1, 22.0)]).unwrap(), [false]);
    // An offered key moves, too.
    store.note(&[sighting(2, 20.0)]).unwrap();
    store
        .offer(&root(), &[(id(2), key(12))], &giver(1))
        .unwrap();
    store.note(&[sighting(2, 23.0)]).unwrap();
    drop(store);
    let mut store = home.open();
    assert_eq!(store.forget(&root(), Some(Day(23))).unwrap(), 0);
    assert_eq!(kept(&store, [1]), [1]);
    assert!(store.keep(&root(), &id(2), &key(12)).unwrap());
    assert_eq!(store.forget(&root(), Some(Day(24))).unwrap(), 2);
}

#[test]
fn an_offer_of_a_forgotten_day_is_dropped_and_its_id_stays() {
    let home = Home::new();
    let mut store = home.open();
    keep(&mut store, 1, 11, 20.0);
    store.note(&[sighting(2, 20.0)]).unwrap();
    store
        .offer(&root(), &[(id(2), key(12))], &giver(1))
        .unwrap();
    assert_eq!(store.forget(&root(), Some(Day(21))).unwrap(), 1);
    assert_eq!(store.unproven().unwrap(), []);
    assert_eq!(store.next_pending(&root(), 9).unwrap(), [id(2)]);
    store
        .offer(&root(), &[(id(2), key(12))], &giver(1))
        .unwrap();
    assert!(store.keep(&root(), &id(2), &key(12)).unwrap());
}

/// One node cannot displace the offers of others.
#[test]
fn offers_are_bounded() {
    let home = Home::new();
    let mut store = home.open();
    store.note(&[sighting(1, 20.0)]).unwrap();
    let mut offer = |secret, by| {
        store
            .offer(&root(), &[(id(1), key(secret))], &giver(by))
            .unwrap();
        let offers = store.offers(&root(), &id(1)).unwrap();
        let secrets = offers.iter().map(|offer| offer.secret.expose()[0]);
        secrets.collect::<Vec<_>>()
    };
    assert_eq!(offer(1, 1), [1]);
    assert_eq!(offer(2, 2), [1, 2]);
    assert_eq!(offer(1, 3), [1, 2]);
    assert_eq!(offer(3, 2), [1, 3]);
    assert_eq!(offer(4, 4), [1, 3, 4]);
    assert_eq!(offer(5, 5), [1, 3, 4, 5]);
    assert_eq!(offer(6, 6), [3, 4, 5, 6]);
}

#[test]
fn nothing_new_is_not_written() {
    let home = Home::new();
    let mut store = home.open();
    keep(&mut store, 1, 11, 20.0);
    let seen = [sighting(1, 20.5), sighting(2, 20.0), sighting(2, 20.0)];
    store.note(&seen).unwrap();
    let before = fs::read(home.file(KEYS_FILE)).unwrap();
    assert_eq!(store.note(&seen).unwrap(), [false, true, true]);
    let offered = [(id(1), key(3)), (id(9), key(3))];
    store.offer(&root(), &offered, &giver(3)).unwrap();
    assert!(!store.keep(&root(), &id(2), &key(3)).unwrap());
    assert_eq!(store.forget(&"other".into(), None).unwrap(), 0);
    assert!(before == fs::read(home.file(KEYS_FILE)).unwrap());
}

#[test]
fn a_store_of_100_000_keys_is_opened_and_forgotten_in_part() {
    const KEYS: u64 = 100_000;
    let home = Home::new();
    let mut store = home.open();
    let filled = store.change("fill", |change| {
        let giver = change.giver_number(&giver(1))?;
        for number in 0..KEYS {
            let day = Day(u32::try_from(number % 100).unwrap());
            change.put_kept(&root(), &id(number), &key(1), giver, day)?;
        }
        change.count(&root(), |kept, _| *kept += KEYS)
    });
    filled.unwrap();
    drop(store);
    let mut store = home.open();
    assert_eq!(kept(&store, [7, KEYS - 1, KEYS]), [7, KEYS - 1]);
    let sightings: Vec<_> = (0..1000).map(|number| sighting(number, 50.0)).collect();
    store.note(&sightings).unwrap();
    assert_eq!(
        store.forget(&root(), Some(Day(50))).unwrap(),
        KEYS / 2 - 500
    );
    assert_eq!(store.roots().unwrap()[0].kept, KEYS / 2 + 500);
}

/// The number of ids that the broker invents. `KC_FLOOD` sets it for longer runs.
const FLOOD: u64 = 130_000;

#[test]
fn invented_ids_do_not_grow_the_store_and_a_real_one_among_them_comes_first() {
    const BATCH: u64 = 10_000;
    let flood = std::env::var("KC_FLOOD").map_or(FLOOD, |flood| flood.parse().unwrap());
    let home = Home::new();
    let mut store = home.open();
    let real = u64::MAX;
    let mut largest = 0;
    for first in (0..flood).step_by(usize::try_from(BATCH).unwrap()) {
        let invented = (first..flood.min(first + BATCH)).map(|number| sighting(number, 1.0));
        let mut sightings: Vec<_> = invented.collect();
        sightings.push(Sighting {
            place: place(i64::try_from(first).unwrap()),
            ..sighting(real, 1.0)
        });
        store.note(&sightings).unwrap();
        assert!(store.roots().unwrap()[0].pending <= MAX_PENDING_PER_ROOT as u64);
        if first > 0 {
            let asked = store.next_pending(&root(), 4).unwrap();
            assert_eq!(asked[0], id(real), "it was seen twice");
        }
        let size = fs::metadata(home.file(KEYS_FILE)).unwrap().len();
        if first + BATCH <= MAX_PENDING_PER_ROOT as u64 {
            largest = size;
        }
        assert!(size <= 2 * largest, "{size} bytes after {first} ids");
    }
}
