use std::io::{Error, ErrorKind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, thread};

use super::{Access, Step, remove_leftovers, replace, write_atomic, write_atomic_keeping_access};
use crate::FileError;

const STEPS: [Step; 4] = [Step::Created, Step::Written, Step::Flushed, Step::Renamed];

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_failure_before_the_rename_leaves_the_old_bytes_and_no_trace() {
    for failing in STEPS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.seed");
        write_atomic(&path, b"old").unwrap();
        let mut observer = |step| {
            if step == failing {
                Err(Error::from(ErrorKind::StorageFull))
            } else {
                Ok(())
            }
        };
        let error = replace(&path, b"new", Access::OwnerOnly, &mut observer).unwrap_err();
        assert!(
            matches!(&error, FileError::Io { path: named, .. } if *named == path),
            "{error:?}"
        );
        let expected: &[u8] = if failing == Step::Renamed {
            b"new"
        } else {
            b"old"
        };
        assert_eq!(fs::read(&path).unwrap(), expected, "{failing:?}");
        assert_eq!(names(folder.path()), ["n1.seed"], "{failing:?}");
    }
}

/// The test starts its own program again as the process that crashes.
#[test]
fn a_crash_leaves_old_or_new_bytes_and_what_can_be_removed() {
    const VARIABLE: &str = "KC_TEST_CRASH";
    if let Ok(task) = env::var(VARIABLE) {
        let (step, path) = task.split_once(' ').unwrap();
        let crashing = STEPS[step.parse::<usize>().unwrap()];
        let mut observer = |step| {
            if step == crashing {
                std::process::abort()
            } else {
                Ok(())
            }
        };
        replace(Path::new(path), b"new", Access::OwnerOnly, &mut observer).unwrap();
        return;
    }
    for (index, crashing) in STEPS.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.seed");
        let others = [
            ".n1.seed.abc.tmp",
            ".n1.seed.abcdef.tmp.txt",
            ".n1.seed.ab.def.tmp",
            ".n2.seed.abcdef.tmp",
        ];
        for other in others {
            fs::write(folder.path().join(other), b"").unwrap();
        }
        write_atomic(&path, b"old").unwrap();
        let before = names(folder.path());
        let child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "atomic::tests::a_crash_leaves_old_or_new_bytes_and_what_can_be_removed",
            ])
            .env(VARIABLE, format!("{index} {}", path.display()))
            .output()
            .unwrap();
        assert_eq!(child.status.code(), None, "ended by a signal");
        let expected: &[u8] = if crashing == Step::Renamed {
            b"new"
        } else {
            b"old"
        };
        assert_eq!(fs::read(&path).unwrap(), expected, "{crashing:?}");
        let left = names(folder.path()).len() - before.len();
        assert_eq!(left, usize::from(crashing != Step::Renamed), "{crashing:?}");
        remove_leftovers(&path);
        assert_eq!(names(folder.path()), before, "{crashing:?}");
    }
}

#[test]
fn readers_never_see_a_torn_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n1.config");
    let content = |version: u8| vec![version; 4096 * usize::from(version % 7 + 1)];
    write_atomic(&path, &content(0)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0;
                    while !done.load(Ordering::Acquire) || reads == 0 {
                        let bytes = fs::read(&path).unwrap();
                        assert_eq!(bytes, content(bytes[0]));
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        // Two threads write, because each replacement must be complete even if another thread writes, too.
        let writers: Vec<_> = [0, 100]
            .into_iter()
            .map(|base| {
                let path = &path;
                scope.spawn(move || {
                    (base..base + 50)
                        .for_each(|version| write_atomic(path, &content(version)).unwrap())
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    assert_eq!(names(folder.path()), ["n1.config"]);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn new_files_are_private_and_existing_ones_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.config");
        write_atomic_keeping_access(&path, b"new").unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write_atomic_keeping_access(&path, b"kept").unwrap();
        assert_eq!(mode(&path), 0o640);
        write_atomic(&path, b"private").unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn the_temporary_file_is_private_from_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.seed");
        let mut seen = Vec::new();
        let mut observer = |step| {
            let temporary = names(folder.path())
                .into_iter()
                .find(|name| name.starts_with(".n1.seed."));
            seen.push((step, temporary.map(|name| mode(&folder.path().join(name)))));
            Ok(())
        };
        replace(&path, b"secret", Access::OwnerOnly, &mut observer).unwrap();
        let private = Some(0o600);
        let expected = STEPS.map(|step| (step, if step == Step::Renamed { None } else { private }));
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (
            folder.path().join("real.config"),
            folder.path().join("n1.config"),
        );
        fs::write(&real, b"old").unwrap();
        symlink(&real, &link).unwrap();
        write_atomic(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn a_folder_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            write_atomic(folder.path(), b""),
            Err(FileError::NotAFile { .. })
        ));
        let missing = folder.path().join("no/n1.seed");
        assert!(
            matches!(write_atomic(&missing, b""), Err(FileError::Missing { path }) if path == missing)
        );
    }
}
