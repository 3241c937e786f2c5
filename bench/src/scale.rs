//! What many root topics, many key ids and a second thread cost or gain.

use std::sync::Arc;
use std::thread;

use kc::core::message::{self, KeyRing, MAX_KEYS_PER_ROOT, Opened};
use kc::core::ratchet::{Component, SealingKey};
use kc::core::types::{KeyId, RootTopic};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::keys::{ROOT, ring_with, sealing_key};
use crate::report::{Figures, Line, Report, Unit};
use crate::rounds::{Plan, Work};

/// The number of root topics of a large node, and of data keys of each.
const ROOTS: usize = 10_000;
const KEYS_PER_ROOT: usize = 10;

/// The number of messages in a row that have the same data key.
const RUN: usize = 100;

/// The length of the messages: short, so that look-ups weigh much.
const LENGTH: usize = 200;

/// The number of messages of one pass.
const MESSAGES: usize = 10_000;

pub fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    roots(plan, report)?;
    cores(plan, report)
}

/// Opens messages of one root topic, and of many, in runs and at random.
fn roots(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let key = sealing_key();
    let one = ring_with(&key);
    let before = resident()?;
    let ring = large_ring(&key);
    let used = resident()?.saturating_sub(before);
    let mut memory = Figures::default();
    memory.add(used as f64);
    let name = format!("memory/{ROOTS}-roots-of-{KEYS_PER_ROOT}-keys");
    report.add(Line::new(name, Unit::Bytes, &memory))?;

    let mut sealed = Vec::new();
    message::seal(&key, Component::Value, &[b'x'; LENGTH], &mut sealed)?;
    let topics: Vec<String> = (0..ROOTS).map(topic).collect();
    let mut rng = StdRng::seed_from_u64(1);
    let mut random: Vec<usize> = (0..MESSAGES).map(|at| at * ROOTS / MESSAGES).collect();
    random.shuffle(&mut rng);
    let runs: Vec<usize> = (0..MESSAGES).map(|at| random[at / RUN]).collect();
    let all = u32::try_from(MESSAGES)?;
    for (name, order) in [("runs-of-100", &runs), ("random", &random)] {
        let ours = Work::of(all, || {
            for root in order {
                assert!(opens(&ring, &topics[*root], &sealed));
            }
        });
        let theirs = Work::of(all, || {
            for _ in order {
                assert!(opens(&one, ROOT, &sealed));
            }
        });
        let name = format!("open/{ROOTS}-roots/{name}");
        report.add(plan.compare(&name, ours, "one root topic", theirs))?;
    }
    key_ids(plan, report, &one, &mut rng)
}

/// Opens messages of many key ids.
fn key_ids(
    plan: &Plan,
    report: &mut Report,
    one: &KeyRing,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    let key = sealing_key();
    let mut sealed = Vec::new();
    message::seal(&key, Component::Value, &[b'x'; LENGTH], &mut sealed)?;
    let roots = 100_000_usize.div_ceil(MAX_KEYS_PER_ROOT);
    let mut ring = KeyRing::default();
    let mut messages = Vec::new();
    for root in 0..roots {
        let root_topic = RootTopic::from(topic(root).as_str());
        for number in 0..MAX_KEYS_PER_ROOT {
            let id = id(root, number);
            ring.add(&root_topic, id, key.data_key().expose_copy(), None);
            if messages.len() < MESSAGES
                && number % (MAX_KEYS_PER_ROOT / MESSAGES.div_ceil(roots)) == 0
            {
                messages.push((topic(root), with_id(&sealed, &id)));
            }
        }
    }
    let all = u32::try_from(messages.len())?;
    let mut random: Vec<usize> = (0..messages.len()).collect();
    random.shuffle(rng);
    let runs: Vec<usize> = (0..messages.len()).map(|at| random[at / RUN]).collect();
    for (name, order) in [("runs-of-100", &runs), ("random", &random)] {
        let ours = Work::of(all, || {
            for at in order {
                let (topic, sealed) = &messages[*at];
                assert!(opens(&ring, topic, sealed));
            }
        });
        let theirs = Work::of(all, || {
            for _ in order {
                assert!(opens(one, ROOT, &sealed));
            }
        });
        let name = format!("open/100000-keys/{name}");
        report.add(plan.compare(&name, ours, "one key", theirs))?;
    }
    Ok(())
}

/// Seals and opens in two threads, beside one; and a loop of pure arithmetic likewise, which shows what the machine gains
/// from its second core.
fn cores(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let key = sealing_key();
    let ring = ring_with(&key);
    let plaintext = [b'x'; 1 << 10];
    let mut sealed = Vec::new();
    message::seal(&key, Component::Value, &plaintext, &mut sealed)?;
    let seal = || {
        let mut sealed = Vec::new();
        let _ = message::seal(&key, Component::Value, &plaintext, &mut sealed);
        sealed.len() as u64
    };
    let open = || u64::from(opens(&ring, ROOT, &sealed));
    let arithmetic = || (0..400).fold(7_u64, |sum, step| std::hint::black_box(sum * 31 + step));
    for (name, work) in [
        ("cores/arithmetic", &arithmetic as &(dyn Fn() -> u64 + Sync)),
        ("cores/seal", &seal),
        ("cores/open", &open),
    ] {
        let both = Work::of(2 * CHUNK, || in_threads(2, work));
        let one = Work::of(CHUNK, || in_threads(1, work));
        report.add(plan.compare(name, both, "one core", one))?;
    }
    Ok(())
}

/// The number of operations of one thread between two joins.
const CHUNK: u32 = 20_000;

fn in_threads(threads: usize, work: &(dyn Fn() -> u64 + Sync)) {
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..CHUNK).fold(0, |sum, _| sum ^ work()));
        }
    });
}

fn opens(ring: &KeyRing, root_topic: &str, sealed: &[u8]) -> bool {
    let opened = ring.open(root_topic, Component::Value, sealed);
    matches!(opened, Opened::Plaintext(_))
}

fn topic(number: usize) -> String {
    format!("topic-number-{number}")
}

fn id(root: usize, number: usize) -> KeyId {
    let mut id = [7; 32];
    let number = (root * MAX_KEYS_PER_ROOT + number) as u64;
    // Ids are hashes.
    for (place, part) in id.chunks_exact_mut(8).zip(1..) {
        let mixed = (number + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(13 * part);
        place.copy_from_slice(&mixed.to_le_bytes());
    }
    KeyId::Long(id)
}

/// Returns an envelope with another key id of the same length.
fn with_id(sealed: &[u8], id: &KeyId) -> Vec<u8> {
    let mut sealed = sealed.to_vec();
    if let KeyId::Long(id) = id {
        sealed[4..36].copy_from_slice(id);
    }
    sealed
}

/// Returns the keys of many root topics; each root topic has the key `key` among them.
fn large_ring(key: &Arc<SealingKey>) -> KeyRing {
    let mut ring = KeyRing::default();
    for root in 0..ROOTS {
        let root_topic = RootTopic::from(topic(root).as_str());
        for number in 1..KEYS_PER_ROOT {
            let secret = key.data_key().expose_copy();
            ring.add(&root_topic, id(root, number), secret, None);
        }
        ring.add(&root_topic, key.id(), key.data_key().expose_copy(), None);
    }
    ring
}

/// Returns the resident memory of this process, in bytes.
pub fn resident() -> anyhow::Result<u64> {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).unwrap_or_default();
    Ok(pages.parse::<u64>()? * PAGE)
}
