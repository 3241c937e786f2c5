//! The vector files: reading, and refusing what the README does not describe.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use thiserror::Error;

use super::draws::Draw;

/// The only format of vectors that is understood.
const FORMAT: &str = "kafkacrypto-vectors/1";

/// Every family of the vectors, in the order in which they are reported.
pub const FAMILIES: [&str; 11] = [
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

/// Fields of `reject` that inform a reader and are not compared.
const INFORMATIVE: [&str; 3] = ["class", "detail_last_root", "reason"];

/// One file of vectors.
#[derive(Debug)]
pub struct Document {
    pub(super) family: String,
    pub(super) cases: Vec<Case>,
}

/// One case of a file.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) op: String,
    pub(super) tier: Tier,
    pub(super) input: Map<String, Value>,
    pub(super) expected: Expectation,
    pub(super) draws: Vec<Draw>,
    pub(super) time: Option<f64>,
    pub(super) note: Option<String>,
}

/// What a case records: acceptance with an output, or refusal with the state that must hold after it.
#[derive(Debug, Clone)]
pub(super) struct Expectation {
    pub(super) accepted: bool,
    pub(super) body: Value,
}

/// How binding a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tier {
    /// An interoperable implementation has to agree.
    Must,
    /// An accident of the reference; a documented deviation is fine.
    Quirk,
}

impl Tier {
    pub(super) fn name(self) -> &'static str {
        match self {
            Tier::Must => "must",
            Tier::Quirk => "quirk",
        }
    }
}

/// Why vectors cannot be run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The folder or a file of it cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The folder holds no vector files.
    #[error("{}: no vector files (*.json)", .0.display())]
    EmptyFolder(PathBuf),
    /// A file is not what the README describes.
    #[error("{file}.json: {problem}")]
    File {
        /// Name of the file without its ending.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A case is not what the README describes.
    #[error("{file}.json, case `{case}`: {problem}")]
    Case {
        /// Name of the file without its ending.
        file: String,
        /// Name of the case, or its position if it has none.
        case: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Document {
    /// Reads the files `*.json` of a folder, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the folder is unreadable or holds no such file, or for the first file that is malformed.
    pub fn load_folder(folder: &Path) -> Result<Vec<Self>, LoadError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| LoadError::Unreadable { path, source }
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
            let path = entry.map_err(unreadable(folder))?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                files.push(path);
            }
        }
        if files.is_empty() {
            return Err(LoadError::EmptyFolder(folder.to_owned()));
        }
        files.sort();
        files
            .iter()
            .map(|path| {
                let text = std::fs::read_to_string(path).map_err(unreadable(path))?;
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                Self::parse(&stem, &text)
            })
            .collect()
    }

    /// Reads the text of the file `<file>.json`.
    ///
    /// # Errors
    ///
    /// [`LoadError::File`] or [`LoadError::Case`] if the format, the family, a tier, a field or a name is not one
    /// that the README allows.
    pub fn parse(file: &str, text: &str) -> Result<Self, LoadError> {
        let refuse = |problem: String| LoadError::File {
            file: file.to_owned(),
            problem,
        };
        let raw: RawFile = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if raw.format != FORMAT {
            return Err(refuse(format!(
                "format `{}`, expected `{FORMAT}`",
                raw.format
            )));
        }
        if !FAMILIES.contains(&raw.family.as_str()) {
            return Err(refuse(format!("unknown family `{}`", raw.family)));
        }
        if raw.family != file {
            return Err(refuse(format!("holds the family `{}`", raw.family)));
        }
        if raw.cases.is_empty() {
            return Err(refuse("no cases".to_owned()));
        }
        let mut names = BTreeSet::new();
        let mut cases = Vec::with_capacity(raw.cases.len());
        for (position, value) in raw.cases.into_iter().enumerate() {
            let label = value
                .get("name")
                .and_then(Value::as_str)
                .map_or_else(|| format!("#{position}"), str::to_owned);
            let case = parse_case(value).and_then(|case| {
                let unique = names.insert(case.name.clone());
                unique
                    .then_some(case)
                    .ok_or_else(|| "second case of this name".to_owned())
            });
            cases.push(case.map_err(|problem| LoadError::Case {
                file: file.to_owned(),
                case: label,
                problem,
            })?);
        }
        Ok(Self {
            family: raw.family,
            cases,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    format: String,
    family: String,
    #[serde(rename = "generated_with")]
    _generated_with: IgnoredAny,
    cases: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    op: String,
    tier: Tier,
    #[serde(rename = "in")]
    input: Map<String, Value>,
    result: RawResult,
    out: Option<Map<String, Value>>,
    reject: Option<Map<String, Value>>,
    #[serde(default)]
    draws: Vec<Draw>,
    time: Option<f64>,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawResult {
    Ok,
    Reject,
}

fn parse_case(value: Value) -> Result<Case, String> {
    let raw: RawCase = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let expected = match (raw.result, raw.out, raw.reject) {
        (RawResult::Ok, Some(out), None) => Expectation {
            accepted: true,
            body: Value::Object(out),
        },
        (RawResult::Reject, None, Some(mut state)) => {
            state.retain(|field, _| !INFORMATIVE.contains(&field.as_str()));
            Expectation {
                accepted: false,
                body: Value::Object(state),
            }
        }
        _ => {
            return Err(
                "`out` belongs to the result `ok`, `reject` to the result `reject`".to_owned(),
            );
        }
    };
    Ok(Case {
        name: raw.name,
        op: raw.op,
        tier: raw.tier,
        input: raw.input,
        expected,
        draws: raw.draws,
        time: raw.time,
        note: raw.note,
    })
}

#[cfg(test)]
mod tests;
