//! Traces of whole nodes: each event is done by a simulated node, and all that is recorded of it is compared.

use std::collections::BTreeMap;

use kc_core::message::Opened;
use kc_core::store::config::Section;
use serde_json::{Map, Value, json};

use super::files::Files;
use super::kafka::BEGINNINGS;
use super::node::Node;
use super::turn::Record;
use crate::vectors::families::convert::{component, time};
use crate::vectors::{CaseInput, Fields, InputError, Outcome};

/// What an event of the input holds besides what it recorded.
const GIVEN: [&str; 9] = [
    "node",
    "do",
    "time",
    "topic",
    "kv",
    "plaintext",
    "message",
    "delivered",
    "draws",
];

/// What each event did and the state after it: `steps`, because `events` is their number in the output.
pub(super) fn recorded(case: &CaseInput<'_>) -> Result<Map<String, Value>, InputError> {
    let events = case.fields.objects("events")?;
    let steps = events.iter().map(|event| {
        let fields = event.entries();
        let recorded = fields.filter(|(name, _)| !GIVEN.contains(name));
        recorded
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect()
    });
    let steps = steps.map(Value::Object).collect();
    Ok(Map::from_iter([("steps".to_owned(), steps)]))
}

pub(super) fn trace(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let events = case.fields.objects("events")?;
    let mut nodes = nodes(case, &events)?;
    let mut steps = Vec::new();
    for event in &events {
        let name = event.text("node")?;
        let node = nodes.remove(name);
        let node = node.ok_or_else(|| event.error("node", "is not in the trace"))?;
        let (node, mut step) = act(case, event, node)?;
        step.extend(state_after(&node, event)?);
        steps.push(Value::Object(step));
        nodes.insert(name, node);
    }
    Ok(Outcome::Ok(json!({"events": steps.len(), "steps": steps})))
}

/// All nodes, started at the time of the first event.
fn nodes<'a>(
    case: &CaseInput<'a>,
    events: &[Fields<'_>],
) -> Result<BTreeMap<&'a str, Node>, InputError> {
    let first = events.first();
    let now = time(first.ok_or_else(|| case.fields.error("events", "is empty"))?)?;
    let nodes = case.fields.object("nodes")?;
    let start = |(name, _)| {
        let fields = nodes.object(name)?;
        let files = Files::open(&fields)?;
        Ok((name, Node::start(files, fields.bytes("seed_file")?, now)?))
    };
    nodes.entries().map(start).collect()
}

/// Does an event: the node after it, and what it did.
fn act(
    case: &CaseInput<'_>,
    event: &Fields<'_>,
    mut node: Node,
) -> Result<(Node, Map<String, Value>), InputError> {
    let now = time(event)?;
    node.pass_time(now);
    let result = match event.text("do")? {
        "loop" => {
            let records = event.objects("delivered")?;
            let records = records.iter().map(Record::read);
            let records = records.collect::<Result<Vec<_>, _>>()?;
            let mut draws = case.draws_of(event)?;
            if draws.is_empty() {
                // What ours draws for where the reference draws nothing is sent, which is compared.
                draws = draws.or_filler();
            }
            node.turn(&records, now, draws)?;
            None
        }
        "serialize" => {
            let plaintext = event.opt_bytes("plaintext")?;
            let topic = event.text("topic")?;
            let sealed = node.serialize(topic, component(event)?, plaintext.as_deref(), now)?;
            Some(json!(sealed.map(hex::encode)))
        }
        "deserialize" => {
            let message = event.bytes("message")?;
            let topic = event.text("topic")?;
            let (opened, waits) = node.deserialize(topic, component(event)?, &message, now);
            let (cleartext, bytes) = match &opened {
                Opened::Plaintext(plaintext) => (true, plaintext),
                Opened::Unopened(_) => (false, &message),
            };
            let bytes = hex::encode(bytes);
            Some(json!({"cleartext": cleartext, "bytes": bytes, "waits": waits}))
        }
        "restart" => {
            let seed_file = node.producer.seed_file().to_vec();
            node = node.restart(seed_file, now)?;
            None
        }
        "restart-with-old-seed" => {
            let nodes = case.fields.object("nodes")?;
            let old = nodes.object(event.text("node")?)?.bytes("seed_file")?;
            node = node.restart(old, now)?;
            None
        }
        _ => return Err(event.error("do", "is no event known")),
    };
    let mut did = Map::new();
    did.insert("effects".to_owned(), json!(node.kafka.take_effects()));
    did.extend(result.map(|result| ("result".to_owned(), result)));
    Ok((node, did))
}

/// The parts of a node's files that the event recorded, as ours are.
fn state_after(node: &Node, event: &Fields<'_>) -> Result<Map<String, Value>, InputError> {
    let mut state = Map::new();
    for (name, _) in event.entries() {
        let ours = match name {
            "seed_file_after" => json!(hex::encode(node.producer.seed_file())),
            "tracked_topics_after" => json!(node.kafka.topics()),
            "config_after_contains" => {
                let line = event.text(name)?;
                let entry = line.split_once(':').map_or(line, |(entry, _)| entry);
                let config = node.files.config.render();
                json!(config.lines().find(|line| line.starts_with(entry)))
            }
            "config_sections_after" => {
                let sections = event.object(name)?;
                let lines = |(section, _)| {
                    let lines = node.files.lines(Section::named(section));
                    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                    (section.to_owned(), json!([text]))
                };
                Value::Object(sections.entries().map(lines).collect())
            }
            _ => continue,
        };
        state.insert(name.to_owned(), ours);
    }
    Ok(state)
}

/// Takes away a seek to the beginning of all that has just been assigned, where that begins at the beginning: a node
/// of ours has no need of it, as it assigns each topic where it is to be read.
pub(in crate::vectors) fn normalise_seeks(
    _: &CaseInput<'_>,
    body: &mut Value,
) -> Result<(), InputError> {
    for effects in effects_of(body) {
        let mut at_beginning = false;
        effects.retain(|effect| {
            let seeks = at_beginning && *effect == json!({"do": "seek_to_beginning"});
            at_beginning = assigns_beginnings(effect);
            !seeks
        });
    }
    Ok(())
}

/// Brings what is sent between two other calls into the order of its topics: between topics Kafka has none.
pub(in crate::vectors) fn normalise_sends(
    _: &CaseInput<'_>,
    body: &mut Value,
) -> Result<(), InputError> {
    let is_send = |effect: &Value| effect.get("do") == Some(&json!("send"));
    for effects in effects_of(body) {
        for sends in effects.chunk_by_mut(|one, next| is_send(one) && is_send(next)) {
            sends.sort_by_key(|send| send.get("topic").map(Value::to_string));
        }
    }
    Ok(())
}

fn effects_of(body: &mut Value) -> impl Iterator<Item = &mut Vec<Value>> {
    let steps = body.get_mut("steps").and_then(Value::as_array_mut);
    let steps = steps.into_iter().flatten();
    steps.filter_map(|step| step.get_mut("effects")?.as_array_mut())
}

fn assigns_beginnings(effect: &Value) -> bool {
    let items = effect.get("items").and_then(Value::as_array);
    effect.get("do") == Some(&json!("assign_and_seek"))
        && items.is_some_and(|items| {
            let mut offsets = items.iter().map(|item| item.get(2).and_then(Value::as_i64));
            offsets.all(|offset| offset.is_some_and(|offset| BEGINNINGS.contains(&offset)))
        })
}
