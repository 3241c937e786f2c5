//! The file itself, kept to the byte.

mod edit;
mod parse;

use std::collections::HashSet;
use std::fmt;

use zeroize::Zeroizing;

use super::{ConfigError, Name};

/// The section whose entries every other section inherits.
pub(super) const DEFAULT_SECTION: &str = "DEFAULT";

/// An INI file as KafkaCrypto reads it, without loss: `render` gives back what `parse` was given, and an edit
/// changes the lines it is about and nothing else.
///
/// - `[section]` lines; `name : value` lines, only `:` separates; `;` begins a comment line.
/// - A line indented deeper than the entry before it continues that entry's value; blank lines inside are kept.
/// - Every section inherits from `[DEFAULT]`.
/// - `%%` is a percent sign and `%(name)s` the value of another entry. [`Document::get`] resolves them,
///   [`Document::set`] writes every `%` of its text as `%%`.
/// - Names ignore case, except `base64#…` names (see [`Name`]); section names do not.
///
/// The text is zeroized when the document is dropped, and `Debug` shows names only: values may be passwords.
#[derive(Default, PartialEq, Eq)]
pub struct Document {
    items: Vec<Item>,
}

/// One line, or one entry with its continuation lines. `raw` holds the bytes of the file, line ends included.
#[derive(PartialEq, Eq)]
enum Item {
    /// A comment or a blank line.
    Trivia {
        raw: Zeroizing<String>,
        blank: bool,
    },
    Header {
        raw: Zeroizing<String>,
        section: String,
    },
    Entry(Entry),
}

#[derive(PartialEq, Eq)]
struct Entry {
    raw: Zeroizing<String>,
    /// As in the file.
    written: String,
    name: Name,
    /// Continuation lines joined by line feeds; `%` not resolved.
    text: Zeroizing<String>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// The first line that is not as the syntax wants it, or that repeats a section or a name.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        parse::parse(text)
    }

    /// The file's text.
    pub fn render(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(
            self.items.iter().map(|item| item.raw().len()).sum(),
        ));
        for item in &self.items {
            text.push_str(item.raw());
        }
        text
    }

    /// Whether the file has a `[section]` line of that name.
    pub fn has_section(&self, section: &str) -> bool {
        self.sections().any(|name| name == section)
    }

    /// The names of the sections, in the file's order.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|item| match item {
            Item::Header { section, .. } => Some(section.as_str()),
            _ => None,
        })
    }

    /// The names of a section's own entries, without those it inherits, in the file's order.
    pub fn names(&self, section: &str) -> impl Iterator<Item = &Name> {
        self.entries(section).map(|(_, entry)| &entry.name)
    }

    /// A section's own entries with their texts, references resolved in its scope, in the file's order.
    pub(super) fn own(
        &self,
        section: &str,
    ) -> impl Iterator<Item = Result<(&Name, Zeroizing<String>), ConfigError>> {
        self.entries(section)
            .map(move |(index, entry)| Ok((&entry.name, self.resolve(section, index, entry)?)))
    }

    /// The entries that a section inherits, with their texts in its scope, in the file's order.
    pub(super) fn inherited(
        &self,
        section: &str,
    ) -> impl Iterator<Item = Result<(&Name, Zeroizing<String>), ConfigError>> {
        let own: HashSet<&Name> = self.names(section).collect();
        self.entries(DEFAULT_SECTION)
            .filter(move |(_, entry)| !own.contains(&entry.name))
            .map(move |(index, entry)| Ok((&entry.name, self.resolve(section, index, entry)?)))
    }

    /// The text of an entry, its own or inherited from `[DEFAULT]`, with references resolved in the scope of
    /// `section`. `None` if there is none; a section that the file lacks still inherits.
    ///
    /// # Errors
    /// A reference that cannot be resolved.
    pub fn get(
        &self,
        section: &str,
        name: &Name,
    ) -> Result<Option<Zeroizing<String>>, ConfigError> {
        let found = self
            .entry(section, name)
            .or_else(|| self.entry(DEFAULT_SECTION, name));
        found
            .map(|(index, entry)| self.resolve(section, index, entry))
            .transpose()
    }

    #[cfg(test)]
    pub(super) fn raw_for_test(&self, section: &str, name: &Name) -> &str {
        self.entry(section, name)
            .map_or("", |(_, entry)| &entry.text)
    }

    /// The name of an entry as the file writes it, in whatever case.
    pub(super) fn written_name(&self, section: &str, name: &Name) -> Option<&str> {
        let found = self
            .entry(section, name)
            .or_else(|| self.entry(DEFAULT_SECTION, name));
        found.map(|(_, entry)| entry.written.as_str())
    }

    fn entry(&self, section: &str, name: &Name) -> Option<(usize, &Entry)> {
        self.entries(section).find(|(_, entry)| entry.name == *name)
    }

    /// A section's own entries with their places in `items`.
    fn entries(&self, section: &str) -> impl Iterator<Item = (usize, &Entry)> {
        let mut inside = false;
        self.items
            .iter()
            .enumerate()
            .filter_map(move |(index, item)| match item {
                Item::Header { section: name, .. } => {
                    inside = name == section;
                    None
                }
                Item::Entry(entry) if inside => Some((index, entry)),
                _ => None,
            })
    }

    /// The line on which an item begins, from 1.
    fn line_of(&self, index: usize) -> usize {
        1 + self
            .items
            .iter()
            .take(index)
            .map(|item| item.raw().matches('\n').count())
            .sum::<usize>()
    }
}

impl Item {
    fn raw(&self) -> &str {
        match self {
            Self::Trivia { raw, .. } | Self::Header { raw, .. } => raw,
            Self::Entry(entry) => &entry.raw,
        }
    }
}

/// Sections and names; no values, no comments.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = f.debug_list();
        for item in &self.items {
            match item {
                Item::Trivia { .. } => {}
                Item::Header { section, .. } => {
                    lines.entry(&format_args!("[{section}]"));
                }
                Item::Entry(entry) => {
                    lines.entry(&format_args!(
                        "{} : ({} bytes)",
                        entry.written,
                        entry.text.len()
                    ));
                }
            }
        }
        lines.finish()
    }
}
