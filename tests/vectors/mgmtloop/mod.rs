mod chain_server;
mod kafka;
mod node;
mod producer;
mod turn;

use std::collections::BTreeMap;

use kc_core::message::Opened;
use kc_core::store::config::Section;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::kafka::{BEGINNINGS, Effect};
use self::node::{Files, Node};
use crate::draws::Draw;
use crate::load::Case;
use crate::operation::{Context, Invalid, Outcome, Run, write};
use crate::values::{Hex, Kv};

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "trace" => case.run_recorded(Trace::run, Trace::normalise, Trace::recorded),
        "chain_server" => case.run(chain_server::ChainServer::run),
        op => Err(Invalid::unknown_op(op)),
    }
}

input! {
    /// Whole nodes: a simulated node performs each event, and the whole recorded result is compared.
    struct Trace { nodes: BTreeMap<String, NodeForm>, events: Vec<Event> }
    struct NodeForm { config: String, crypto_file: Hex, seed_file: Hex }
}

output! {
    /// An event: the action is read, and the recorded result is also written.
    struct Event {
        #[serde(skip_serializing)]
        node: String,
        #[serde(skip_serializing, rename = "do")]
        what: What,
        #[serde(skip_serializing)]
        time: Option<f64>,
        #[serde(skip_serializing)]
        topic: Option<String>,
        #[serde(skip_serializing)]
        kv: Option<Kv>,
        #[serde(skip_serializing)]
        plaintext: Option<Hex>,
        #[serde(skip_serializing)]
        message: Option<Hex>,
        #[serde(skip_serializing)]
        delivered: Option<Vec<Record>>,
        #[serde(skip_serializing)]
        draws: Option<Vec<Draw>>,
        #[serde(default)]
        effects: Vec<Effect>,
        result: Option<EventResult>, seed_file_after: Option<Hex>,
        tracked_topics_after: Option<Vec<String>>, config_after_contains: Option<String>,
        config_sections_after: Option<BTreeMap<String, Vec<String>>>,
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Loop,
    Serialize,
    Deserialize,
    Restart,
    RestartWithOldSeed,
}

input! {
    /// A record of partition 0 of a topic.
    struct Record { topic: String, offset: i64, key: Option<Hex>, value: Option<Hex> }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum EventResult {
    Sealed(Hex),
    Opened {
        cleartext: bool,
        bytes: Hex,
        waits: u64,
    },
    Raised {
        raised: Value,
    },
}

/// The result of an event, as it is recorded.
#[derive(Serialize, Deserialize)]
struct Did {
    effects: Vec<Effect>,
    result: Option<EventResult>,
    seed_file_after: Option<Hex>,
    tracked_topics_after: Option<Vec<String>>,
    config_after_contains: Option<String>,
    config_sections_after: Option<BTreeMap<String, Vec<String>>>,
}

output! {
    struct Traced {
        /// The number of events.
        events: usize,
        #[serde(skip_deserializing)]
        steps: Vec<Did>,
    }
}

impl Trace {
    fn run(&self, case: &Context) -> Outcome<Traced> {
        let first = self.events.first();
        let first = first.ok_or_else(|| Invalid::new("a trace without events"))?;
        let start = case.now(first.time)?;
        let mut nodes = BTreeMap::new();
        for (name, form) in &self.nodes {
            let files = Files::open(&form.config, &form.crypto_file)?;
            nodes.insert(name, Node::start(files, form.seed_file.0.clone(), start)?);
        }
        let mut steps = Vec::new();
        for event in &self.events {
            let mut node = nodes
                .remove(&event.node)
                .ok_or_else(|| Invalid::new("an event of a node unknown"))?;
            let now = case.now(event.time)?;
            node.pass_time(now);
            if let What::Restart | What::RestartWithOldSeed = event.what {
                let old = self
                    .nodes
                    .get(&event.node)
                    .map(|form| form.seed_file.0.clone());
                let seed_file = match event.what {
                    What::Restart => None,
                    _ => old,
                };
                let seed_file = seed_file.unwrap_or_else(|| node.producer.seed_file().to_vec());
                node = node.restart(seed_file, now)?;
            }
            steps.push(event.act(case, &mut node)?);
            nodes.insert(&event.node, node);
        }
        let events = steps.len();
        Ok(Traced { events, steps })
    }

    /// Returns the recorded result under `steps`, because `events` is their number in the output.
    fn recorded(&self) -> Result<Value, Invalid> {
        Ok(json!({"steps": write(&self.events)?}))
    }

    fn normalise(&self, _: &Context, body: &mut Value) -> Result<(), Invalid> {
        let steps = body.get_mut("steps").and_then(Value::as_array_mut);
        let steps = steps.into_iter().flatten();
        for effects in steps.filter_map(|step| step.get_mut("effects")?.as_array_mut()) {
            without_idle_seeks(effects);
            by_topic(effects);
        }
        Ok(())
    }
}

/// Removes seeks without an effect. A node of kc always has a group (protocol, section 11) and assigns each topic with
/// its start, so a seek to the beginning of a topic that has just been assigned at its beginning changes nothing.
fn without_idle_seeks(effects: &mut Vec<Value>) {
    let mut at_beginning = false;
    effects.retain(|effect| {
        let seeks = at_beginning && *effect == json!({"do": "seek_to_beginning"});
        at_beginning = assigns_beginnings(effect);
        !seeks
    });
}

fn assigns_beginnings(effect: &Value) -> bool {
    let begins = |(_, _, offset): &(String, i32, i64)| BEGINNINGS.contains(offset);
    match Effect::deserialize(effect) {
        Ok(Effect::AssignAndSeek { items }) => items.iter().all(begins),
        _ => false,
    }
}

/// Sorts the messages between two other calls by topic, because Kafka has no order between topics.
fn by_topic(effects: &mut [Value]) {
    let is_send = |effect: &Value| effect.get("do") == Some(&json!("send"));
    for sends in effects.chunk_by_mut(|one, next| is_send(one) && is_send(next)) {
        sends.sort_by_key(|send| send.get("topic").map(Value::to_string));
    }
}

impl Event {
    fn act(&self, case: &Context, node: &mut Node) -> Result<Did, Invalid> {
        let now = case.now(self.time)?;
        let result = match self.what {
            What::Loop => {
                let script = self.draws.as_deref().unwrap_or_default();
                let mut draws = case.draws_of(script);
                if script.is_empty() {
                    // If kc draws a value and the reference does not, the value is sent, and compared there.
                    draws = draws.or_filler();
                }
                node.turn(self.delivered.as_deref().unwrap_or_default(), now, draws)?;
                None
            }
            What::Serialize => {
                let (topic, kv) = self.place()?;
                let sealed = node.serialize(topic, kv.into(), self.plaintext.as_deref(), now)?;
                sealed.map(|sealed| EventResult::Sealed(sealed.into()))
            }
            What::Deserialize => {
                let (topic, kv) = self.place()?;
                self.message.as_ref().map(|message| {
                    let (opened, waits) = node.deserialize(topic, kv.into(), message, now);
                    let (cleartext, bytes) = match opened {
                        Opened::Plaintext(plaintext) => (true, plaintext.as_slice().into()),
                        Opened::Unopened(_) => (false, message.clone()),
                    };
                    EventResult::Opened {
                        cleartext,
                        bytes,
                        waits,
                    }
                })
            }
            What::Restart | What::RestartWithOldSeed => None,
        };
        Ok(Did {
            effects: node.kafka.take_effects(),
            result,
            ..self.state_after(node)
        })
    }

    fn place(&self) -> Result<(&str, Kv), Invalid> {
        let place = self.topic.as_deref().zip(self.kv);
        place.ok_or_else(|| Invalid::new("an event without `topic` or `kv`"))
    }

    /// Returns the parts of a node's files that the event recorded, as kc has them.
    fn state_after(&self, node: &Node) -> Did {
        let seed_file = self.seed_file_after.as_ref();
        let topics = self.tracked_topics_after.as_ref();
        let line = self.config_after_contains.as_ref().and_then(|line| {
            let entry = line
                .split_once(':')
                .map_or(line.as_str(), |(entry, _)| entry);
            let config = node.files.config.render();
            config
                .lines()
                .find(|line| line.starts_with(entry))
                .map(str::to_owned)
        });
        let sections = self.config_sections_after.as_ref().map(|sections| {
            let lines = |section: &String| {
                let lines = node.files.lines(Section::named(section));
                let text = lines.iter().map(|line| format!("{line}\n")).collect();
                (section.clone(), vec![text])
            };
            sections.keys().map(lines).collect()
        });
        Did {
            effects: Vec::new(),
            result: None,
            seed_file_after: seed_file.map(|_| node.producer.seed_file().into()),
            tracked_topics_after: topics.map(|_| node.kafka.topics()),
            config_after_contains: line,
            config_sections_after: sections,
        }
    }
}
