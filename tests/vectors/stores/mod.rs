//! The configuration file; the module `secrets` has the key file and the values that are sealed under its opaque key.

mod secrets;

use kc_core::store::config::{
    ConfigError, Document, Inherit, KafkaUse, Name, NodeConfig, NodeRole, Section, Setting,
    Value as ConfigValue,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::load::Case;
use crate::nodes::CA_FILE;
use crate::operation::{Context, Invalid, Outcome, Run, Stop, refuse};
use crate::values::{Hex, Typed};

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "config_read" => case.run_normalised(Read::run, Read::normalise),
        "config_write" => case.run(Write::run),
        "config_create" => case.run(Create::run),
        "legacy_migration" => case.run(Migrate::run),
        "value_encode" => case.run(Encode::run),
        "crypto_open" => case.run(secrets::Open::run),
        "opaque_wrap" => case.run(secrets::Wrap::run),
        "opaque_unwrap" => case.run(secrets::Unwrap::run),
        "oldkeys_load" => case.run_normalised(secrets::OldKeys::run, secrets::OldKeys::normalise),
        op => Err(Invalid::unknown_op(op)),
    }
}

/// The two stores of the reference differ only in their Kafka sections, which the file shows.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Store {
    Crypto,
    Kafka,
}

fn open(file: &str, node_id: Option<&str>) -> Result<NodeConfig, ConfigError> {
    NodeConfig::open(Document::parse(file)?, node_id)
}

fn section(suffix: Option<&str>) -> Section<'_> {
    suffix.map_or(Section::NODE, Section::named)
}

input! {
    struct Read {
        file: String, node_id: Option<String>,
        #[serde(rename = "store")]
        _store: Option<Store>,
        queries: Vec<Query>,
    }
}

#[derive(Deserialize)]
#[serde(tag = "fn", rename_all = "snake_case", deny_unknown_fields)]
enum Query {
    NodeId {},
    LoadValue {
        name: Option<String>,
        name_hex: Option<Hex>,
        section: Option<String>,
        #[serde(default)]
        default: Value,
    },
    LoadSection {
        section: Option<String>,
        #[serde(default)]
        defaults: bool,
    },
    GetKafkaConfig {
        #[serde(rename = "use")]
        client: Client,
        extra: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Client {
    Consumer,
    Producer,
    Admin,
}

output! {
    struct Answers { values: Vec<Answer>, file_after: String }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Answer {
    Found { value: Typed },
    Failed { error: Value },
}

output! {
    #[derive(Default)]
    struct At { at: Option<String> }
}

impl Read {
    fn run(&self, _: &Context) -> Outcome<Answers, At> {
        let config = open(&self.file, self.node_id.as_deref()).map_err(|error| {
            let at = Some("open".to_owned());
            Stop::Refused(At { at }, error.to_string())
        })?;
        let answer = |query: &Query| -> Result<Answer, Invalid> {
            Ok(match query.ask(&config)? {
                Ok(value) => Answer::Found { value },
                Err(error) => Answer::Failed {
                    error: error.to_string().into(),
                },
            })
        };
        let values = self.queries.iter().map(answer);
        Ok(Answers {
            values: values.collect::<Result<_, _>>()?,
            file_after: config.render().as_str().to_owned(),
        })
    }

    /// Types of exceptions are informative: only the fact of an error is compared. Each written section ends with a
    /// blank line, and an unchanged file is not written, so blank lines at the end of the file have no meaning.
    fn normalise(&self, _: &Context, body: &mut Value) -> Result<(), Invalid> {
        let values = body.get_mut("values").and_then(Value::as_array_mut);
        let values = values.into_iter().flatten();
        for error in values.filter_map(|value| value.get_mut("error")) {
            *error = json!(true);
        }
        if let Some(Value::String(file)) = body.get_mut("file_after") {
            file.truncate(file.trim_end_matches('\n').len());
        }
        Ok(())
    }
}

impl Query {
    fn ask(&self, config: &NodeConfig) -> Result<Result<Typed, ConfigError>, Invalid> {
        Ok(match self {
            Self::NodeId {} => Ok(Typed::text(config.node_id())),
            Self::LoadValue {
                name,
                name_hex,
                section: suffix,
                default,
            } => {
                let name = match (name, name_hex) {
                    (Some(name), _) => Name::parse(name),
                    (None, Some(name)) => Name::Binary(name.0.clone()),
                    (None, None) => return Err(Invalid::new("a query without a name")),
                };
                let default = given(default)?;
                let section = section(suffix.as_deref());
                config
                    .load_text(section, &name)
                    .and_then(|found| match found {
                        Some(_) => Ok(typed(config.load_value(section, &name)?.as_ref())),
                        None => Ok(default),
                    })
            }
            Self::LoadSection {
                section: suffix,
                defaults,
            } => {
                let inherit = match defaults {
                    true => Inherit::Defaults,
                    false => Inherit::Nothing,
                };
                let settings = config.load_section(section(suffix.as_deref()), inherit);
                let pair =
                    |setting: &Setting| (listed(&setting.name), typed(setting.value().as_ref()));
                let map = |settings: Vec<Setting>| Typed::Map {
                    v: settings.iter().map(pair).collect(),
                };
                settings.map(|settings| settings.map_or(Typed::Nil {}, map))
            }
            Self::GetKafkaConfig { client, extra } => {
                let purpose = match client {
                    Client::Consumer => KafkaUse::Consumer,
                    Client::Producer => KafkaUse::Producer,
                    Client::Admin => KafkaUse::Admin,
                };
                let settings = config.kafka_config(purpose, extra.as_deref());
                settings.map(|settings| {
                    let pair = |(name, _): (&str, _)| {
                        (Typed::text(name), typed(settings.value(name).as_ref()))
                    };
                    Typed::Map {
                        v: settings.iter().map(pair).collect(),
                    }
                })
            }
        })
    }
}

/// Returns the default of a query: a bare scalar, or a typed value.
fn given(default: &Value) -> Result<Typed, Invalid> {
    Ok(match default {
        Value::Null => Typed::Nil {},
        Value::Bool(v) => Typed::Bool { v: *v },
        Value::String(text) => Typed::text(text),
        Value::Number(number) if number.is_f64() => {
            Typed::float(number.as_f64().unwrap_or_default())
        }
        Value::Number(number) => Typed::digits(number.to_string()),
        other => Typed::deserialize(other).map_err(Invalid::new)?,
    })
}

input! {
    struct Write {
        file: String, node_id: Option<String>,
        #[serde(rename = "store")]
        _store: Option<Store>,
        actions: Vec<Action>,
    }
    struct Action { name: Typed, value: Typed, section: Option<String> }
}

output! {
    struct Written {
        file_after: String, read_back: Vec<ReadBack>, read_back_after_reopen: Vec<ReadBack>,
    }
    struct ReadBack { value: Typed }
}

impl Write {
    fn run(&self, _: &Context) -> Outcome<Written> {
        let mut config = open(&self.file, self.node_id.as_deref()).map_err(refuse)?;
        let mut read_back = Vec::new();
        for action in &self.actions {
            let (section, name) = (section(action.section.as_deref()), action.name()?);
            match untyped(&action.value)? {
                None => drop(config.remove(section, &name)),
                Some(value) => drop(config.set(section, &name, &value).map_err(refuse)?),
            }
            read_back.push(action.read_back(&config)?);
        }
        let file = config.render();
        let reopened = NodeConfig::parse(&file).map_err(refuse)?;
        let again = self
            .actions
            .iter()
            .map(|action| action.read_back(&reopened));
        Ok(Written {
            file_after: file.as_str().to_owned(),
            read_back,
            read_back_after_reopen: again.collect::<Result<_, _>>()?,
        })
    }
}

impl Action {
    fn name(&self) -> Result<Name, Invalid> {
        match &self.name {
            Typed::Str { v } => Ok(Name::parse(v)),
            Typed::Bytes { hex } => Ok(Name::Binary(hex.0.clone())),
            _ => Err(Invalid::new("a name is neither text nor bytes")),
        }
    }

    fn read_back(&self, config: &NodeConfig) -> Outcome<ReadBack> {
        let value = config.load_value(section(self.section.as_deref()), &self.name()?);
        let value = typed(value.map_err(refuse)?.as_ref());
        Ok(ReadBack { value })
    }
}

input! {
    struct Create { node_id: String, store: Store }
}

output! {
    struct Created { file: String, placeholder: Option<String> }
}

impl Create {
    fn run(&self, _: &Context) -> Outcome<Created> {
        let of_kafka = self.store == Store::Kafka;
        let mut config = NodeConfig::create(&self.node_id).map_err(refuse)?;
        if of_kafka {
            config.add_kafka_sections(CA_FILE).map_err(refuse)?;
        }
        Ok(Created {
            file: config.render().as_str().to_owned(),
            placeholder: of_kafka.then(|| CA_FILE.to_owned()),
        })
    }
}

input! {
    struct Migrate { file: String, role: Role }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Controller,
    Node,
}

output! {
    struct FileAfter { file_after: String }
}

impl Migrate {
    fn run(&self, _: &Context) -> Outcome<FileAfter> {
        let role = match self.role {
            Role::Controller => NodeRole::Controller,
            Role::Node => NodeRole::Node,
        };
        let mut config = NodeConfig::parse(&self.file).map_err(refuse)?;
        let _ = config.migrate(role).map_err(refuse)?;
        let file_after = config.render().as_str().to_owned();
        Ok(FileAfter { file_after })
    }
}

input! {
    struct Encode { value: Typed }
}

output! {
    struct Text { text: String }
}

impl Encode {
    fn run(&self, _: &Context) -> Outcome<Text> {
        let value = untyped(&self.value)?.ok_or_else(|| refuse("nothing to write"))?;
        Ok(Text {
            text: value.encode(),
        })
    }
}

/// Returns a name as the reference lists it: `12` is an integer, `true` a boolean.
fn listed(name: &Name) -> Typed {
    match name {
        Name::Binary(bytes) => Typed::bytes(bytes),
        Name::Text(text) => {
            ConfigValue::decode(text).map_or_else(|| Typed::text(text), |value| typed(Some(&value)))
        }
    }
}

fn typed(value: Option<&ConfigValue>) -> Typed {
    match value {
        None => Typed::Nil {},
        Some(ConfigValue::Int(int)) => Typed::int(*int),
        Some(ConfigValue::BigInt(digits)) => Typed::digits(digits.clone()),
        Some(ConfigValue::Float(float)) => Typed::float(*float),
        Some(ConfigValue::Bool(v)) => Typed::Bool { v: *v },
        Some(ConfigValue::Bytes(bytes)) => Typed::bytes(bytes),
        Some(ConfigValue::Text(text)) => Typed::text(text),
    }
}

/// Returns the value for the file; `None` for no value. Lists and maps have no form in the file.
fn untyped(value: &Typed) -> Outcome<Option<ConfigValue>> {
    Ok(Some(match value {
        Typed::Nil {} => return Ok(None),
        Typed::Int(int) => match value.as_int() {
            Some(int) => ConfigValue::Int(int),
            None => ConfigValue::BigInt(int.digits()),
        },
        Typed::Float(float) => ConfigValue::Float(
            float
                .value()
                .ok_or_else(|| Invalid::new("no bits of a float"))?,
        ),
        Typed::Bool { v } => ConfigValue::Bool(*v),
        Typed::Bytes { hex } => ConfigValue::Bytes(hex.0.clone()),
        Typed::Str { v } => ConfigValue::Text(v.clone()),
        _ => return Err(refuse("no form in the file")),
    }))
}
