use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::status::FolderStatus;
use crate::wire::{Extras, Hash};

/// A receiver's folder, whose store can be opened again as after a kill.
struct Home {
    folder: TempDir,
    on_conflict: OnConflict,
}

impl Home {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            on_conflict: OnConflict::default(),
        }
    }

    fn open(&self) -> Store {
        Store::open(self.folder.path(), self.on_conflict, (1 << 30, 0), false).unwrap()
    }

    fn apply(&self, values: &[Vec<u8>]) -> Vec<ReceiveEvent> {
        apply(&self.open(), values)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    /// Returns the number of files in the folder and of temporary files.
    fn files(&self) -> (usize, usize) {
        let count = |path| {
            let entries = fs::read_dir(path).unwrap();
            entries
                .filter(|entry| entry.as_ref().unwrap().path().is_file())
                .count()
        };
        let parts = self.folder.path().join(".kc-files/parts");
        (count(self.folder.path().to_owned()), count(parts))
    }

    fn status(&self) -> crate::ReceiveStatus {
        FolderStatus::read(self.folder.path())
            .unwrap()
            .received
            .unwrap()
    }
}

fn apply(store: &Store, values: &[Vec<u8>]) -> Vec<ReceiveEvent> {
    let messages = values.iter().zip(0..).map(|(value, offset)| Message {
        partition: 0,
        offset,
        value: Ok(value),
    });
    store.apply(messages, None).unwrap().events
}

/// Returns the records of a file.
fn records(path: &str, content: &[u8], chunk_bytes: usize) -> Vec<Vec<u8>> {
    records_hashed(path, content, chunk_bytes, sha512(content))
}

fn records_hashed(path: &str, content: &[u8], chunk_bytes: usize, hash: Hash) -> Vec<Vec<u8>> {
    let parts: Vec<_> = match content {
        [] => vec![content],
        content => content.chunks(chunk_bytes).collect(),
    };
    let count = u32::try_from(parts.len()).unwrap();
    let chunks = parts.iter().zip(1..).map(|(data, index)| {
        let chunk = Chunk {
            path: path.parse().unwrap(),
            file_hash: hash,
            index,
            count,
            offset: u64::from(index - 1) * chunk_bytes as u64,
            data,
            modified: 1e9,
            extras: Some(Extras {
                mode: Some(0o640),
                mtime_ns: Some(1_000_000_000_000_000_007),
                size: Some(content.len() as u64),
            }),
        };
        chunk.encode(&sha512(data))
    });
    chunks.collect()
}

fn completed(events: &[ReceiveEvent]) -> Vec<String> {
    let saved = events.iter().filter_map(|event| match event {
        ReceiveEvent::Complete { saved, .. } => Some(saved.to_string()),
        _ => None,
    });
    saved.collect()
}

fn failures(events: &[ReceiveEvent]) -> Vec<&str> {
    let reasons = events.iter().filter_map(|event| match event {
        ReceiveEvent::Failed { reason, .. } | ReceiveEvent::Refused { reason, .. } => {
            Some(reason.as_str())
        }
        _ => None,
    });
    reasons.collect()
}

fn skipped(events: &[ReceiveEvent]) -> Vec<bool> {
    let same = events.iter().filter_map(|event| match event {
        ReceiveEvent::Skipped { same, .. } => Some(*same),
        _ => None,
    });
    same.collect()
}

#[test]
fn a_file_has_its_content_time_and_permissions() {
    let home = Home::new();
    let events = home.apply(&records("sub/deep/größe b.bin", b"0123456789", 4));
    assert_eq!(completed(&events), ["sub/deep/größe b.bin"]);
    let path = home.folder.path().join("sub/deep/größe b.bin");
    let found = fs::metadata(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"0123456789");
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_000_000_000, 7));
    // The umask may take the permission of the group.
    assert!([0o640, 0o600].contains(&(found.permissions().mode() & 0o7777)));
    assert_eq!(home.files().1, 0);
    assert_eq!(completed(&home.apply(&records("empty", b"", 4))), ["empty"]);
    assert_eq!(home.read("empty"), b"");
    assert_eq!(home.status().complete, 2);
}

#[test]
fn missing_chunks_are_named_and_chunks_that_come_again_change_nothing() {
    let home = Home::new();
    let all = records("a", b"0123456789", 2);
    home.apply(&[all[3].clone(), all[0].clone(), all[3].clone()]);
    let [incomplete] = &home.status().incomplete[..] else {
        panic!("not one file")
    };
    assert_eq!((incomplete.received, incomplete.chunks), (2, 5));
    assert_eq!(incomplete.missing, [(2, 3), (5, 5)]);
    assert_eq!(completed(&home.apply(&all)), ["a"]);
    assert!(home.apply(&all).is_empty());
    assert_eq!(home.files(), (1, 0));
}

#[test]
fn conflicts_are_settled_by_the_policy() {
    let mut home = Home::new();
    home.apply(&records("a.txt", b"one", 4));
    assert_eq!(
        completed(&home.apply(&records("a.txt", b"two", 4))),
        ["a (1).txt"]
    );
    home.on_conflict = OnConflict::Skip;
    assert_eq!(
        skipped(&home.apply(&records("a.txt", b"three", 4))),
        [false]
    );
    home.on_conflict = OnConflict::Overwrite;
    assert_eq!(
        completed(&home.apply(&records("a.txt", b"four", 4))),
        ["a.txt"]
    );
    assert_eq!(
        (home.read("a.txt"), home.read("a (1).txt")),
        (b"four".into(), b"two".into())
    );
    fs::write(home.folder.path().join("b"), "same").unwrap();
    assert_eq!(skipped(&home.apply(&records("b", b"same", 2))), [true]);
    assert_eq!(home.files(), (3, 0));
}

#[test]
fn two_files_of_one_name_at_once_are_both_kept() {
    let home = Home::new();
    let (one, two) = (
        records("a", b"one one one", 4),
        records("a", b"two two two", 4),
    );
    let mixed: Vec<_> = one
        .into_iter()
        .zip(two)
        .flat_map(|(one, two)| [one, two])
        .collect();
    let mut saved = completed(&home.apply(&mixed));
    saved.sort();
    assert_eq!(saved, ["a", "a (1)"]);
    let mut contents = [home.read("a"), home.read("a (1)")];
    contents.sort();
    assert_eq!(contents, [b"one one one", b"two two two"]);
}

#[test]
fn symbolic_links_are_not_followed() {
    let home = Home::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "kept").unwrap();
    symlink(outside.path(), home.folder.path().join("link")).unwrap();
    symlink(outside.path().join("secret"), home.folder.path().join("a")).unwrap();
    let events = home.apply(&records("link/secret", b"evil", 4));
    assert_eq!(
        failures(&events),
        ["a folder of its path is a symbolic link or a file"]
    );
    assert_eq!(completed(&home.apply(&records("a", b"evil", 4))), ["a (1)"]);
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"kept");
    let overwriting = Home {
        on_conflict: OnConflict::Overwrite,
        ..home
    };
    assert_eq!(
        completed(&overwriting.apply(&records("a", b"new", 4))),
        ["a"]
    );
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"kept");
}

#[test]
fn a_hash_that_lies_and_overlapping_chunks_fail_and_a_file_sent_again_arrives() {
    let home = Home::new();
    let lie = records_hashed("a", b"0123456789", 4, [7; 64]);
    let lied = home.apply(&lie);
    assert_eq!(
        failures(&lied),
        ["its content does not have the announced hash"]
    );
    let single = home.apply(&records_hashed("a", b"0123", 4, [7; 64]));
    assert_eq!(failures(&single), ["a does not have its hash"]);

    let good = records("a", b"0123456789", 4);
    let evil = records_hashed("a", b"xxxx456789", 4, sha512(b"0123456789"));
    let mixed = [
        evil[0].clone(),
        good[0].clone(),
        good[1].clone(),
        good[2].clone(),
    ];
    let overlapped = home.apply(&mixed);
    assert_eq!(
        failures(&overlapped),
        ["its content does not have the announced hash"]
    );
    assert_eq!(home.files(), (0, 0));
    assert_eq!(home.status().failed.len(), 2);
    assert_eq!(completed(&home.apply(&good)), ["a"]);
    assert_eq!(home.status().failed.len(), 1);
}

#[test]
fn a_file_divided_anew_leaves_no_chunks_of_the_old_division() {
    let home = Home::new();
    home.apply(&records("a", b"0123456789", 4)[..2]);
    assert_eq!(
        completed(&home.apply(&records("a", b"0123456789", 5))),
        ["a"]
    );
    assert!(home.status().incomplete.is_empty());
    assert!(home.apply(&records("a", b"0123456789", 4)).is_empty());
    drop(home.open());
    assert_eq!(home.files(), (1, 0));
}

#[test]
fn announced_sizes_cost_nothing() {
    let home = Home::new();
    let huge = |size: u64| {
        let data = vec![7; 1 << 20];
        let chunk = Chunk {
            path: "huge".parse().unwrap(),
            file_hash: [0; 64],
            index: 1,
            count: u32::try_from(size >> 20).unwrap(),
            offset: 0,
            data: &data,
            modified: 0.0,
            extras: None,
        };
        chunk.encode(&sha512(&data))
    };
    let events = home.apply(&[huge(1 << 31)]);
    assert_eq!(failures(&events).len(), 1);
    assert!(failures(&home.apply(&[huge(1 << 30)])).is_empty());
    let parts = home.folder.path().join(".kc-files/parts");
    let part = fs::read_dir(parts).unwrap().next().unwrap().unwrap();
    assert!(part.metadata().unwrap().blocks() * 512 <= 2 << 20);
}

#[test]
fn a_full_disk_ends_the_run_and_acknowledges_nothing() {
    let home = Home::new();
    let full = Store::open(
        home.folder.path(),
        home.on_conflict,
        (1 << 30, u64::MAX),
        false,
    )
    .unwrap();
    let all = records("a", b"0123456789", 4);
    let messages = all.iter().map(|value| Message {
        partition: 0,
        offset: 0,
        value: Ok(value),
    });
    assert!(matches!(
        full.apply(messages, None),
        Err(FilesError::DiskFull { .. })
    ));
    drop(full);
    assert_eq!(completed(&home.apply(&all)), ["a"]);
}

#[test]
fn a_second_receiver_of_the_folder_is_refused() {
    let home = Home::new();
    let first = home.open();
    let second = Store::open(home.folder.path(), home.on_conflict, (1 << 30, 0), false);
    assert!(matches!(second, Err(FilesError::InUse { .. })));
    apply(&first, &records("a", b"0123", 2)[..1]);
    first.tell(home.folder.path()).unwrap();
    let status = home.status();
    assert!(status.running && status.incomplete.len() == 1);
}

#[test]
fn a_kill_after_a_file_got_its_name_leaves_it_as_it_is() {
    let home = Home::new();
    let all = records("a", b"0123456789", 4);
    home.apply(&all[..2]);
    let parts = home.folder.path().join(".kc-files/parts");
    let part = fs::read_dir(parts).unwrap().next().unwrap().unwrap().path();
    fs::write(&part, b"0123456789").unwrap();
    fs::hard_link(&part, home.folder.path().join("a")).unwrap();
    assert_eq!(completed(&home.apply(&all[2..])), ["a"]);
    assert_eq!(home.files(), (1, 0));

    // The name was taken by another file, and then the file was moved away.
    for (content, name, expected) in [
        (b"9876543210", "a (1)", vec!["a (1)".to_owned()]),
        (b"abcdefghij", "elsewhere", Vec::new()),
    ] {
        let all = records("a", content, 4);
        home.apply(&all[..2]);
        let parts = home.folder.path().join(".kc-files/parts");
        let part = fs::read_dir(parts).unwrap().next().unwrap().unwrap().path();
        fs::hard_link(&part, home.folder.path().join(name)).unwrap();
        assert_eq!(completed(&home.apply(&all[2..])), expected);
    }

    // With --on-conflict overwrite, the temporary file itself has got the name.
    let all = records("b", b"0123456789", 4);
    home.apply(&all[..2]);
    let parts = home.folder.path().join(".kc-files/parts");
    let part = fs::read_dir(parts).unwrap().next().unwrap().unwrap().path();
    fs::write(&part, b"0123456789").unwrap();
    fs::rename(&part, home.folder.path().join("b")).unwrap();
    assert_eq!(skipped(&home.apply(&all[2..])), [true]);
    assert_eq!(home.files(), (4, 0));
}

#[test]
fn a_limit_ends_at_the_file_that_reaches_it() {
    let home = Home::new();
    let store = home.open();
    let all = [records("a", b"0123", 2), records("b", b"4567", 2)].concat();
    let messages = || {
        all.iter().map(|value| Message {
            partition: 0,
            offset: 0,
            value: Ok(value.as_slice()),
        })
    };
    let applied = store.apply(messages(), Some(1)).unwrap();
    assert_eq!(
        (applied.records, completed(&applied.events)),
        (2, vec!["a".to_owned()])
    );
    let applied = store.apply(messages().skip(2), Some(1)).unwrap();
    assert_eq!(
        (applied.records, completed(&applied.events)),
        (2, vec!["b".to_owned()])
    );
}

#[test]
fn a_complete_file_is_to_be_processed_until_it_was() {
    let home = Home::new();
    let open = || Store::open(home.folder.path(), home.on_conflict, (1 << 30, 0), true).unwrap();
    let store = open();
    fs::write(home.folder.path().join("a"), "another").unwrap();
    apply(&store, &records("a", b"0123", 2));
    let saved = Some("a (1)".parse().unwrap());
    assert_eq!(store.next_to_process(None).unwrap(), saved);
    drop(store);
    let store = open();
    assert_eq!(store.next_to_process(None).unwrap(), saved);
    assert_eq!(store.next_to_process(saved.as_ref()).unwrap(), None);
    drop(store);
    assert_eq!(open().next_to_process(None).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn files_become_complete_once_in_any_order_and_over_restarts(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..4),
        order in any::<prop::sample::Index>(),
        kills in proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
        seed in proptest::collection::vec(any::<u32>(), 120),
    ) {
        let home = Home::new();
        let mut all = Vec::new();
        for (number, content) in contents.iter().enumerate() {
            all.extend(records(&format!("d{number}/f"), content, 1 + order.index(9)));
        }
        // Each record comes twice, in any order.
        all.extend(all.clone());
        let mut keyed: Vec<_> = seed.iter().cycle().zip(all).collect();
        keyed.sort_by_key(|(key, _)| **key);
        let all: Vec<_> = keyed.into_iter().map(|(_, value)| value).collect();
        let mut events = Vec::new();
        let mut rest = &all[..];
        for kill in kills {
            let (now, later) = rest.split_at(kill.index(rest.len() + 1));
            events.extend(home.apply(now));
            rest = later;
        }
        events.extend(home.apply(rest));
        prop_assert_eq!(completed(&events).len(), contents.len());
        for (number, content) in contents.iter().enumerate() {
            prop_assert_eq!(&home.read(&format!("d{number}/f")), content);
        }
        prop_assert!(home.status().incomplete.is_empty());
        prop_assert_eq!(home.files().1, 0);
    }
}
