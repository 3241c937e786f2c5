//! The audit log detects alterations.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kc_core::keys::{Signer, VerifyingKey};

use super::*;
use crate::custody::audit::Checkpoint;

fn given(number: u64) -> Given {
    Given {
        at: at(20.0 + f64::from(u32::try_from(number).unwrap()) / 100.0),
        root_topic: root(),
        ids: vec![id(number), KeyId::Long([9; 32])],
        requester: giver(3)[1].clone(),
        root: giver(3)[0].clone(),
    }
}

/// Writes a log with entries and a checkpoint after the last of them.
fn logged(entries: u64) -> (Home, Vec<String>) {
    let home = Home::new();
    let mut store = home.open();
    for number in 0..entries {
        store.log_given(&given(number)).unwrap();
    }
    drop(store);
    let lines = home.lines();
    (home, lines)
}

impl Home {
    fn lines(&self) -> Vec<String> {
        let log = fs::read_to_string(self.file(AUDIT_FILE)).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        let lines: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        fs::write(self.file(AUDIT_FILE), lines).unwrap();
    }

    fn verify(&self) -> Result<AuditReport, AuditError> {
        let keys: Vec<VerifyingKey> = self.keystore.verifying_keys();
        verify_audit(&FileCustody::audit_path(&self.folder()), &keys)
    }
}

fn report(entries: u64, checkpoints: u64, unsigned: u64) -> AuditReport {
    AuditReport {
        entries,
        checkpoints,
        unsigned,
    }
}

#[test]
fn entries_are_chained_and_signed() {
    let (home, lines) = logged(2);
    assert_eq!(lines.len(), 3);
    let first: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let expected = serde_json::json!({
        "at": "1970-01-21T00:00:00Z",
        "root_topic": "sensors",
        "ids": ["#0", "09".repeat(32)],
        "requester": giver(3)[1].fingerprint(),
        "root": giver(3)[0].fingerprint(),
        "previous": "0".repeat(64),
    });
    assert_eq!(first, expected);
    assert!(lines[2].starts_with(r#"{"checkpoint":2,"at":"1970-01-21T00:14:24Z","previous":""#));
    assert_eq!(home.verify().unwrap(), report(2, 1, 0));
}

#[test]
fn a_checkpoint_follows_after_100_entries_and_at_the_end() {
    let (home, lines) = logged(201);
    for (place, line) in lines.iter().enumerate() {
        assert_eq!(
            line.contains("checkpoint"),
            [100, 201, 203].contains(&place),
            "{place}"
        );
    }
    assert_eq!(home.verify().unwrap(), report(201, 3, 0));
    // The log continues after a restart; without a new entry, it does not change.
    drop(home.open());
    assert_eq!(home.lines(), lines);
    let mut store = home.open();
    store.log_given(&given(1)).unwrap();
    assert_eq!(home.verify().unwrap(), report(202, 3, 1));
    drop(store);
    assert_eq!(home.verify().unwrap(), report(202, 4, 0));
}

#[test]
fn an_altered_line_is_detected() {
    let (home, lines) = logged(3);
    for place in 0..3 {
        let mut altered = lines.clone();
        altered[place] = altered[place].replace("sensors", "censors");
        home.write(&altered);
        let next = u64::try_from(place).unwrap() + 2;
        let error = home.verify().unwrap_err();
        assert!(
            matches!(error, AuditError::Chain { line } if line == next),
            "{error}"
        );
    }
    let mut altered = lines;
    altered[1] = altered[1].replace("root_topic", "rot_topic");
    home.write(&altered);
    let error = home.verify().unwrap_err();
    assert!(
        matches!(error, AuditError::Malformed { line: 2, .. }),
        "{error}"
    );
}

#[test]
fn a_removed_a_swapped_and_a_repeated_line_are_detected() {
    let (home, lines) = logged(3);
    let changes: [fn(&mut Vec<String>); 3] = [
        |lines| drop(lines.remove(1)),
        |lines| lines.swap(1, 2),
        |lines| lines.insert(1, lines[0].clone()),
    ];
    for change in changes {
        let mut altered = lines.clone();
        change(&mut altered);
        home.write(&altered);
        let error = home.verify().unwrap_err();
        assert!(matches!(error, AuditError::Chain { line: 2 }), "{error}");
    }
    let mut altered = lines;
    altered.remove(0);
    home.write(&altered);
    let error = home.verify().unwrap_err();
    assert!(matches!(error, AuditError::Chain { line: 1 }), "{error}");
}

#[test]
fn a_forged_checkpoint_is_detected() {
    let (home, lines) = logged(2);
    let forge = |change: &dyn Fn(&mut Checkpoint)| {
        let mut checkpoint = serde_json::from_str(&lines[2]).unwrap();
        change(&mut checkpoint);
        let line = serde_json::to_string(&checkpoint).unwrap();
        home.write(&[lines[0].clone(), lines[1].clone(), line]);
        home.verify()
    };
    assert_eq!(forge(&|_| {}).unwrap(), report(2, 1, 0));
    let changes: [fn(&mut Checkpoint); 2] = [
        |it| it.checkpoint = 1,
        |it| it.at = "1970-01-21T00:14:25Z".to_owned(),
    ];
    for change in changes {
        let error = forge(&change).unwrap_err();
        assert!(
            matches!(
                error,
                AuditError::Checkpoint {
                    line: 3,
                    entries: 2
                }
            ),
            "{error}"
        );
    }
    let stranger = SigningKey::generate(KeyType::Ed25519, &mut system_rng().unwrap());
    let sign = |it: &mut Checkpoint| {
        let message = it.previous.as_bytes();
        let signed = stranger.sign(message, &mut system_rng().unwrap()).unwrap();
        it.signature = STANDARD.encode(signed.strip_suffix(message).unwrap());
    };
    let error = forge(&sign).unwrap_err();
    assert!(
        matches!(error, AuditError::Signature { line: 3 }),
        "{error}"
    );
    let error = forge(&|it| {
        sign(it);
        it.key = STANDARD.encode(stranger.verifying_key().to_bytes());
    });
    let error = error.unwrap_err();
    assert!(
        matches!(error, AuditError::UnknownKey { line: 3 }),
        "{error}"
    );
    let error = forge(&|it| it.signature = "*".to_owned()).unwrap_err();
    assert!(
        matches!(error, AuditError::Malformed { line: 3, .. }),
        "{error}"
    );
}

#[test]
fn an_incomplete_last_line_is_removed() {
    let (home, lines) = logged(1);
    let path = home.file(AUDIT_FILE);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole, &whole[..whole.len() / 3]].concat()).unwrap();
    let error = home.verify().unwrap_err();
    assert!(
        matches!(error, AuditError::Incomplete { line: 3 }),
        "{error}"
    );
    let mut store = home.open();
    assert_eq!(fs::read(&path).unwrap(), whole);
    store.log_given(&given(1)).unwrap();
    drop(store);
    assert_eq!(home.lines()[..2], lines);
    assert_eq!(home.verify().unwrap(), report(2, 2, 0));
}

#[test]
fn a_line_that_failed_is_replaced() {
    let (home, _) = logged(1);
    let mut store = home.open();
    store.log_given(&given(1)).unwrap();
    store.audit.fail_to_write();
    store.log_given(&given(2)).unwrap();
    assert_eq!(home.verify().unwrap(), report(3, 1, 2));
}

#[test]
fn no_more_than_100_entries_are_given_without_a_signature() {
    let mut home = Home::new();
    let faulty = home.make_faulty();
    let mut store = home.open();
    faulty.fail(true);
    let logged = (0..102).map(|number| store.log_given(&given(number)).is_ok());
    let expected = (0..102).map(|number| number < 99);
    assert!(logged.eq(expected));
    faulty.fail(false);
    store.log_given(&given(102)).unwrap();
    assert_eq!(home.verify().unwrap(), report(103, 1, 0));
}

#[test]
fn lines_are_bounded() {
    let (home, mut lines) = logged(0);
    let mut store = home.open();
    let mut many = given(1);
    many.ids = vec![KeyId::Long([9; 32]); 9_000];
    store.log_given(&many).unwrap();
    many.ids.clear();
    store.log_given(&many).unwrap();
    many.root_topic = "a".repeat(1 << 20).as_str().into();
    let refused = store.log_given(&many).unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Other);
    drop(store);
    assert_eq!(home.verify().unwrap(), report(4, 1, 0));
    lines.push("a".repeat((1 << 20) + 1));
    home.write(&lines);
    let error = home.verify().unwrap_err();
    assert!(matches!(error, AuditError::TooLong { line: 1 }), "{error}");
    let refused = home.refused();
    assert_eq!(refused.kind(), StoreErrorKind::Malformed);
}

#[test]
fn no_entry_is_lost_with_a_log_that_was_moved() {
    let home = Home::new();
    let mut store = home.open();
    store.log_given(&given(1)).unwrap();
    fs::rename(home.file(AUDIT_FILE), home.file("old.jsonl")).unwrap();
    let refused = store.log_given(&given(2)).unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Missing);
    assert!(refused.advice().is_some());
}
