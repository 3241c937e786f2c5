//! Secret files: bounded, private, replaced as a whole.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::sync::Arc;

use kc_keystore_file::{FileError, MAX_SECRET_BYTES, NodeFiles, NodeLock, SecretFile};
use proptest::prelude::*;
use tempfile::TempDir;

fn seed() -> (TempDir, SecretFile) {
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    let lock = Arc::new(NodeLock::acquire(&files).unwrap());
    let seed = SecretFile::new(files.seed(), lock);
    (folder, seed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_replaced_is_read(versions in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4)) {
        let (_folder, seed) = seed();
        prop_assert!(!seed.exists().unwrap());
        for version in versions {
            seed.replace(&version).unwrap();
            prop_assert_eq!(&*seed.read().unwrap(), &version);
        }
    }
}

#[test]
fn reading_is_bounded() {
    let (_folder, seed) = seed();
    assert!(matches!(seed.read(), Err(FileError::Missing { path }) if path == seed.path()));
    let limit = usize::try_from(MAX_SECRET_BYTES).unwrap();
    seed.replace(&vec![7; limit]).unwrap();
    assert_eq!(seed.read().unwrap().len(), limit);
    seed.replace(&vec![7; limit + 1]).unwrap();
    assert!(
        matches!(seed.read(), Err(FileError::TooLarge { limit, .. }) if limit == MAX_SECRET_BYTES)
    );
}

#[cfg(unix)]
#[test]
fn what_others_can_read_is_made_private_with_a_warning() {
    use std::io::{self, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (_folder, seed) = seed();
    fs::write(seed.path(), b"hunter2").unwrap();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        for mode in [0o644, 0o600] {
            fs::set_permissions(seed.path(), fs::Permissions::from_mode(mode)).unwrap();
            seed.read().unwrap();
            assert_eq!(
                fs::metadata(seed.path()).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(
        log.contains("0644") && log.contains("n1.seed") && !log.contains("hunter2"),
        "{log}"
    );
}
