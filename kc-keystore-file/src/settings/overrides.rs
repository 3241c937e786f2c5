use std::ffi::OsString;
use std::fmt;

use kc_core::store::config::Section;
use zeroize::Zeroizing;

use super::suffix;

const PREFIX: &str = "KC_CONFIG__";
const SEPARATOR: &str = "__";
/// The node's own section, whose name in the file is the node's.
const OWN_SECTION: &str = "node";

/// A value from above the file. `Debug` hides it: it may be a password.
pub(super) struct Override {
    /// What follows `<node>-`; empty for the node's own section.
    pub(super) section: String,
    /// In lower case.
    pub(super) name: String,
    pub(super) text: Zeroizing<String>,
    source: Source,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Environment,
    Flag,
}

impl Override {
    pub(super) fn flag(section: Section<'_>, name: &str, text: &str) -> Self {
        let text = Zeroizing::new(text.to_owned());
        Self {
            section: suffix(section),
            name: name.to_lowercase(),
            text,
            source: Source::Flag,
        }
    }
}

impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [{}] {}", self.source, self.section, self.name)
    }
}

pub(super) fn from_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<Override> {
    let mut overrides = Vec::new();
    for (variable, text) in variables {
        let Some(rest) = variable.to_str().and_then(strip_prefix) else {
            continue;
        };
        let parsed = rest
            .split_once(SEPARATOR)
            .filter(|(section, name)| !section.is_empty() && !name.is_empty());
        match (parsed, text.into_string()) {
            (Some((section, name)), Ok(text)) => overrides.push(Override {
                section: section_of(section),
                name: name.to_lowercase(),
                text: Zeroizing::new(text),
                source: Source::Environment,
            }),
            (None, _) => tracing::warn!(
                ?variable,
                "expected KC_CONFIG__<SECTION>__<NAME>; passed over"
            ),
            (_, Err(_)) => tracing::warn!(?variable, "its value is not UTF-8; passed over"),
        }
    }
    overrides
}

/// The variable that sets `name` in a section.
pub(super) fn variable(section: &str, name: &str) -> String {
    let section = if section.is_empty() {
        OWN_SECTION
    } else {
        section
    };
    format!(
        "{PREFIX}{}{SEPARATOR}{}",
        section.replace('-', "_").to_uppercase(),
        name.to_uppercase()
    )
}

fn strip_prefix(variable: &str) -> Option<&str> {
    let (prefix, rest) = variable.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(rest)
}

fn section_of(written: &str) -> String {
    let section = written.to_lowercase().replace('_', "-");
    if section == OWN_SECTION {
        String::new()
    } else {
        section
    }
}
