//! A simulated node: the state machines of the core, with files and Kafka clients that only note what is done.

use kc_core::chain::{Demand, Identity, Usage};
use kc_core::exchange::{Input, OutRecord, Validity};
use kc_core::keys::Signer;
use kc_core::message::{KeyRing, Opened, Unopened};
use kc_core::ratchet::{Candidates, Component, KeyIdForm, RetainedKeys};
use kc_core::store::config::{Section, Value};
use kc_core::store::{opaque, retained_keys};
use kc_core::types::{Timestamp, TopicScheme};

use super::files::{Files, invalid};
use super::kafka::Kafka;
use super::producer::Producer;
use crate::vectors::families::pump::{Done, Means, Pump};
use crate::vectors::{Draws, InputError};

/// `DESER_INITIAL_WAIT_INTERVALS`
const INITIAL_WAITS: u64 = 10;

const INITIAL_WAITS_SETTING: &str = "deser_initial_wait_intervals";
const LONG_KEY_IDS: &str = "mgmt_long_keyindex";
const MAX_AGE: &str = "maxage";

/// The entry of section crypto that holds the keys kept for late consumers.
pub(super) const OLD_KEYS: &str = "oldkeys";

/// The settings that are understood, or mean nothing here.
const NODE_SETTINGS: [&str; 4] = ["cryptokey", "ratchet", INITIAL_WAITS_SETTING, LONG_KEY_IDS];
const CRYPTO_SETTINGS: [&str; 2] = [MAX_AGE, OLD_KEYS];

pub(super) struct Node {
    pub(super) files: Files,
    pub(super) kafka: Kafka,
    pub(super) scheme: TopicScheme,
    pub(super) producer: Producer,
    pub(super) pump: Pump,
    pub(super) ring: KeyRing,
    /// A controller vouches for requests and does nothing else.
    pub(super) is_controller: bool,
    initial_waits: u64,
    /// The time of the last event.
    now: Timestamp,
}

impl Node {
    pub(super) fn start(
        files: Files,
        seed_file: Vec<u8>,
        now: Timestamp,
    ) -> Result<Self, InputError> {
        understood(&files, Section::NODE, &NODE_SETTINGS)?;
        understood(&files, Section::CRYPTO, &CRYPTO_SETTINGS)?;
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

    /// Starts anew from its files, with this ratchet.
    pub(super) fn restart(self, seed_file: Vec<u8>, now: Timestamp) -> Result<Self, InputError> {
        let files = Files::new(self.files.config, self.files.credentials.secrets)?;
        Self::start(files, seed_file, now)
    }

    /// Seals a component of a record of this topic; from then on the node answers requests for its root.
    pub(super) fn serialize(
        &mut self,
        topic: &str,
        component: Component,
        plaintext: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, InputError> {
        let root = self.scheme.root_of(topic);
        self.pump.handle(Input::Serve(root.clone()), now);
        self.producer.seal(&root, component, plaintext, now)
    }

    /// Opens a component, and wants its key if that is not known; with the number of seconds to wait for it.
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

    /// Lets the time since the last event pass.
    pub(super) fn pass_time(&mut self, now: Timestamp) {
        self.pump.pass(now.since(self.now));
        self.now = now;
    }

    /// Does what the exchange has to be done.
    pub(super) fn exchange(&mut self, now: Timestamp, draws: &mut Draws) -> Done {
        let mut done = self.pump.run(&mut Means {
            now,
            credentials: &self.files.credentials,
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

fn understood(files: &Files, section: Section<'static>, names: &[&str]) -> Result<(), InputError> {
    let settings = files.config.own_settings(section);
    for setting in settings.map_err(invalid("config"))? {
        let name = setting.name.to_string();
        if !names.contains(&name.as_str()) {
            return Err(InputError::new(name, "is a setting unknown to the adapter"));
        }
    }
    Ok(())
}

fn key_id_form(files: &Files) -> Result<KeyIdForm, InputError> {
    let keys = files.credentials.secrets.signing_keys();
    match files.value(Section::NODE, LONG_KEY_IDS)? {
        None | Some(Value::Bool(true)) => Ok(KeyIdForm::long(keys.map(Signer::verifying_key))),
        Some(Value::Bool(false)) => Ok(KeyIdForm::Short),
        Some(_) => Err(InputError::new(LONG_KEY_IDS, "is not a boolean")),
    }
}

fn initial_waits(files: &Files) -> Result<u64, InputError> {
    let waits = match files.value(Section::NODE, INITIAL_WAITS_SETTING)? {
        None => Some(INITIAL_WAITS),
        Some(Value::Int(intervals)) => u64::try_from(intervals).ok(),
        Some(_) => None,
    };
    waits.ok_or_else(|| InputError::new(INITIAL_WAITS_SETTING, "is no number of intervals"))
}

/// The keys kept from earlier runs.
fn retained(files: &Files) -> Result<RetainedKeys, InputError> {
    let opaque_key = files.credentials.secrets.opaque_key();
    match files.value(Section::CRYPTO, OLD_KEYS)? {
        None => Ok(RetainedKeys::default()),
        Some(Value::Bytes(wrapped)) => {
            let plain = opaque::unwrap(&wrapped, opaque_key);
            let plain = plain.ok_or_else(|| InputError::new(OLD_KEYS, "does not open"))?;
            retained_keys::decode(&plain).map_err(invalid(OLD_KEYS))
        }
        Some(_) => Err(InputError::new(OLD_KEYS, "is not of bytes")),
    }
}

/// A trace does not say what program a node runs. Of the roles (protocol §12) the controller alone may ask producers
/// and not controllers.
fn is_controller(files: &Files, now: Timestamp) -> bool {
    let credentials = &files.credentials;
    let may = |identity: &Identity, usage| {
        let demand = Demand::at(now).usage(usage);
        identity.validate(&credentials.trust, &demand).is_ok()
    };
    credentials.identities.iter().any(|identity| {
        may(identity, Usage::EncryptRequest) && !may(identity, Usage::EncryptSubscribe)
    })
}
