//! A simulated node: the state machines of the core, with files and Kafka clients that only record the calls.

use std::time::Duration;

use kc_core::chain::{Demand, Identity, TrustEntry, TrustStore, Usage};
use kc_core::exchange::{Input, OutRecord, Validity};
use kc_core::keys::Signer;
use kc_core::message::{KeyRing, Opened, Unopened};
use kc_core::own_chains::OwnChains;
use kc_core::ratchet::{Candidates, Component, KeyIdForm, RetainedKeys};
use kc_core::store::config::{Name, NodeConfig, Section, Value};
use kc_core::store::{NodeSecrets, opaque, retained_keys};
use kc_core::types::{Timestamp, TopicScheme};

use super::kafka::Kafka;
use super::producer::Producer;
use crate::draws::Draws;
use crate::nodes::{Credentials, binary_entries, secrets};
use crate::operation::{Invalid, invalid};
use crate::pump::{Done, Means, Pump};
use crate::values::Hex;

/// `DESER_INITIAL_WAIT_INTERVALS`
const INITIAL_WAITS: u64 = 10;

const INITIAL_WAITS_SETTING: &str = "deser_initial_wait_intervals";
const LONG_KEY_IDS: &str = "mgmt_long_keyindex";
const MAX_AGE: &str = "maxage";

/// The entry of the section crypto with the retained keys.
pub(super) const OLD_KEYS: &str = "oldkeys";

pub(super) struct Node {
    pub(super) files: Files,
    pub(super) kafka: Kafka,
    pub(super) scheme: TopicScheme,
    pub(super) producer: Producer,
    pub(super) pump: Pump,
    pub(super) ring: KeyRing,
    /// True for a controller, which vouches for requests and does nothing else.
    pub(super) is_controller: bool,
    initial_waits: u64,
    /// The time of the last event.
    now: Timestamp,
}

impl Node {
    pub(super) fn start(files: Files, seed_file: Vec<u8>, now: Timestamp) -> Result<Self, Invalid> {
        let validity = files.seconds(Section::CRYPTO, MAX_AGE)?;
        let validity = Validity::from_max_age(validity.unwrap_or_default());
        let producer = Producer::start(seed_file, key_id_form(&files)?, retained(&files)?, now)?;
        Ok(Self {
            kafka: Kafka::new(),
            scheme: TopicScheme::default(),
            producer,
            pump: Pump::new(&files.credentials.secrets, validity),
            ring: KeyRing::default(),
            is_controller: is_controller(&files, now),
            initial_waits: initial_waits(&files)?,
            now,
            files,
        })
    }

    /// Starts the node again from its files, with this ratchet.
    pub(super) fn restart(self, seed_file: Vec<u8>, now: Timestamp) -> Result<Self, Invalid> {
        let files = Files::new(self.files.config, self.files.credentials.secrets)?;
        Self::start(files, seed_file, now)
    }

    /// Seals a component of a record of this topic. From then on the node answers requests for its root topic.
    pub(super) fn serialize(
        &mut self,
        topic: &str,
        component: Component,
        plaintext: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, Invalid> {
        let root = self.scheme.root_of(topic);
        self.pump.handle(Input::Serve(root.clone()), now);
        self.producer.seal(&root, component, plaintext, now)
    }

    /// Opens a component, and wants its data key if that is unknown. Returns also the number of seconds to wait for the
    /// key.
    pub(super) fn deserialize(
        &mut self,
        topic: &str,
        component: Component,
        message: &[u8],
        now: Timestamp,
    ) -> (Opened, u64) {
        let root = self.scheme.root_of(topic);
        let opened = self.ring.open(root.as_str(), component, message);
        let mut waits = 0;
        if let Opened::Unopened(Unopened::AwaitingKey(id)) = &opened {
            if !self.pump.wants(&root, id, now) {
                waits = self.initial_waits.saturating_sub(1);
            }
            let (id, known) = (*id, Candidates::default());
            self.pump.handle(
                Input::Want {
                    root_topic: root,
                    id,
                    known,
                },
                now,
            );
        }
        (opened, waits)
    }

    /// Advances the time since the last event.
    pub(super) fn pass_time(&mut self, now: Timestamp) {
        self.pump.pass(now.since(self.now));
        self.now = now;
    }

    /// Performs the effects of the exchange.
    pub(super) fn exchange(&mut self, now: Timestamp, draws: &mut Draws) -> Done {
        let mut done = self.pump.run(&mut Means {
            now,
            credentials: &mut self.files.credentials,
            held: &|root, ids| self.producer.held(root, ids),
            draws,
        });
        for (root, side) in &done.read {
            self.kafka.read(self.scheme.side_topic(root, *side));
        }
        for change in done.received.drain(..) {
            for (id, secret) in change.keys {
                let giver = Some(change.giver.clone());
                self.ring.add(&change.root_topic, id, secret, giver);
            }
        }
        done
    }

    pub(super) fn send(&mut self, record: &OutRecord) {
        let topic = self.scheme.side_topic(&record.root_topic, record.side);
        self.kafka.send(&topic, &record.kafka_key, &record.value);
    }
}

fn key_id_form(files: &Files) -> Result<KeyIdForm, Invalid> {
    let keys = files.credentials.secrets.signing_keys();
    match files.value(Section::NODE, LONG_KEY_IDS)? {
        None | Some(Value::Bool(true)) => Ok(KeyIdForm::long(keys.map(Signer::verifying_key))),
        Some(Value::Bool(false)) => Ok(KeyIdForm::Short),
        Some(_) => Err(Invalid(format!("{LONG_KEY_IDS} is not a boolean"))),
    }
}

fn initial_waits(files: &Files) -> Result<u64, Invalid> {
    let waits = match files.value(Section::NODE, INITIAL_WAITS_SETTING)? {
        None => Some(INITIAL_WAITS),
        Some(Value::Int(intervals)) => u64::try_from(intervals).ok(),
        Some(_) => None,
    };
    waits.ok_or_else(|| Invalid(format!("{INITIAL_WAITS_SETTING} is no number of intervals")))
}

/// Returns the retained keys of earlier runs.
fn retained(files: &Files) -> Result<RetainedKeys, Invalid> {
    let opaque_key = files.credentials.secrets.opaque_key();
    match files.value(Section::CRYPTO, OLD_KEYS)? {
        None => Ok(RetainedKeys::default()),
        Some(Value::Bytes(wrapped)) => {
            let plain = opaque::unwrap(&wrapped, opaque_key);
            let plain = plain.ok_or_else(|| Invalid(format!("{OLD_KEYS} does not open")))?;
            retained_keys::decode(&plain).map_err(invalid(OLD_KEYS))
        }
        Some(_) => Err(Invalid(format!("{OLD_KEYS} is not of bytes"))),
    }
}

/// Returns whether the node is a controller: a trace does not record the role. Of all roles (protocol §12), only the
/// controller may ask producers and not controllers.
fn is_controller(files: &Files, now: Timestamp) -> bool {
    let trust = &files.credentials.trust;
    let may = |identity: &Identity, usage| {
        let demand = Demand::at(now).usage(usage);
        identity.validate(trust.lists(), &demand).is_ok()
    };
    trust.identities().iter().any(|identity| {
        may(identity, Usage::EncryptRequest) && !may(identity, Usage::EncryptSubscribe)
    })
}

/// The open files of a node.
pub(super) struct Files {
    pub(super) config: NodeConfig,
    pub(super) credentials: Credentials,
}

impl Files {
    pub(super) fn open(config: &str, crypto_file: &Hex) -> Result<Self, Invalid> {
        let config = NodeConfig::parse(config).map_err(invalid("config"))?;
        Self::new(config, secrets(crypto_file)?)
    }

    pub(super) fn new(config: NodeConfig, secrets: NodeSecrets) -> Result<Self, Invalid> {
        let entries = |section| {
            let entries = binary_entries(&config, section)?;
            let entries = entries.iter().map(|(_, entry)| TrustEntry::parse(entry));
            entries.collect::<Result<_, _>>().map_err(invalid("a list"))
        };
        let trust = TrustStore::new(
            Some(entries(Section::ALLOWLIST)?),
            entries(Section::DENYLIST)?,
        );
        let chains = OwnChains::load(&config).map_err(invalid("chains"))?;
        Ok(Self {
            credentials: Credentials::new(secrets, &chains, trust),
            config,
        })
    }

    pub(super) fn value(&self, section: Section<'_>, name: &str) -> Result<Option<Value>, Invalid> {
        let value = self.config.load_value(section, name);
        value.map_err(invalid(name))
    }

    /// Returns a duration in seconds.
    pub(super) fn seconds(
        &self,
        section: Section<'_>,
        name: &str,
    ) -> Result<Option<Duration>, Invalid> {
        let seconds = match self.value(section, name)? {
            None => return Ok(None),
            Some(Value::Int(seconds)) => u64::try_from(seconds).ok().map(Duration::from_secs),
            Some(Value::Float(seconds)) => Duration::try_from_secs_f64(seconds).ok(),
            Some(_) => None,
        };
        seconds
            .map(Some)
            .ok_or_else(|| Invalid(format!("{name} is no length of time")))
    }

    pub(super) fn set(
        &mut self,
        section: Section<'_>,
        name: impl Into<Name>,
        value: Vec<u8>,
    ) -> Result<(), Invalid> {
        let set = self.config.set(section, name, &Value::Bytes(value));
        set.map(drop).map_err(invalid("an entry"))
    }

    /// Returns the lines of a section as they are in the file, without empty ones.
    pub(super) fn lines(&self, section: Section<'_>) -> Vec<String> {
        let header = format!("[{}]", section.name(self.config.node_id()));
        let file = self.config.render();
        let below = file.lines().skip_while(|line| *line != header).skip(1);
        let lines = below.take_while(|line| !line.starts_with('['));
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }
}
