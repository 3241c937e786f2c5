//! Sealing and opening in one thread, beside libsodium.

use kc::core::message::{self, Opened};
use kc::core::ratchet::Component;

use crate::keys::{ROOT, ring_with, sealing_key};
use crate::report::Report;
use crate::rounds::{Plan, Work};
use crate::sodium;

/// The lengths of the plaintexts.
const SIZES: [(&str, usize); 4] = [
    ("100B", 100),
    ("1KiB", 1 << 10),
    ("10KiB", 10 << 10),
    ("100KiB", 100 << 10),
];

/// The number of messages that are opened in turns.
const MESSAGES: usize = 64;

pub fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let version = sodium::version();
    let key = sealing_key();
    let ring = ring_with(&key);
    let secret = *key.data_key().expose();
    for (size, length) in SIZES {
        let plaintext = vec![b'x'; length];
        let ours = Work::once(|| {
            let mut sealed = Vec::new();
            message::seal(&key, Component::Value, &plaintext, &mut sealed).map(|()| sealed)
        });
        let mut count = 0;
        let theirs = Work::once(|| {
            count += 1;
            sodium::seal(&secret, count, &plaintext)
        });
        report.add(plan.compare(&format!("seal/{size}/one"), ours, &version, theirs))?;

        let mut sealed = vec![Vec::new(); MESSAGES];
        for message in &mut sealed {
            message::seal(&key, Component::Value, &plaintext, message)?;
        }
        let all = u32::try_from(MESSAGES)?;
        let ours = Work::of(all, || {
            let open = |sealed: &Vec<u8>| ring.open(ROOT, Component::Value, sealed);
            let opened = sealed.iter().map(open);
            assert!(
                opened
                    .into_iter()
                    .all(|opened| matches!(opened, Opened::Plaintext(_)))
            );
        });
        let counts = 1..=u64::from(all);
        let others: Vec<_> = counts
            .map(|count| sodium::seal(&secret, count, &plaintext))
            .collect();
        let theirs = Work::of(all, || {
            let opened = others.iter().map(|sealed| sodium::open(&secret, sealed));
            assert!(opened.into_iter().all(|opened| opened.is_some()));
        });
        report.add(plan.compare(&format!("open/{size}/one"), ours, &version, theirs))?;
    }
    Ok(())
}
