//! The files with vectors, and their cases.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use crate::draws::Draw;

const FORMAT: &str = "kafkacrypto-vectors/1";

/// All families; the vectors of the project have each of them.
pub(crate) const FAMILIES: [&str; 11] = [
    "chains",
    "exchange",
    "get_root",
    "keygenerator",
    "keys",
    "management",
    "message",
    "mgmtloop",
    "provisioning",
    "ratchet",
    "stores",
];

/// Fields of `reject` that only inform a reader, and are not compared.
const INFORMATIVE: [&str; 3] = ["class", "detail_last_root", "reason"];

/// A case, or the error of a case that cannot be read.
pub(crate) struct Entry {
    pub(crate) family: String,
    pub(crate) label: String,
    pub(crate) case: Result<Case, String>,
}

impl Entry {
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.family, self.label)
    }
}

pub(crate) struct Case {
    pub(crate) op: String,
    pub(crate) tier: Tier,
    pub(crate) input: Value,
    pub(crate) accepted: bool,
    /// The content of `out` or `reject`, without the informative fields.
    pub(crate) body: Value,
    pub(crate) draws: Vec<Draw>,
    pub(crate) time: Option<f64>,
    pub(crate) note: Option<String>,
}

/// The obligation of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    /// An interoperable implementation must agree.
    Must,
    /// An accident of the reference; a documented deviation is allowed.
    Quirk,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    format: String,
    family: String,
    #[serde(rename = "generated_with")]
    _generated_with: Option<IgnoredAny>,
    cases: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    op: String,
    tier: Tier,
    #[serde(rename = "in")]
    input: Value,
    result: RawResult,
    out: Option<Value>,
    reject: Option<Map<String, Value>>,
    draws: Option<Vec<Draw>>,
    time: Option<f64>,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawResult {
    Ok,
    Reject,
}

/// Returns the cases of all files `*.json` in a folder, in the order of their names.
pub(crate) fn folder(folder: &Path) -> Vec<Entry> {
    let paths = std::fs::read_dir(folder).and_then(|entries| {
        let paths = entries.map(|entry| Ok(entry?.path()));
        paths.collect::<std::io::Result<Vec<_>>>()
    });
    let mut paths = match paths {
        Ok(paths) => paths,
        Err(error) => return vec![unread("folder", format!("{}: {error}", folder.display()))],
    };
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    if paths.is_empty() {
        return vec![unread("folder", format!("{}: no *.json", folder.display()))];
    }
    let file = |path: &Path| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        text.and_then(|text| file(&stem, &text))
            .unwrap_or_else(|problem| vec![unread(&stem, problem)])
    };
    paths.iter().flat_map(|path| file(path)).collect()
}

fn unread(family: &str, problem: String) -> Entry {
    Entry {
        family: family.to_owned(),
        label: "(file)".to_owned(),
        case: Err(problem),
    }
}

/// Returns the cases of the file `<stem>.json`, or the error of the whole file.
pub(crate) fn file(stem: &str, text: &str) -> Result<Vec<Entry>, String> {
    let file: RawFile = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if file.format != FORMAT {
        return Err(format!("format `{}`, expected `{FORMAT}`", file.format));
    }
    if file.family != stem || !FAMILIES.contains(&stem) {
        return Err(format!("unknown or another family `{}`", file.family));
    }
    if file.cases.is_empty() {
        return Err("no cases".to_owned());
    }
    let mut names = BTreeSet::new();
    let mut entry = |(position, value): (usize, Value)| {
        let name = value.get("name").and_then(Value::as_str);
        let label = name.map_or_else(|| format!("#{position}"), str::to_owned);
        let case = match names.insert(label.clone()) {
            true => case(value),
            false => Err("second case of this name".to_owned()),
        };
        Entry {
            family: stem.to_owned(),
            label,
            case,
        }
    };
    let cases = file.cases.into_iter().enumerate();
    Ok(cases.map(&mut entry).collect())
}

fn case(value: Value) -> Result<Case, String> {
    let raw: RawCase = read(&value)?;
    if raw.name.is_empty() {
        return Err("a case without a name".to_owned());
    }
    let (accepted, body) = match (raw.result, raw.out, raw.reject) {
        (RawResult::Ok, Some(out), None) => (true, out),
        (RawResult::Reject, None, Some(mut state)) => {
            state.retain(|field, _| !INFORMATIVE.contains(&field.as_str()));
            (false, Value::Object(state))
        }
        _ => return Err("`out` belongs to `ok`, `reject` to `reject`".to_owned()),
    };
    Ok(Case {
        op: raw.op,
        tier: raw.tier,
        input: raw.input,
        accepted,
        body,
        draws: raw.draws.unwrap_or_default(),
        time: raw.time,
        note: raw.note,
    })
}

/// Reads a value into its type; an error names the place.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| error.to_string())
}
