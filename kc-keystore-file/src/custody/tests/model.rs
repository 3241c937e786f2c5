//! Random calls behave like a simple model in memory.

use std::collections::BTreeMap;

use kc_core::custody::MAX_OFFERS;
use proptest::prelude::*;

use super::*;

/// The maximum number of pending ids of a root topic.
const LIMIT: usize = 3;
const ROOTS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Call {
    /// Root topic, id, quarter of a day, likely?
    Note(Vec<(usize, u8, u8, bool)>),
    NextPending(usize, usize),
    /// Root topic, ids with secrets, giver.
    Offer(usize, Vec<(u8, u8)>, u8),
    Keep(usize, u8, u8),
    Forget(usize, Option<u8>),
    Reopen,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let (root, id, secret) = (0..ROOTS.len(), 0..6_u8, 0..3_u8);
    let sighting = (root.clone(), id.clone(), 0..24_u8, any::<bool>());
    let offered = prop::collection::vec((id.clone(), secret.clone()), 0..4);
    let call = prop_oneof![
        4 => prop::collection::vec(sighting, 0..4).prop_map(Call::Note),
        2 => (root.clone(), 0..5_usize).prop_map(|(root, max)| Call::NextPending(root, max)),
        4 => (root.clone(), offered, 0..6_u8)
            .prop_map(|(root, keys, giver)| Call::Offer(root, keys, giver)),
        3 => (root.clone(), id, secret).prop_map(|(root, id, secret)| Call::Keep(root, id, secret)),
        1 => (root, prop::option::of(0..7_u8))
            .prop_map(|(root, before)| Call::Forget(root, before)),
        1 => Just(Call::Reopen),
    ];
    prop::collection::vec(call, 1..40)
}

#[derive(Debug, Default)]
struct Model {
    kept: BTreeMap<(usize, u8), (u32, u8, u8)>,
    pending: BTreeMap<(usize, u8), PendingModel>,
    sequence: u64,
    /// The sequence numbers of the last returned ids, of likely ids and of others.
    last: [[Option<u64>; 2]; ROOTS.len()],
}

#[derive(Debug)]
struct PendingModel {
    is_likely: bool,
    sequence: u64,
    quarter: u8,
    /// The quarter of the record whose place is known: the first one of its day.
    place: u8,
    /// Secrets and givers.
    offers: Vec<(u8, u8)>,
}

impl Model {
    fn note(&mut self, root: usize, id: u8, quarter: u8, is_likely: bool) -> bool {
        let day = u32::from(quarter / 4);
        if let Some((last, ..)) = self.kept.get_mut(&(root, id)) {
            *last = day.max(*last);
            return false;
        }
        if let Some(pending) = self.pending.get_mut(&(root, id)) {
            pending.is_likely |= is_likely || quarter != pending.place;
            if day > u32::from(pending.quarter / 4) {
                pending.place = quarter;
            }
            pending.quarter = pending.quarter.max(quarter);
            return true;
        }
        let of_root = || self.pending.iter().filter(|((of, _), _)| *of == root);
        if of_root().count() == LIMIT {
            let without_offers = of_root().filter(|(_, it)| it.offers.is_empty());
            let oldest = without_offers.min_by_key(|(_, it)| (it.is_likely, it.sequence));
            let Some((oldest, _)) = oldest else {
                return true;
            };
            let oldest = *oldest;
            self.pending.remove(&oldest);
        }
        let pending = PendingModel {
            is_likely,
            sequence: self.sequence,
            quarter,
            place: quarter,
            offers: Vec::new(),
        };
        self.pending.insert((root, id), pending);
        self.sequence += 1;
        true
    }

    fn next_pending(&mut self, root: usize, max: usize) -> Vec<u8> {
        let mut ids = Vec::new();
        for (class, last) in self.last[root].iter_mut().enumerate() {
            let of_class = self
                .pending
                .iter()
                .filter(|((of, _), it)| *of == root && usize::from(!it.is_likely) == class);
            let mut order: Vec<_> = of_class.map(|((_, id), it)| (it.sequence, *id)).collect();
            order.sort_by_key(|(sequence, _)| (Some(*sequence) <= *last, *sequence));
            let room = if class == 0 { max - max / 4 } else { max };
            for (sequence, id) in order.into_iter().take(room - ids.len()) {
                *last = Some(sequence);
                ids.push(id);
            }
        }
        ids
    }

    fn offer(&mut self, root: usize, id: u8, secret: u8, giver: u8) {
        let Some(pending) = self.pending.get_mut(&(root, id)) else {
            return;
        };
        let offers = &mut pending.offers;
        if offers.iter().all(|(offered, _)| *offered != secret) {
            offers.retain(|(_, by)| *by != giver);
            offers.push((secret, giver));
            offers.drain(..offers.len().saturating_sub(MAX_OFFERS));
        }
    }

    fn keep(&mut self, root: usize, id: u8, secret: u8) -> bool {
        let Some(pending) = self.pending.get(&(root, id)) else {
            return false;
        };
        let mut offers = pending.offers.iter();
        let Some((_, giver)) = offers.find(|(offered, _)| *offered == secret) else {
            return false;
        };
        let kept = (u32::from(pending.quarter / 4), secret, *giver);
        self.kept.insert((root, id), kept);
        self.pending.remove(&(root, id));
        true
    }

    fn forget(&mut self, root: usize, before: Option<u8>) -> u64 {
        let is_old = |day: u32| before.is_none_or(|before| day < before.into());
        let had = self.kept.len();
        self.kept
            .retain(|(of, _), (day, ..)| *of != root || !is_old(*day));
        self.pending
            .retain(|(of, _), _| *of != root || before.is_some());
        for ((of, _), pending) in &mut self.pending {
            if *of == root && is_old((pending.quarter / 4).into()) {
                pending.offers.clear();
            }
        }
        u64::try_from(had - self.kept.len()).unwrap()
    }

    fn roots(&self) -> Vec<RootCustody> {
        let roots = (0..ROOTS.len()).map(|root| {
            let days = self.kept.iter().filter(|((of, _), _)| *of == root);
            let days: Vec<_> = days.map(|(_, (day, ..))| Day(*day)).collect();
            let pending = self.pending.keys().filter(|(of, _)| *of == root);
            RootCustody {
                root_topic: ROOTS[root].into(),
                kept: u64::try_from(days.len()).unwrap(),
                pending: u64::try_from(pending.count()).unwrap(),
                days: days.iter().min().copied().zip(days.iter().max().copied()),
            }
        });
        roots.filter(|root| root.kept + root.pending > 0).collect()
    }
}

/// Half of the ids are short, half are long.
fn id_of(number: u8) -> KeyId {
    match number % 2 {
        0 => KeyId::Short(number.into()),
        _ => KeyId::Long([number; 32]),
    }
}

fn sighting_of(root: usize, number: u8, quarter: u8, is_likely: bool) -> Sighting {
    Sighting {
        root_topic: ROOTS[root].into(),
        id: id_of(number),
        place: place(quarter.into()),
        at: at(f64::from(quarter) / 4.0),
        is_likely,
    }
}

/// Checks that all that can be read from the store is as in the model.
fn compare(store: &FileCustody, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(store.roots().unwrap(), model.roots());
    let mut unproven = Vec::new();
    for (root, name) in ROOTS.into_iter().enumerate() {
        for number in 0..6 {
            let root_topic = name.into();
            let kept = store.kept(&root_topic, &[id_of(number)]).unwrap();
            let kept: Vec<_> = kept.into_iter().map(|it| (it.secret, it.giver)).collect();
            let expected = model.kept.get(&(root, number));
            let expected = expected.map(|(_, secret, by)| (key(*secret), giver(*by)));
            prop_assert_eq!(kept, Vec::from_iter(expected));

            let offers = store.offers(&root_topic, &id_of(number)).unwrap();
            let offers: Vec<_> = offers.into_iter().map(|it| (it.secret, it.giver)).collect();
            let pending = model.pending.get(&(root, number));
            let expected = pending.iter().flat_map(|pending| &pending.offers);
            let expected = expected.map(|(secret, by)| (key(*secret), giver(*by)));
            prop_assert_eq!(offers, Vec::from_iter(expected));

            if let Some(pending) = pending.filter(|pending| !pending.offers.is_empty()) {
                unproven.push((root_topic, id_of(number), place(pending.place.into())));
            }
        }
    }
    let found = store.unproven().unwrap();
    let mut found: Vec<_> = found
        .into_iter()
        .map(|it| (it.root_topic, it.id, it.place))
        .collect();
    let order = |it: &(RootTopic, KeyId, Place)| (it.0.clone(), it.1);
    found.sort_by_key(order);
    unproven.sort_by_key(order);
    prop_assert_eq!(found, unproven);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_store_behaves_like_the_model(calls in calls()) {
        let home = Home::new();
        let limit = u64::try_from(LIMIT).unwrap();
        let open = || {
            FileCustody::open_with_limit(&home.folder(), Arc::clone(&home.keystore), limit)
        };
        let mut store = open().unwrap();
        let mut model = Model::default();
        for call in calls {
            match call {
                Call::Note(seen) => {
                    let sightings: Vec<_> = seen
                        .iter()
                        .map(|&(root, id, quarter, is_likely)| sighting_of(root, id, quarter, is_likely))
                        .collect();
                    let expected: Vec<_> = seen
                        .into_iter()
                        .map(|(root, id, quarter, is_likely)| model.note(root, id, quarter, is_likely))
                        .collect();
                    prop_assert_eq!(store.note(&sightings).unwrap(), expected);
                }
                Call::NextPending(root, max) => {
                    let ids = store.next_pending(&ROOTS[root].into(), max).unwrap();
                    let expected = model.next_pending(root, max).into_iter().map(id_of);
                    prop_assert_eq!(ids, Vec::from_iter(expected));
                }
                Call::Offer(root, keys, by) => {
                    let offered: Vec<_> =
                        keys.iter().map(|(id, secret)| (id_of(*id), key(*secret))).collect();
                    store.offer(&ROOTS[root].into(), &offered, &giver(by)).unwrap();
                    for (id, secret) in keys {
                        model.offer(root, id, secret, by);
                    }
                }
                Call::Keep(root, id, secret) => {
                    let kept = store.keep(&ROOTS[root].into(), &id_of(id), &key(secret)).unwrap();
                    prop_assert_eq!(kept, model.keep(root, id, secret));
                }
                Call::Forget(root, before) => {
                    let day = before.map(|before| Day(before.into()));
                    let forgotten = store.forget(&ROOTS[root].into(), day).unwrap();
                    prop_assert_eq!(forgotten, model.forget(root, before));
                }
                Call::Reopen => {
                    drop(store);
                    store = open().unwrap();
                    model.last = Default::default();
                }
            }
            compare(&store, &model)?;
        }
    }
}
