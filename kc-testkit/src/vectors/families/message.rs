use std::collections::BTreeSet;

use kc_core::chain::TrustStore;
use kc_core::exchange::{GATHER_TIME, Input, Validity};
use kc_core::message::{Envelope, KeyRing, Opened, SealInput, Unopened, seal_component};
use kc_core::own_chains::OwnChains;
use kc_core::ratchet::{Candidates, Component, KeyIdForm, Seed, StepKeys};
use kc_core::store::NodeSecrets;
use kc_core::store::config::Value as ConfigValue;
use kc_core::types::{KeyId, RootTopic, Timestamp, TopicScheme};
use serde_json::{Map, Value, json};

use super::convert::{component, key_id, secret, size, typed_key_id};
use super::credentials::Credentials;
use super::pump::{Means, Pump};
use crate::vectors::{CaseInput, Draws, Family, Fields, InputError, Op, Outcome, Zeros};

pub(super) const FAMILY: Family = Family {
    name: "message",
    ops: &[
        Op::new(
            "serialize",
            &[
                "seed_file",
                "node_public_keys",
                "config",
                "calls[].kv",
                "calls[].topic",
                "calls[].plaintext.hex",
                "calls[].plaintext.repeat_hex",
                "calls[].plaintext.len",
            ],
            serialize,
        ),
        Op::new("serialize_object", &["value", "topic"], serialize_object),
        Op::new(
            "deserialize",
            &[
                "message",
                "kv",
                "topic",
                "known_keys[].root",
                "known_keys[].keyidx typed",
                "known_keys[].secret",
                "initial_wait_intervals",
                "wait_seconds",
                "repeat",
            ],
            deserialize,
        ),
        Op::new(
            "late_decrypt",
            &[
                "message",
                "foreign",
                "topic",
                "kv",
                "keyidx typed",
                "secret",
            ],
            late_decrypt,
        ),
    ],
};

fn serialize(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let mut scheme = TopicScheme::default();
    let mut form = KeyIdForm::Long {
        identity: case.fields.bytes("node_public_keys")?,
    };
    for (name, text) in config(&case.fields)? {
        match (name, ConfigValue::decode(text)) {
            ("mgmt_long_keyindex", Some(ConfigValue::Bool(false))) => form = KeyIdForm::Short,
            ("mgmt_long_keyindex", Some(ConfigValue::Bool(true))) => {}
            ("topic_separator", _) => text.clone_into(&mut scheme.separator),
            _ => return Err(case.fields.error("config", "has an unknown entry")),
        }
    }
    let pending = Seed::decode(&case.fields.bytes("seed_file")?).and_then(Seed::advance);
    let mut ratchet = match pending {
        Ok(pending) => StepKeys::new(pending.stored().0, &form),
        Err(error) => return Ok(Outcome::reject(error)),
    };

    let mut messages = Vec::new();
    for call in case.fields.objects("calls")? {
        let root = scheme.root_of(call.text("topic")?);
        let key = ratchet.sealing_key(&root, &mut Zeros);
        let plaintext = plaintext(&call.object("plaintext")?)?;
        let sealed = match seal_component(&key, component(&call)?, SealInput::Plain(&plaintext)) {
            Ok(sealed) => sealed.unwrap_or_default(),
            Err(error) => return Ok(Outcome::reject(error)),
        };
        let body = Envelope::parse(&sealed).ok().and_then(|parsed| parsed.body);
        messages.push(json!({
            "message": hex::encode(&sealed),
            "root": root.as_str(),
            "keyidx": typed_key_id(&key.id()),
            "salt": body.map(|(salt, _)| hex::encode(salt)),
            "secret": hex::encode(key.topic_secret().expose()),
        }));
    }
    Ok(Outcome::Ok(json!({"messages": messages})))
}

fn config<'a>(fields: &Fields<'a>) -> Result<Vec<(&'a str, &'a str)>, InputError> {
    let pair = |pair: &'a Value| match pair.as_array()?.as_slice() {
        [name, value] => Some((name.as_str()?, value.as_str()?)),
        _ => None,
    };
    let pairs = fields.raw("config")?.as_array();
    pairs
        .and_then(|pairs| pairs.iter().map(pair).collect())
        .ok_or_else(|| fields.error("config", "is not a list of pairs of texts"))
}

fn plaintext(fields: &Fields<'_>) -> Result<Vec<u8>, InputError> {
    if fields.has("hex") {
        return fields.bytes("hex");
    }
    let unit = fields.bytes("repeat_hex")?;
    let len = size(fields, "len", 0)?;
    Ok(unit.into_iter().cycle().take(len).collect())
}

fn serialize_object(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let input = match case.fields.text("value")? {
        "none" => SealInput::Null,
        "bytearray" | "wrapped-clear" => SealInput::Plain(b"abc"),
        "wrapped-encrypted" => SealInput::Sealed(&[0x01, 0x93, b'a', b'b', b'c']),
        "str" | "int" => return Ok(Outcome::reject("what is sealed is bytes")),
        _ => return Err(case.fields.error("value", "is no object known")),
    };
    // The seed and the node of these cases are not recorded.
    let pending = Seed::generate(&mut case.draws().or_filler()).advance();
    let step = match pending {
        Ok(pending) => pending.stored().0,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let root = TopicScheme::default().root_of(case.fields.text("topic")?);
    let key = StepKeys::new(step, &KeyIdForm::long([])).sealing_key(&root, &mut Zeros);
    Ok(match seal_component(&key, Component::Value, input) {
        Ok(sealed) => Outcome::Ok(json!({"bytes": sealed.map(hex::encode)})),
        Err(error) => Outcome::reject(error),
    })
}

/// Of an object that is sealed: all but the key id and the box's content.
pub(in crate::vectors) fn normalise_sealed_object(
    case: &CaseInput<'_>,
    out: &mut Value,
) -> Result<(), InputError> {
    if !matches!(case.fields.text("value")?, "bytearray" | "wrapped-clear") {
        return Ok(());
    }
    let malformed = || InputError::new("bytes", "is no envelope");
    let sealed = out.get("bytes").and_then(Value::as_str);
    let sealed = sealed.and_then(|text| hex::decode(text).ok());
    let sealed = sealed.ok_or_else(malformed)?;
    let envelope = Envelope::parse(&sealed).map_err(|_| malformed())?;
    let (salt, sealed_box) = envelope.body.ok_or_else(malformed)?;
    *out = json!({"bytes": {
        "len": sealed.len(),
        "long_key_id": matches!(envelope.key_id, KeyId::Long(_)),
        "salt": hex::encode(salt),
        "box_len": sealed_box.len(),
    }});
    Ok(())
}

/// These cases have no clock.
const NOW: Timestamp = Timestamp::EPOCH;

fn deserialize(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let scheme = TopicScheme::default();
    let root = scheme.root_of(case.fields.text("topic")?);
    let component = component(&case.fields)?;
    let mut ring = KeyRing::default();
    for known in case.fields.objects("known_keys")? {
        add_key(&mut ring, &known.text("root")?.into(), &known)?;
    }
    let credentials = stranger();
    let mut pump = Pump::new(&credentials.secrets, Validity::default());
    let mut missing = BTreeSet::new();
    let intervals = case.fields.integer("initial_wait_intervals")?;

    let mut results = Vec::new();
    let message = case.fields.opt_bytes("message")?;
    for _ in 0..size(&case.fields, "repeat", 1)? {
        let Some(message) = &message else {
            results.push(Value::Null);
            continue;
        };
        let opened = ring.open(root.as_str(), component, message);
        let mut waits = 0;
        if let Opened::Unopened(Unopened::AwaitingKey(id)) = &opened {
            if !pump.wants(&root, id, NOW) {
                waits = intervals.saturating_sub(1);
            }
            missing.insert(*id);
            let want = Input::Want {
                root_topic: root.clone(),
                id: *id,
                known: Candidates::default(),
            };
            pump.handle(want, NOW);
        }
        let mut result = describe(&opened, message);
        result.insert("waits".to_owned(), json!(waits));
        results.push(Value::Object(result));
    }

    let mut waiting = Map::new();
    for root in pump.wanting() {
        let ids = missing.iter().filter(|id| pump.wants(&root, id, NOW));
        let ids: Vec<_> = ids.map(|id| json!([typed_key_id(id), 0])).collect();
        waiting.insert(root.to_string(), json!(ids));
    }
    pump.pass(GATHER_TIME);
    let done = pump.run(&mut Means {
        now: NOW,
        credentials: &credentials,
        held: &|_, _| Vec::new(),
        draws: &mut Draws::default(),
    });
    let read = done.read.iter();
    let subscriptions: Vec<_> = read
        .map(|(root, side)| scheme.side_topic(root, *side))
        .collect();
    Ok(Outcome::Ok(json!({
        "results": results,
        "waiting_after": waiting,
        "subscriptions_after": subscriptions,
    })))
}

/// The roots and key ids that are waited for, without the counters.
pub(in crate::vectors) fn normalise_waiting(
    _: &CaseInput<'_>,
    out: &mut Value,
) -> Result<(), InputError> {
    let Some(Value::Object(roots)) = out.get_mut("waiting_after") else {
        return Ok(());
    };
    let malformed = || InputError::new("waiting_after", "is not a list of pairs with a counter");
    for waiting in roots.values_mut().filter_map(Value::as_array_mut) {
        for pair in &mut *waiting {
            *pair = match pair.as_array().map(Vec::as_slice) {
                Some([id, counter]) if counter.is_u64() => id.clone(),
                _ => return Err(malformed()),
            };
        }
        waiting.sort_by_key(Value::to_string);
    }
    Ok(())
}

fn late_decrypt(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let root = TopicScheme::default().root_of(case.fields.text("topic")?);
    let component = component(&case.fields)?;
    let message = case.fields.bytes("message")?;
    let foreign = case.fields.bytes("foreign")?;
    let mut ring = KeyRing::default();
    let open = |ring: &KeyRing, message: &[u8]| ring.open(root.as_str(), component, message);

    let before = open(&ring, &message);
    add_key(&mut ring, &root, &case.fields)?;
    let step = |what: &str, opened: &Opened, message: &[u8], fields: &[&str]| {
        let mut step = describe(opened, message);
        step.retain(|name, _| fields.contains(&name.as_str()));
        step.insert("what".to_owned(), json!(what));
        Value::Object(step)
    };
    let full = ["cleartext", "possibly_decryptable", "bytes"];
    Ok(Outcome::Ok(json!({"steps": [
        step("before key", &before, &message, &full),
        step("after key, no retry", &before, &message, &["cleartext"]),
        step("after key, retry", &open(&ring, &message), &message, &["cleartext", "bytes"]),
        step("foreign message", &open(&ring, &foreign), &foreign, &full),
    ]})))
}

/// `cleartext`, `bytes` and `possibly_decryptable`.
fn describe(opened: &Opened, message: &[u8]) -> Map<String, Value> {
    let (cleartext, bytes, possible) = match opened {
        Opened::Plaintext(plaintext) => (true, plaintext.as_slice(), true),
        Opened::Unopened(why) => (false, message, why.may_open_later()),
    };
    let mut described = Map::new();
    described.insert("cleartext".to_owned(), json!(cleartext));
    described.insert("bytes".to_owned(), json!(hex::encode(bytes)));
    described.insert("possibly_decryptable".to_owned(), json!(possible));
    described
}

/// Adds the key of `keyidx` and `secret`.
fn add_key(ring: &mut KeyRing, root: &RootTopic, fields: &Fields<'_>) -> Result<(), InputError> {
    let secret = secret(fields, "secret")?.map_err(|why| fields.error("secret", &why))?;
    ring.add(root, key_id(fields, "keyidx")?, secret.into(), None);
    Ok(())
}

/// A node that nobody vouches for: it wants keys, and cannot ask for them.
fn stranger() -> Credentials {
    let secrets = NodeSecrets::generate(&mut Draws::default());
    Credentials::new(
        secrets,
        &OwnChains::from_iter([]),
        TrustStore::new(None, Vec::new()),
    )
}
