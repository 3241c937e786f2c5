//! The store of the configuration: kept text, refused text.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use kc_core::store::config::{
    ConfigError, ConfigStore, ConfigStoreError, NodeConfig, NodeRole, Section, Value,
};
use kc_keystore_file::{
    FileConfigStore, FileError, MAX_CONFIG_BYTES, NodeFiles, NodeLock, read_config,
};
use tempfile::TempDir;

const FILE: &str = "; mine\n[DEFAULT]\nnode_id : n1\n\n[n1]\n; keep\nb:2\n";

fn node(content: &str) -> (TempDir, NodeFiles, FileConfigStore) {
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    fs::write(files.config(), content).unwrap();
    let store = FileConfigStore::new(Arc::new(NodeLock::acquire(&files).unwrap()));
    (folder, files, store)
}

#[test]
fn an_update_keeps_comments_and_what_a_person_changed_meanwhile() {
    let (_folder, files, store) = node(FILE);
    assert_eq!(store.load().unwrap().node_id(), "n1");
    fs::write(files.config(), format!("{FILE}; added\nc : 3\n")).unwrap();
    let stored = store
        .update(&mut |config| config.set(Section::NODE, "a", &Value::Int(1)).map(drop))
        .unwrap();
    assert_eq!(
        fs::read_to_string(files.config()).unwrap(),
        "; mine\n[DEFAULT]\nnode_id : n1\n\n[n1]\n; keep\nb:2\n; added\nc : 3\na : 1\n\n"
    );
    assert_eq!(stored, store.load().unwrap());
}

#[test]
fn an_edit_that_changes_nothing_or_fails_writes_nothing() {
    let (_folder, files, store) = node(FILE);
    let before = fs::metadata(files.config()).unwrap();
    store
        .update(&mut |config| config.set(Section::NODE, "b", &Value::Int(2)).map(drop))
        .unwrap();
    let error = store
        .update(&mut |config| {
            config.set(Section::NODE, "b", &Value::Int(3))?;
            config
                .set(Section::NODE, "c", &Value::from(" outer "))
                .map(drop)
        })
        .unwrap_err();
    assert!(matches!(
        error,
        ConfigStoreError::Config {
            problem: ConfigError::UnwritableEntry { .. },
            ..
        }
    ));
    assert_eq!(fs::read_to_string(files.config()).unwrap(), FILE);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(
            fs::metadata(files.config()).unwrap().ino(),
            before.ino(),
            "the same file, not a copy"
        );
    }
}

#[test]
fn threads_do_not_lose_each_others_updates() {
    let (_folder, _files, store) = node(FILE);
    thread::scope(|scope| {
        for number in 0..8_i64 {
            let store = &store;
            scope.spawn(move || {
                let name = format!("name{number}");
                store
                    .update(&mut |config| {
                        config.set(Section::NODE, &*name, &number.into()).map(drop)
                    })
                    .unwrap();
            });
        }
    });
    let stored = store.load().unwrap();
    for number in 0..8_i64 {
        assert_eq!(
            stored
                .load_value(Section::NODE, &*format!("name{number}"))
                .unwrap(),
            Some(number.into())
        );
    }
}

#[test]
fn who_only_looks_sees_old_entries_where_they_belong_now() {
    let old = format!("{FILE}\n[n1-crypto]\nrot : base64#AQ==\nchain : base64#Ag==\n");
    let (_folder, files, store) = node(&old);
    let seen = read_config(&files).unwrap();
    let root = seen.load_value(Section::ALLOWLIST, "rot").unwrap();
    assert_eq!(root, Some(Value::Bytes(vec![1])));
    let chain = seen.load_value(Section::CHAINS, "chain0").unwrap();
    assert_eq!(chain, Some(Value::Bytes(vec![2])));
    assert_eq!(fs::read_to_string(files.config()).unwrap(), old);
    assert_eq!(store.migrated(NodeRole::Node).unwrap(), seen);
    assert_eq!(store.load().unwrap(), seen);
}

#[test]
fn a_new_file_is_private_and_never_replaces_one() {
    let folder = tempfile::tempdir().unwrap();
    let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
    let lock = Arc::new(NodeLock::acquire(&files).unwrap());
    let config = NodeConfig::create("n1").unwrap();
    FileConfigStore::create(Arc::clone(&lock), &config).unwrap();
    assert_eq!(read_config(&files).unwrap(), config);
    assert!(
        matches!(FileConfigStore::create(lock, &config), Err(FileError::Exists { path }) if path == files.config())
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(files.config()).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn a_file_that_is_no_configuration_is_refused_with_its_path_and_line() {
    let (_folder, files, store) = node("[DEFAULT]\nnode_id : n1\n\n[n1]\nk = v\n");
    let path = files.config().display().to_string();
    let refused = |store: &FileConfigStore| store.load().unwrap_err();
    assert_eq!(
        refused(&store).to_string(),
        format!("{path}: line 5: expected `[section]`, `name : value` or `; comment`")
    );
    let source = |error: ConfigStoreError| std::error::Error::source(&error).unwrap().to_string();
    fs::write(files.config(), b"[DEFAULT]\nnode_id : \xff\n").unwrap();
    assert_eq!(
        source(refused(&store)),
        format!("{path}: line 2 is not UTF-8 text")
    );
    fs::File::create(files.config())
        .unwrap()
        .set_len(MAX_CONFIG_BYTES + 1)
        .unwrap();
    assert_eq!(
        source(refused(&store)),
        format!("{path} is larger than {MAX_CONFIG_BYTES} bytes")
    );
    fs::remove_file(files.config()).unwrap();
    assert_eq!(source(refused(&store)), format!("{path} does not exist"));
    fs::create_dir(files.config()).unwrap();
    assert_eq!(
        source(refused(&store)),
        format!("{path} is not a regular file")
    );
}

#[test]
fn with_a_state_dir_only_the_state_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n1.config");
    let text = "\u{feff}[DEFAULT]\r\nnode_id : n1\r\n\r\n[n1]\r\nstate_dir : var/kc\r\n";
    fs::write(&path, text).unwrap();
    let files = NodeFiles::beside(&path).unwrap();
    let lock = Arc::new(NodeLock::acquire(&files).unwrap());
    let store = FileConfigStore::new(Arc::clone(&lock));
    store
        .update(&mut |config| {
            config
                .set(Section::DENYLIST, "d", &Value::Bytes(vec![1]))
                .map(drop)
        })
        .unwrap();
    let refused = store
        .update(&mut |config| {
            config
                .set(Section::CRYPTO, "maxage", &Value::Int(1))
                .map(drop)
        })
        .unwrap_err();
    assert!(
        format!("{refused:?}").contains("ReadOnlyConfig"),
        "{refused:?}"
    );

    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(folder.path()), ["n1.config", "var"]);
    assert_eq!(
        names(&folder.path().join("var/kc")),
        ["n1.lock", "n1.state"]
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    drop((store, lock));

    let config = read_config(&NodeFiles::beside(&path).unwrap()).unwrap();
    let denied = config.load_value(Section::DENYLIST, "d").unwrap();
    assert!(denied == Some(Value::Bytes(vec![1])));
}
