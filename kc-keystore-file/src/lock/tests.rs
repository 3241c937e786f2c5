use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::{env, fs};

use super::{LockHolder, NodeLock, lock_opened, open};
use crate::{FileError, NodeFiles, SecretFile};

const VARIABLE: &str = "KC_TEST_LOCK";
const HELD: &str = "the lock is held";

/// Starts another process that holds the node's lock until its input ends or it is killed.
fn holder(folder: &Path) -> Child {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "lock::tests::another_process_is_refused_until_the_first_ends",
            "--nocapture",
        ])
        .env(VARIABLE, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(
        lines.map(Result::unwrap).any(|line| line.contains(HELD)),
        "the other process did not get the lock"
    );
    child
}

#[test]
fn another_process_is_refused_until_the_first_ends() {
    if let Some(folder) = env::var_os(VARIABLE) {
        let _lock =
            NodeLock::acquire(&NodeFiles::in_folder(Path::new(&folder), "n1").unwrap()).unwrap();
        println!("{HELD}");
        std::io::stdout().flush().unwrap();
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    for killed in [true, false] {
        let mut child = holder(folder.path());
        let error = NodeLock::acquire(&files).unwrap_err();
        let message = format!(
            "node is in use by process {} (lock file {})",
            child.id(),
            files.lock().display()
        );
        assert_eq!(error.to_string(), message);
        let process = Some(child.id());
        assert_eq!(
            NodeLock::holder(&files).unwrap(),
            Some(LockHolder { process })
        );
        assert!(NodeLock::acquire(&NodeFiles::in_folder(folder.path(), "n2").unwrap()).is_ok());
        if killed {
            child.kill().unwrap();
        } else {
            drop(child.stdin.take());
        }
        child.wait().unwrap();
        assert_eq!(NodeLock::holder(&files).unwrap(), None);
        drop(NodeLock::acquire(&files).unwrap());
    }
}

#[test]
fn looking_for_the_holder_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    assert_eq!(NodeLock::holder(&files).unwrap(), None);
    assert!(!files.lock().exists());
    drop(NodeLock::acquire(&files).unwrap());
    assert_eq!(NodeLock::holder(&files).unwrap(), None);
    let lock = NodeLock::acquire(&files).unwrap();
    NodeLock::holder(&files).unwrap().unwrap();
    lock.check().unwrap();
}

#[test]
fn this_process_is_refused_too() {
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    let lock = NodeLock::acquire(&files).unwrap();
    let own = std::process::id();
    assert!(
        matches!(NodeLock::acquire(&files), Err(FileError::InUse { process: Some(id), path }) if id == own && path == files.lock())
    );
    drop(lock);
    NodeLock::acquire(&files).unwrap();
}

#[test]
fn a_holder_without_id_is_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    let _lock = NodeLock::acquire(&files).unwrap();
    for text in ["", "12", "x\n", "99999999999\n"] {
        fs::write(files.lock(), text).unwrap();
        assert!(
            matches!(
                NodeLock::acquire(&files),
                Err(FileError::InUse { process: None, .. })
            ),
            "{text:?}"
        );
    }
}

#[test]
fn acquiring_removes_what_a_crash_left() {
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    let leftovers = ["config", "crypto", "seed"]
        .map(|kind| folder.path().join(format!(".n1.{kind}.aB3xY9.tmp")));
    leftovers
        .iter()
        .for_each(|path| fs::write(path, b"half").unwrap());
    {
        let lock = NodeLock::acquire(&files).unwrap();
        assert!(leftovers.iter().all(|path| !path.exists()));
        // A process that is refused must not remove the holder's temporary files.
        fs::write(&leftovers[0], b"half").unwrap();
        assert!(NodeLock::acquire(&files).is_err());
        assert!(leftovers[0].exists());
        drop(lock);
    }
    assert!(files.lock().exists());
}

/// If two configurations name the same ratchet, the second node would use its keys again.
#[test]
fn a_ratchet_elsewhere_is_claimed_once() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let shared = elsewhere.path().join("shared.seed");
    fs::write(&shared, b"seed").unwrap();
    let open = |node| {
        Arc::new(NodeLock::acquire(&NodeFiles::in_folder(folder.path(), node).unwrap()).unwrap())
    };
    let (first, second) = (open("n1"), open("n2"));
    let claimed = SecretFile::new(&shared, Arc::clone(&first));
    claimed.claim().unwrap();
    claimed.claim().unwrap();
    assert!(matches!(
        SecretFile::new(&shared, Arc::clone(&second)).claim(),
        Err(FileError::InUse { .. })
    ));
    // The ratchet of the first node is already locked by this node. The second node cannot claim it.
    SecretFile::new(first.files().seed(), Arc::clone(&first))
        .claim()
        .unwrap();
    assert!(
        SecretFile::new(first.files().seed(), Arc::clone(&second))
            .claim()
            .is_err()
    );
    drop((claimed, first));
    SecretFile::new(&shared, second).claim().unwrap();
}

#[cfg(unix)]
#[test]
fn the_lock_file_is_private() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    let _lock = NodeLock::acquire(&files).unwrap();
    assert_eq!(
        fs::metadata(files.lock()).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

/// Deletes a lock file, or replaces it as a second process does.
#[cfg(unix)]
fn lose(path: &Path, replaced: bool) {
    fs::remove_file(path).unwrap();
    if replaced {
        fs::write(path, "").unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_is_replaced_while_it_is_being_locked_is_not_taken_for_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n1.lock");
    for replaced in [false, true] {
        let opened = open(&path).unwrap();
        lose(&path, replaced);
        assert!(lock_opened(&path, opened).unwrap().is_none());
    }
    let opened = open(&path).unwrap();
    assert!(lock_opened(&path, opened).unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn nothing_is_written_once_a_lock_file_is_not_the_one_that_is_held() {
    use kc_core::store::config::{ConfigStore, ConfigStoreError, NodeConfig, Section, Value};

    use crate::{FileConfigStore, NewFiles, NewPlace};

    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("n1.crypto");
    for (of_the_node, replaced) in [(true, false), (true, true), (false, false), (false, true)] {
        let folder = tempfile::tempdir().unwrap();
        let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
        fs::write(&secret, "secret").unwrap();
        let lock = Arc::new(NodeLock::acquire(&files).unwrap());
        let store =
            FileConfigStore::create(Arc::clone(&lock), &NodeConfig::create("n1").unwrap()).unwrap();
        let config = fs::read(files.config()).unwrap();
        let file = || SecretFile::new(&secret, Arc::clone(&lock));
        file().claim().unwrap();
        let lost = if of_the_node {
            files.lock()
        } else {
            secret.with_extension("lock")
        };
        lose(&lost, replaced);

        let is_lost =
            |error: &FileError| matches!(error, FileError::LockLost { path } if *path == lost);
        assert!(is_lost(&file().replace(b"new").unwrap_err()));
        assert!(is_lost(&file().shred().unwrap_err()));
        let mut edit = |config: &mut NodeConfig| {
            config
                .set(Section::CRYPTO, "maxage", &Value::Int(1))
                .map(drop)
        };
        let ConfigStoreError::Storage(source) = store.update(&mut edit).unwrap_err() else {
            panic!("not refused by the store");
        };
        assert!(is_lost(source.downcast_ref().unwrap()), "{source}");
        assert_eq!(fs::read(&secret).unwrap(), b"secret");
        assert_eq!(fs::read(files.config()).unwrap(), config);
    }

    let folder = tempfile::tempdir().unwrap();
    let place = NewPlace::claim(folder.path(), "n1", false).unwrap();
    let (lock, config) = (place.files().lock(), place.files().config());
    lose(&lock, false);
    let files = NewFiles {
        config: &NodeConfig::create("n1").unwrap(),
        secrets: None,
        seed: None,
    };
    assert!(matches!(place.write(files), Err(FileError::LockLost { path }) if path == lock));
    assert!(!config.exists());
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_the_lock_file_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    let precious = folder.path().join("precious");
    let fresh = folder.path().join("fresh");
    fs::write(&precious, "kept").unwrap();
    for target in [&precious, &fresh] {
        std::os::unix::fs::symlink(target, files.lock()).unwrap();
        let error = NodeLock::acquire(&files).unwrap_err();
        assert!(matches!(error, FileError::Link { .. }), "{error:?}");
        assert!(error.to_string().contains("n1.lock is a symbolic link"));
        fs::remove_file(files.lock()).unwrap();
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
    assert!(!fresh.exists());
    NodeLock::acquire(&files).unwrap();
}
