//! Sealing and opening in one thread, beside libsodium.

use kc::core::message::{self, Opened, ToSeal};
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

/// The maximum number of messages of a batch, and the number of bytes of its plaintexts, which caches hold.
const BATCH: (usize, usize) = (64, 100 << 10);

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

        let messages = BATCH.0.min(BATCH.1 / length);
        let mut sealed = vec![Vec::new(); messages];
        for message in &mut sealed {
            message::seal(&key, Component::Value, &plaintext, message)?;
        }
        let all = u32::try_from(messages)?;
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

        let mut count = 0;
        let ours = Work::of(all, || {
            let mut sealed = vec![Vec::new(); messages];
            let mut batch: Vec<_> = sealed
                .iter_mut()
                .map(|sealed| ToSeal {
                    plaintext: &plaintext,
                    sealed,
                })
                .collect();
            message::seal_batch(&key, Component::Value, &mut batch).map(|()| sealed)
        });
        let theirs = Work::of(all, || {
            count += 1;
            let seal = |_| sodium::seal(&secret, count, &plaintext);
            (0..messages).map(seal).collect::<Vec<_>>()
        });
        report.add(plan.compare(&format!("seal/{size}/batch"), ours, &version, theirs))?;

        let ours = Work::of(all, || {
            let mut plaintexts = Vec::with_capacity(sealed.iter().map(Vec::len).sum());
            let parts = sealed.iter().map(Vec::as_slice);
            let mut opened = 0;
            ring.open_batch(ROOT, Component::Value, parts, &mut plaintexts, |place| {
                opened += usize::from(place.is_ok());
            });
            assert_eq!(opened, messages);
            plaintexts
        });
        let theirs = Work::of(all, || {
            let opened = others.iter().map(|sealed| sodium::open(&secret, sealed));
            opened.collect::<Option<Vec<_>>>()
        });
        report.add(plan.compare(&format!("open/{size}/batch"), ours, &version, theirs))?;
    }
    Ok(())
}
