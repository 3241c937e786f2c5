//! The configuration: unknown settings, settings without effect, and settings that are a risk.

use std::collections::BTreeSet;
use std::env;
use std::time::Duration;

use kc::actors::{CryptoSettings, DeniedKeys, NodeSettings};
use kc::core::backend::{Sasl, SaslMechanism};
use kc::core::store::config::{
    KafkaUse, Name, RATCHET_USED, RETAINED_KEYS, Section, kafka_sections,
};
use kc::core::text::with_sources;
use kc::keystore_file::Settings;
use kc::{BackendChoice, ClientSettings, Policy, Reason};
use serde::de::value::Error as NoValue;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::finding::{Check, Findings};
use crate::args::shown_duration;
use crate::error::CliError;
use crate::stored::StoredNode;

/// The Kafka clients of a node: the use of each, and the additional layer of its settings.
const CLIENTS: [(KafkaUse, &str); 4] = [
    (KafkaUse::Producer, "data"),
    (KafkaUse::Consumer, "data"),
    (KafkaUse::Producer, "crypto"),
    (KafkaUse::Consumer, "crypto"),
];

const SERVERS: &str = "bootstrap_servers";
/// The entries of the node's own section that are not fields of [`NodeSettings`].
const OTHER_SETTINGS: [&str; 6] = [
    "backend",
    "cryptokey",
    "keytypes",
    "node_id",
    "ratchet",
    "state_dir",
];
/// The entries of the section `crypto` that kc itself writes, apart from the fields of [`CryptoSettings`].
const STATE: [&str; 2] = [RATCHET_USED, RETAINED_KEYS];
/// The likeness from which a name is suggested in place of an unknown one.
const LIKE_ENOUGH: f64 = 0.8;
/// The time between two turns of the ratchet from which a stolen data key opens more than the operator may expect.
const RARE_TURNS: Duration = Duration::from_hours(31 * 24);

pub(super) fn check(node: &StoredNode, findings: &mut Findings) -> Result<(), CliError> {
    let clients = kafka(node, findings)?;
    unknown(node, findings)?;
    idle(node, &clients, findings)?;
    risks(node, &clients, findings)
}

fn settings(node: &StoredNode) -> Settings<'_> {
    Settings::new(&node.config, &node.files.config()).environment(env::vars_os())
}

/// Returns whether the configuration or the environment names a broker.
pub(super) fn names_broker(node: &StoredNode) -> Result<bool, CliError> {
    let kafka = settings(node).kafka(KafkaUse::Admin, None)?;
    Ok(kafka
        .text(SERVERS)
        .is_some_and(|servers| !servers.is_empty()))
}

/// Reads the Kafka settings of all clients. Returns those that can be used.
fn kafka(node: &StoredNode, findings: &mut Findings) -> Result<Vec<ClientSettings>, CliError> {
    let settings = settings(node);
    let mut problems = BTreeSet::new();
    let mut clients = Vec::new();
    for (purpose, extra) in CLIENTS {
        let parsed = settings.kafka(purpose, Some(extra));
        let parsed = parsed
            .map_err(|error| with_sources(&error))
            .and_then(|kafka| {
                // A node without servers gets them from the flags.
                let servers = [(SERVERS, "localhost:9092")].into_iter();
                let servers = servers.filter(|_| kafka.text(SERVERS).is_none());
                ClientSettings::parse(kafka.iter().chain(servers))
                    .map_err(|error| with_sources(&error))
            });
        match parsed {
            Ok(client) => clients.push(client),
            Err(problem) => drop(problems.insert(problem)),
        }
    }
    for problem in &problems {
        let advice = "correct the setting: docs/kafka.md and the documentation of ClientSettings list all names";
        findings.fail(Check::ConfigKafka, "Kafka settings", problem, advice)?;
    }
    if problems.is_empty() {
        let detail = "all are known, and have values of the right form";
        findings.ok(Check::ConfigKafka, "Kafka settings", detail)?;
    }
    Ok(clients)
}

/// Looks for unknown sections of the node, and for unknown names in the sections of kc.
fn unknown(node: &StoredNode, findings: &mut Findings) -> Result<(), CliError> {
    let own = [field_names::<NodeSettings>(), &OTHER_SETTINGS].concat();
    let crypto = [field_names::<CryptoSettings>(), &STATE].concat();
    let (id, document) = (node.config.node_id(), node.config.document());
    let mut unknown = Vec::new();
    for (section, known) in [(Section::NODE, own), (Section::CRYPTO, crypto)] {
        let section = section.name(id);
        for entry in document.names(&section) {
            let Name::Text(entry) = entry else { continue };
            if !known.contains(&entry.as_str()) {
                let meant = nearest(entry, known.iter().copied());
                unknown.push((format!("[{section}] {entry}"), meant.map(str::to_owned)));
            }
        }
    }
    let sections = sections();
    for section in document.sections() {
        let Some(suffix) = section
            .strip_prefix(id)
            .and_then(|rest| rest.strip_prefix('-'))
        else {
            continue;
        };
        if !sections.contains(suffix) {
            let meant = nearest(suffix, sections.iter().map(String::as_str));
            unknown.push((
                format!("[{section}]"),
                meant.map(|meant| format!("{id}-{meant}")),
            ));
        }
    }
    for (target, meant) in &unknown {
        let advice = match meant {
            Some(meant) => format!("did you mean {meant}? Else remove it, unless a peer needs it"),
            None => "remove it, unless a peer needs it".to_owned(),
        };
        let detail = "kc does not know this, and ignores it";
        findings.warn(Check::ConfigUnknown, target, detail, advice)?;
    }
    match unknown.is_empty() {
        true => findings.ok(
            Check::ConfigUnknown,
            "sections and settings",
            "all are known",
        ),
        false => Ok(()),
    }
}

/// Returns the suffixes of all sections that a node can have.
fn sections() -> BTreeSet<String> {
    let kafka = CLIENTS.map(|(purpose, extra)| kafka_sections(purpose, Some(extra)));
    let others = [
        Section::CRYPTO,
        Section::CHAINS,
        Section::ALLOWLIST,
        Section::DENYLIST,
        Section::CHAIN_KEYS,
        Section::PROVISIONERS,
        Section::named("hsm"),
    ];
    let others = others
        .iter()
        .filter_map(|section| section.suffix())
        .map(str::to_owned);
    kafka.into_iter().flatten().chain(others).collect()
}

/// Returns the name that is most like `name`, if one is like enough.
fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let rated = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= LIKE_ENOUGH).then_some(best.1)
}

fn idle(
    node: &StoredNode,
    clients: &[ClientSettings],
    findings: &mut Findings,
) -> Result<(), CliError> {
    let check = Check::ConfigIdle;
    let backend = BackendChoice::of(&settings(node))?;
    let has_librdkafka = backend == BackendChoice::Rdkafka;
    let names = clients
        .iter()
        .flat_map(|client| client.without_effect(has_librdkafka));
    let names: BTreeSet<_> = names.collect();
    for name in &names {
        findings.warn(
            check,
            *name,
            format!("has no effect with the backend {backend} and this security_protocol"),
            "remove it, unless a peer needs it",
        )?;
    }
    match names.is_empty() {
        true => findings.ok(check, "Kafka settings", "all have an effect"),
        false => Ok(()),
    }
}

fn risks(
    node: &StoredNode,
    clients: &[ClientSettings],
    findings: &mut Findings,
) -> Result<(), CliError> {
    let risks = Vec::from_iter(own_risks(&node.settings).chain(kafka_risks(clients)));
    for risk in &risks {
        findings.warn(
            Check::ConfigRisk,
            risk.setting,
            &risk.consequence,
            risk.advice,
        )?;
    }
    match risks.is_empty() {
        true => findings.ok(Check::ConfigRisk, "settings", "none is known to be a risk"),
        false => Ok(()),
    }
}

struct Risk {
    setting: &'static str,
    consequence: String,
    advice: &'static str,
}

fn own_risks(own: &NodeSettings) -> impl Iterator<Item = Risk> {
    let kept = (own.denied_keys == DeniedKeys::Keep).then(|| Risk {
        setting: "denied_keys",
        consequence: "records of denied producers can still be opened".to_owned(),
        advice: "set `denied_keys : drop` when old records of denied producers are no longer needed",
    });
    let interval = own.ratchet_interval();
    let rare = (interval > RARE_TURNS).then(|| Risk {
        setting: "crypto_ratchet_interval",
        consequence: format!(
            "a stolen data key opens the records of {}",
            shown_duration(interval)
        ),
        advice: "set a shorter interval; the default is a day",
    });
    let unsealed = own.undecryptable();
    let unsealed = (*unsealed.policy(Reason::Foreign) == Policy::Deliver).then(|| Risk {
        setting: "undecryptable",
        consequence: "records that nobody sealed are delivered, so anyone who can write to the topic can invent records"
            .to_owned(),
        advice: "set another policy for `foreign` when all producers seal their records",
    });
    let skips = own.undecryptable();
    let skips = Reason::ALL
        .into_iter()
        .any(|reason| reason != Reason::Foreign && *skips.policy(reason) == Policy::Skip);
    let skips = skips.then(|| Risk {
        setting: "undecryptable",
        consequence: "records that cannot be opened are skipped: they are lost for the application"
            .to_owned(),
        advice: "`hold` waits for the data key, and `park` keeps the records until it comes",
    });
    [kept, rare, unsealed, skips].into_iter().flatten()
}

fn kafka_risks(clients: &[ClientSettings]) -> impl Iterator<Item = Risk> {
    let in_clear = clients.iter().any(|client| {
        let password = |sasl: &Sasl| {
            matches!(
                sasl,
                Sasl::Password {
                    mechanism: SaslMechanism::Plain,
                    ..
                }
            ) || matches!(sasl, Sasl::OAuthBearer(_))
        };
        client.tls.is_none() && client.sasl.as_ref().is_some_and(password)
    });
    let in_clear = in_clear.then(|| Risk {
        setting: "security_protocol",
        consequence: "the password or token for the broker is sent without TLS".to_owned(),
        advice: "set `security_protocol : SASL_SSL`, or use SCRAM",
    });
    let any_host = clients.iter().any(|client| {
        let tls = client.tls.as_ref();
        tls.is_some_and(|tls| !tls.check_hostname)
    });
    let any_host = any_host.then(|| Risk {
        setting: "ssl_check_hostname",
        consequence: "a certificate for any host name is accepted".to_owned(),
        advice: "set `ssl_check_hostname : true`",
    });
    [in_clear, any_host].into_iter().flatten()
}

/// Returns the names of the fields that a struct reads from a section.
fn field_names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The deserializer only notes the names: it always returns an error.
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

/// A deserializer without a value, which notes the names of the fields that a struct asks for.
struct FieldNames<'n>(&'n mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
        Err(NoValue::custom("no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
