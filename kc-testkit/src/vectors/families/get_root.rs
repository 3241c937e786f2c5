use kc_core::types::TopicScheme;
use serde_json::{Value, json};

use crate::vectors::{CaseInput, Family, InputError, Op, Outcome, Typed};

pub(super) const FAMILY: Family = Family {
    name: "get_root",
    ops: &[
        Op::new("get_root", &["separator_config", "topics"], get_root),
        Op::new("get_root_bytes", &["topic_hex"], get_root_bytes),
    ],
};

fn get_root(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let mut scheme = TopicScheme::default();
    if let Some(separator) = case.fields.opt_text("separator_config")? {
        scheme.separator = separator.to_owned();
    }
    let root = |topic: &&str| json!({"topic": topic, "root": scheme.root_of(topic).as_str()});
    let roots: Vec<Value> = case.fields.texts("topics")?.iter().map(root).collect();
    let separator = Typed::Str(scheme.separator.clone());
    Ok(Outcome::Ok(json!({
        "effective_separator": separator.to_value(),
        "roots": roots,
    })))
}

fn get_root_bytes(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let topic = case.fields.bytes("topic_hex")?;
    let Ok(topic) = str::from_utf8(&topic) else {
        return Ok(Outcome::reject("a topic is text"));
    };
    let root = TopicScheme::default().root_of(topic);
    Ok(Outcome::Ok(json!({"root_hex": hex::encode(root.as_str())})))
}
