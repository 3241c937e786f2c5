use std::collections::{BTreeMap, BTreeSet};

use kc_core::chain::TrustStore;
use kc_core::exchange::{GATHER_TIME, Input, Validity};
use kc_core::message::{Envelope, Kernel, KeyRing, Opened, Unopened, seal};
use kc_core::own_chains::OwnChains;
use kc_core::ratchet::{Candidates, Component, KeyIdForm, Seed, StepKeys};
use kc_core::store::NodeSecrets;
use kc_core::types::{KeyId, RootTopic, Timestamp, TopicScheme};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::draws::{Draws, zeros};
use crate::load::Case;
use crate::nodes::Credentials;
use crate::operation::{Context, Invalid, Outcome, Run, invalid, refuse};
use crate::pump::{Means, Pump};
use crate::values::{Hex, Kv, Typed};

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "serialize" => case.run(Serializing::run),
        "serialize_object" => case.run_normalised(SerializeObject::run, SerializeObject::normalise),
        "deserialize" => case.run_normalised(Deserializing::run, Deserializing::normalise),
        "late_decrypt" => case.run(LateDecrypt::run),
        op => Err(Invalid::unknown_op(op)),
    }
}

input! {
    struct Serializing {
        seed_file: Hex, node_public_keys: Hex,
        /// The entries of the node's section.
        config: Vec<(String, Value)>,
        calls: Vec<Call>,
    }
    struct Call { kv: Kv, topic: String, plaintext: Plaintext }
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Plaintext {
    Whole {
        hex: Hex,
    },
    /// The unit is repeated, and cut to this length.
    Repeated {
        repeat_hex: Hex,
        len: usize,
    },
}

output! {
    struct Messages { messages: Vec<Message> }
    struct Message { message: Hex, root: String, keyidx: Typed, salt: Option<Hex>, secret: Hex }
}

impl Serializing {
    fn run(&self, _: &Context) -> Outcome<Messages> {
        let mut scheme = TopicScheme::default();
        let mut form = KeyIdForm::Long {
            identity: self.node_public_keys.0.clone(),
        };
        // Other entries have no effect on the sealed value.
        for (name, value) in &self.config {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            match name.to_lowercase().as_str() {
                "mgmt_long_keyindex" if text.eq_ignore_ascii_case("false") => {
                    form = KeyIdForm::Short
                }
                "topic_separator" => scheme.separator = text,
                _ => {}
            }
        }
        let pending = Seed::decode(&self.seed_file).and_then(Seed::advance);
        let mut ratchet = StepKeys::new(pending.map_err(refuse)?.stored().0, &form);

        let mut messages = Vec::new();
        for call in &self.calls {
            let root = scheme.root_of(&call.topic);
            let key = ratchet.sealing_key(&root, &mut zeros());
            let plaintext = match &call.plaintext {
                Plaintext::Whole { hex } => hex.0.clone(),
                Plaintext::Repeated { repeat_hex, len } => {
                    repeat_hex.iter().copied().cycle().take(*len).collect()
                }
            };
            let mut sealed = Vec::new();
            seal(&key, call.kv.into(), &plaintext, &mut sealed).map_err(refuse)?;
            let body = Envelope::parse(&sealed).ok().and_then(|parsed| parsed.body);
            messages.push(Message {
                message: sealed.as_slice().into(),
                root: root.as_str().to_owned(),
                keyidx: Typed::from(&key.id()),
                salt: body.map(|(salt, _)| salt.into()),
                secret: key.data_key().expose().into(),
            });
        }
        Ok(Messages { messages })
    }
}

input! {
    struct SerializeObject { value: Object, topic: String }
}

/// The possible inputs of a serializer.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Object {
    None,
    Str,
    Int,
    Bytearray,
    WrappedClear,
    WrappedEncrypted,
}

output! {
    struct Bytes { bytes: Option<Hex> }
}

impl SerializeObject {
    fn run(&self, case: &Context) -> Outcome<Bytes> {
        let plaintext = match self.value {
            // A producer sends a null, and an envelope that was never opened, as they are.
            Object::None => return Ok(Bytes { bytes: None }),
            Object::WrappedEncrypted => {
                let bytes = Some(Hex(vec![0x01, 0x93, b'a', b'b', b'c']));
                return Ok(Bytes { bytes });
            }
            Object::Bytearray | Object::WrappedClear => b"abc",
            Object::Str | Object::Int => return Err(refuse("what is sealed is bytes")),
        };
        // The seed and the node of these cases are not recorded.
        let pending = Seed::generate(&mut case.draws().or_filler()).advance();
        let step = pending.map_err(refuse)?.stored().0;
        let root = TopicScheme::default().root_of(&self.topic);
        let key = StepKeys::new(step, &KeyIdForm::long([])).sealing_key(&root, &mut zeros());
        let mut sealed = Vec::new();
        seal(&key, Component::Value, plaintext, &mut sealed).map_err(refuse)?;
        Ok(Bytes {
            bytes: Some(Hex(sealed)),
        })
    }

    /// The seed and the node are not recorded, so key id and box cannot be compared; all other parts are.
    fn normalise(&self, _: &Context, body: &mut Value) -> Result<(), Invalid> {
        let sealed = match (self.value, Bytes::deserialize(&*body)) {
            (
                Object::Bytearray | Object::WrappedClear,
                Ok(Bytes {
                    bytes: Some(sealed),
                }),
            ) => sealed,
            _ => return Ok(()),
        };
        let envelope = Envelope::parse(&sealed).map_err(invalid("bytes"))?;
        let (salt, sealed_box) = envelope.body.ok_or_else(|| Invalid::new("no box"))?;
        *body = json!({"bytes": {
            "len": sealed.len(),
            "long_key_id": matches!(envelope.key_id, KeyId::Long(_)),
            "salt": salt,
            "box_len": sealed_box.len(),
        }});
        Ok(())
    }
}

/// The time of these cases, which have no clock.
const NOW: Timestamp = Timestamp::EPOCH;

input! {
    struct Deserializing {
        message: Option<Hex>, kv: Kv, topic: String,
        #[serde(default)]
        known_keys: Vec<KnownKey>,
        #[serde(default)]
        initial_wait_intervals: u64,
        /// The results contain the number of waits, for any length.
        #[serde(rename = "wait_seconds")]
        _wait_seconds: Option<f64>,
        repeat: Option<usize>,
    }
    struct KnownKey { root: String, keyidx: Typed, secret: Hex }
}

output! {
    struct Results {
        results: Vec<Option<Seen>>,
        /// The key ids by root topic, each with a counter.
        waiting_after: BTreeMap<String, Vec<(Typed, u64)>>,
        subscriptions_after: Vec<String>,
    }
    /// The result of opening a message.
    #[derive(Default)]
    struct Seen {
        what: Option<String>, cleartext: bool, possibly_decryptable: Option<bool>,
        bytes: Option<Hex>, waits: Option<u64>,
    }
    #[derive(Default)]
    struct Raised { raised: Option<bool> }
}

impl Deserializing {
    fn run(&self, _: &Context) -> Outcome<Results, Raised> {
        let scheme = TopicScheme::default();
        let root = scheme.root_of(&self.topic);
        let mut ring = KeyRing::default();
        for known in &self.known_keys {
            let root = known.root.as_str().into();
            add_key(&mut ring, &root, &known.keyidx, &known.secret)?;
        }
        let mut stranger = stranger();
        let mut pump = Pump::new(&stranger.secrets, Validity::default());
        let mut missing = BTreeSet::new();
        let mut results = Vec::new();
        for _ in 0..self.repeat.unwrap_or(1) {
            let Some(message) = &self.message else {
                results.push(None);
                continue;
            };
            let opened = open_any(&ring, root.as_str(), self.kv.into(), message);
            let mut seen = Seen::new(&opened, message);
            seen.waits = Some(0);
            if let Opened::Unopened(Unopened::AwaitingKey(id)) = &opened {
                if !pump.wants(&root, id, NOW) {
                    seen.waits = Some(self.initial_wait_intervals.saturating_sub(1));
                }
                missing.insert(*id);
                let want = Input::Want {
                    root_topic: root.clone(),
                    id: *id,
                    known: Candidates::default(),
                };
                pump.handle(want, NOW);
            }
            results.push(Some(seen));
        }

        let mut waiting_after = BTreeMap::new();
        for root in pump.wanting() {
            let ids = missing.iter().filter(|id| pump.wants(&root, id, NOW));
            let ids = ids.map(|id| (Typed::from(id), 0)).collect();
            waiting_after.insert(root.to_string(), ids);
        }
        pump.pass(GATHER_TIME);
        let done = pump.run(&mut Means {
            now: NOW,
            credentials: &mut stranger,
            held: &|_, _| Vec::new(),
            draws: &mut Draws::default(),
        });
        let read = done.read.iter();
        Ok(Results {
            results,
            waiting_after,
            subscriptions_after: read
                .map(|(root, side)| scheme.side_topic(root, *side))
                .collect(),
        })
    }

    /// Of the awaited keys, the root topics and key ids are compared; the counter is internal.
    fn normalise(&self, _: &Context, body: &mut Value) -> Result<(), Invalid> {
        let roots = body.get_mut("waiting_after").and_then(Value::as_object_mut);
        for ids in roots.into_iter().flat_map(|roots| roots.values_mut()) {
            let ids = ids
                .as_array_mut()
                .ok_or_else(|| Invalid::new("no list of ids"))?;
            for counter in ids.iter_mut().filter_map(|id| id.get_mut(1)) {
                *counter = Value::Null;
            }
            ids.sort_by_key(Value::to_string);
        }
        Ok(())
    }
}

impl Seen {
    fn new(opened: &Opened, message: &[u8]) -> Self {
        let (cleartext, bytes, possible) = match opened {
            Opened::Plaintext(plaintext) => (true, plaintext.as_slice(), true),
            Opened::Unopened(why) => (false, message, !matches!(why, Unopened::Foreign(_))),
        };
        Self {
            cleartext,
            possibly_decryptable: Some(possible),
            bytes: Some(bytes.into()),
            ..Self::default()
        }
    }

    /// Returns the result as a step of a [`LateDecrypt`].
    fn step(self, what: &str) -> Self {
        let what = Some(what.to_owned());
        Self { what, ..self }
    }
}

input! {
    struct LateDecrypt {
        message: Hex, foreign: Option<Hex>, topic: String, kv: Kv, keyidx: Typed, secret: Hex,
    }
}

output! {
    struct Steps { steps: Vec<Seen> }
}

impl LateDecrypt {
    fn run(&self, _: &Context) -> Outcome<Steps> {
        let root = TopicScheme::default().root_of(&self.topic);
        let mut ring = KeyRing::default();
        let open = |ring: &KeyRing, message: &[u8]| {
            Seen::new(
                &open_any(ring, root.as_str(), self.kv.into(), message),
                message,
            )
        };

        let before = open(&ring, &self.message);
        let no_retry = Seen {
            cleartext: before.cleartext,
            ..Seen::default()
        };
        add_key(&mut ring, &root, &self.keyidx, &self.secret)?;
        let retry = Seen {
            possibly_decryptable: None,
            ..open(&ring, &self.message)
        };
        let foreign = self.foreign.as_ref();
        let foreign = foreign.map(|foreign| open(&ring, foreign).step("foreign message"));
        let steps = [
            before.step("before key"),
            no_retry.step("after key, no retry"),
            retry.step("after key, retry"),
        ];
        Ok(Steps {
            steps: steps.into_iter().chain(foreign).collect(),
        })
    }
}

/// Adds a key. A key with an id of an unknown type cannot be kept.
fn add_key(
    ring: &mut KeyRing,
    root: &RootTopic,
    keyidx: &Typed,
    secret: &Hex,
) -> Result<(), Invalid> {
    if let Some(id) = keyidx.key_id() {
        ring.add(root, id, secret.secret().map_err(Invalid)?.into(), None);
    }
    Ok(())
}

/// Returns a node without a certificate: it wants data keys, and cannot request them.
fn stranger() -> Credentials {
    let secrets = NodeSecrets::generate(&mut Draws::default());
    let trust = TrustStore::new(None, Vec::new());
    Credentials::new(secrets, &OwnChains::from_iter([]), trust)
}

/// Opens a message alone and in batches of several, with all kernels.
///
/// # Panics
/// Panics if the results differ.
fn open_any(ring: &KeyRing, root_topic: &str, component: Component, message: &[u8]) -> Opened {
    let opened = ring.open(root_topic, component, message);
    for kernel in Kernel::all() {
        let batch = std::iter::repeat_n(message, 5);
        let (mut plaintexts, mut places) = (Vec::new(), Vec::new());
        ring.open_batch_with(
            kernel,
            root_topic,
            component,
            batch,
            &mut plaintexts,
            |place| {
                places.push(place);
            },
        );
        assert_eq!(places.len(), 5);
        for place in places {
            let again = match place {
                Ok(place) => Opened::Plaintext(plaintexts.get(place).unwrap_or_default().to_vec()),
                Err(why) => Opened::Unopened(why),
            };
            assert_eq!(again, opened, "{kernel:?}");
        }
    }
    opened
}
