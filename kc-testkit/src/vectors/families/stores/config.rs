//! The configuration file.

use kc_core::store::config::{
    ConfigError, Document, Inherit, KafkaUse, Name, NodeConfig, NodeRole, Section, Setting, Value,
};
use serde_json::{Value as Json, json};

use crate::vectors::families::convert::CA_FILE;
use crate::vectors::{CaseInput, Fields, InputError, Outcome, Typed};

pub(super) fn read(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let config = match open(&case.fields)? {
        Ok(config) => config,
        Err(error) => return Ok(Outcome::reject_with(json!({"at": "open"}), error)),
    };
    let mut values = Vec::new();
    for query in case.fields.objects("queries")? {
        values.push(match ask(&config, &query)? {
            Ok(value) => json!({"value": value.to_value()}),
            Err(error) => json!({"error": error.to_string()}),
        });
    }
    let file_after = config.render();
    Ok(Outcome::Ok(
        json!({"values": values, "file_after": file_after.as_str()}),
    ))
}

/// The reference names an exception where we have a sentence: what counts is that there is an error.
pub(in crate::vectors) fn normalise_errors(
    _: &CaseInput<'_>,
    out: &mut Json,
) -> Result<(), InputError> {
    let values = out.get_mut("values").and_then(Json::as_array_mut);
    for value in values.into_iter().flatten() {
        if let Some(error) = value.get_mut("error")
            && error.is_string()
        {
            *error = json!(true);
        }
    }
    Ok(())
}

/// The blank lines at the end of a file mean nothing.
pub(in crate::vectors) fn normalise_last_line(
    _: &CaseInput<'_>,
    out: &mut Json,
) -> Result<(), InputError> {
    if let Some(Json::String(file)) = out.get_mut("file_after") {
        file.truncate(file.trim_end_matches('\n').len());
    }
    Ok(())
}

fn ask(config: &NodeConfig, query: &Fields<'_>) -> Result<Result<Typed, ConfigError>, InputError> {
    Ok(match query.text("fn")? {
        "node_id" => Ok(Typed::Str(config.node_id().to_owned())),
        "load_value" => {
            let name = match query.opt_bytes("name_hex")? {
                Some(name) => Name::Binary(name),
                None => Name::parse(query.text("name")?),
            };
            let default = default_value(query)?;
            let section = section(query)?;
            config
                .load_text(section, &name)
                .and_then(|found| match found {
                    Some(_) => Ok(typed(config.load_value(section, &name)?.as_ref())),
                    None => Ok(default),
                })
        }
        "load_section" => {
            let inherit = match query.flag("defaults")? {
                true => Inherit::Defaults,
                false => Inherit::Nothing,
            };
            let settings = config.load_section(section(query)?, inherit);
            let pair = |setting: &Setting| {
                let name = typed(Some(&setting.name.to_value()));
                (name, typed(setting.value().as_ref()))
            };
            let map = |settings: Vec<Setting>| Typed::Map(settings.iter().map(pair).collect());
            settings.map(|settings| settings.map_or(Typed::Nil, map))
        }
        "get_kafka_config" => {
            let purpose = match query.text("use")? {
                "consumer" => KafkaUse::Consumer,
                "producer" => KafkaUse::Producer,
                "admin" => KafkaUse::Admin,
                _ => return Err(query.error("use", "is no client known")),
            };
            let settings = config.kafka_config(purpose, query.opt_text("extra")?);
            settings.map(|settings| {
                let pairs = settings.iter().map(|(name, _)| {
                    let value = settings.value(name);
                    (Typed::Str(name.to_owned()), typed(value.as_ref()))
                });
                Typed::Map(pairs.collect())
            })
        }
        _ => return Err(query.error("fn", "is no query known")),
    })
}

fn default_value(query: &Fields<'_>) -> Result<Typed, InputError> {
    if !query.has("default") {
        return Ok(Typed::Nil);
    }
    match query.raw("default")? {
        Json::String(text) => Ok(Typed::Str(text.clone())),
        Json::Number(number) if number.is_i64() => Ok(Typed::Int(query.integer("default")?.into())),
        _ => Err(query.error("default", "is neither text nor an integer")),
    }
}

pub(super) fn write(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let mut config = match open(&case.fields)? {
        Ok(config) => config,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let actions = case.fields.objects("actions")?;
    let mut read_back = Vec::new();
    for action in &actions {
        match act(&mut config, action)? {
            Ok(value) => read_back.push(json!({"value": value.to_value()})),
            Err(error) => return Ok(Outcome::reject(error)),
        }
    }
    let file_after = config.render();
    let reopened = match NodeConfig::parse(&file_after) {
        Ok(config) => config,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let mut again = Vec::new();
    for action in &actions {
        match reopened.load_value(section(action)?, &name(action)?) {
            Ok(value) => again.push(json!({"value": typed(value.as_ref()).to_value()})),
            Err(error) => return Ok(Outcome::reject(error)),
        }
    }
    Ok(Outcome::Ok(json!({
        "file_after": file_after.as_str(),
        "read_back": read_back,
        "read_back_after_reopen": again,
    })))
}

/// Does an action, and reads its entry back.
fn act(
    config: &mut NodeConfig,
    action: &Fields<'_>,
) -> Result<Result<Typed, ConfigError>, InputError> {
    let (section, name) = (section(action)?, name(action)?);
    match action.typed("value")? {
        Typed::Nil => drop(config.remove(section, &name)),
        value => {
            if let Err(error) = config.set(section, &name, &untyped(value)?) {
                return Ok(Err(error));
            }
        }
    }
    let found = config.load_value(section, &name);
    Ok(found.map(|value| typed(value.as_ref())))
}

fn name(action: &Fields<'_>) -> Result<Name, InputError> {
    match action.typed("name")? {
        Typed::Str(name) => Ok(Name::parse(&name)),
        Typed::Bytes(name) => Ok(Name::Binary(name)),
        _ => Err(action.error("name", "is neither text nor bytes")),
    }
}

pub(super) fn create(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let of_kafka = case.fields.text("store")? == "kafka";
    let created = NodeConfig::create(case.fields.text("node_id")?).and_then(|mut config| {
        if of_kafka {
            config.add_kafka_sections(CA_FILE)?;
        }
        Ok(config)
    });
    Ok(match created {
        Ok(config) => Outcome::Ok(json!({
            "file": config.render().as_str(),
            "placeholder": of_kafka.then_some(CA_FILE),
        })),
        Err(error) => Outcome::reject(error),
    })
}

pub(super) fn value_encode(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let value = untyped(case.fields.typed("value")?)?;
    Ok(Outcome::Ok(json!({"text": value.encode()})))
}

pub(super) fn migrate(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let role = match case.fields.text("role")? {
        "controller" => NodeRole::Controller,
        "node" => NodeRole::Node,
        _ => return Err(case.fields.error("role", "is no role known")),
    };
    let migrated = NodeConfig::parse(case.fields.text("file")?).and_then(|mut config| {
        let _ = config.migrate(role)?;
        Ok(config)
    });
    Ok(match migrated {
        Ok(config) => Outcome::Ok(json!({"file_after": config.render().as_str()})),
        Err(error) => Outcome::reject(error),
    })
}

/// The two stores of the reference differ in the Kafka sections alone, of which the file tells.
fn open(fields: &Fields<'_>) -> Result<Result<NodeConfig, ConfigError>, InputError> {
    let (file, node_id) = (fields.text("file")?, fields.opt_text("node_id")?);
    Ok(Document::parse(file).and_then(|document| NodeConfig::open(document, node_id)))
}

fn section<'a>(fields: &Fields<'a>) -> Result<Section<'a>, InputError> {
    let suffix = fields.opt_text("section")?;
    Ok(suffix.map_or(Section::NODE, Section::named))
}

fn typed(value: Option<&Value>) -> Typed {
    match value {
        None => Typed::Nil,
        Some(Value::Int(int)) => Typed::Int(*int),
        Some(Value::BigInt(digits)) => Typed::HugeInt(digits.clone()),
        Some(Value::Float(float)) => Typed::float(*float),
        Some(Value::Bool(flag)) => Typed::Bool(*flag),
        Some(Value::Bytes(bytes)) => Typed::Bytes(bytes.clone()),
        Some(Value::Text(text)) => Typed::Str(text.clone()),
    }
}

fn untyped(value: Typed) -> Result<Value, InputError> {
    Ok(match value {
        Typed::Int(int) => Value::Int(int),
        Typed::HugeInt(digits) => Value::BigInt(digits),
        Typed::Float(bits) => Value::Float(f64::from_bits(bits)),
        Typed::Bool(flag) => Value::Bool(flag),
        Typed::Bytes(bytes) => Value::Bytes(bytes),
        Typed::Str(text) => Value::Text(text),
        _ => return Err(InputError::new("a value", "has no form in the file")),
    })
}
