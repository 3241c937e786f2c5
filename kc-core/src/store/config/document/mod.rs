//! The lossless document behind a configuration.

mod edit;
mod parse;

use std::collections::HashSet;
use std::fmt;

use zeroize::Zeroizing;

use super::{ConfigError, Name};

/// The section whose entries all other sections inherit.
pub(super) const DEFAULT_SECTION: &str = "DEFAULT";

/// A lossless INI file as KafkaCrypto reads it: `render` returns the text that `parse` was given, and an edit
/// changes only the lines that it concerns.
///
/// - A line is `[section]`, `name : value`, or a comment that begins with `;`. Only `:` separates a name from its
///   value.
/// - A line with deeper indentation than the entry before it continues that entry's value. Blank lines inside a value
///   are kept.
/// - All sections inherit from `[DEFAULT]`.
/// - `%%` stands for a percent sign, and `%(name)s` stands for the value of another entry. [`Document::get`] resolves
///   both; [`Document::set`] writes each `%` of its text as `%%`.
/// - Case does not matter in the names of entries, except in `base64#…` names (see [`Name`]). It matters in the names
///   of sections.
///
/// The text is zeroized when the document is dropped, and `Debug` shows only names, because values may be
/// passwords.
#[derive(Default, PartialEq, Eq)]
pub struct Document {
    items: Vec<Item>,
}

/// One line, or one entry with its continuation lines. `raw` holds the bytes of the file, including line ends.
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
    /// The name as in the file.
    written: String,
    name: Name,
    /// All lines of the value, joined by line feeds. `%%` and references are not resolved.
    text: Zeroizing<String>,
}

impl Document {
    /// Parses a file.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] for the first line that violates the syntax, or that repeats a section or the name of
    /// an entry in the same section.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        parse::parse(text)
    }

    /// Returns the text of the file.
    pub fn render(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(
            self.items.iter().map(|item| item.raw().len()).sum(),
        ));
        for item in &self.items {
            text.push_str(item.raw());
        }
        text
    }

    /// Returns whether the file has a `[section]` line with this name.
    pub fn has_section(&self, section: &str) -> bool {
        self.sections().any(|name| name == section)
    }

    /// Returns the names of the sections, in the file's order.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|item| match item {
            Item::Header { section, .. } => Some(section.as_str()),
            _ => None,
        })
    }

    /// Returns the names of a section's own entries, in the file's order.
    pub fn names(&self, section: &str) -> impl Iterator<Item = &Name> {
        self.entries(section).map(|(_, entry)| &entry.name)
    }

    /// Returns a section's own entries with their texts, in the file's order. References are resolved in the scope of
    /// the section.
    pub(super) fn own(
        &self,
        section: &str,
    ) -> impl Iterator<Item = Result<(&Name, Zeroizing<String>), ConfigError>> {
        self.entries(section)
            .map(move |(index, entry)| Ok((&entry.name, self.resolve(section, index, entry)?)))
    }

    /// Returns the entries that a section inherits, with their texts, in the file's order. References are resolved in
    /// the scope of the section.
    pub(super) fn inherited(
        &self,
        section: &str,
    ) -> impl Iterator<Item = Result<(&Name, Zeroizing<String>), ConfigError>> {
        let own: HashSet<&Name> = self.names(section).collect();
        self.entries(DEFAULT_SECTION)
            .filter(move |(_, entry)| !own.contains(&entry.name))
            .map(move |(index, entry)| Ok((&entry.name, self.resolve(section, index, entry)?)))
    }

    /// Returns the text of an own or inherited entry, with references resolved in the scope of `section`. Returns
    /// `None` if the entry is not set. A section that is not in the file inherits, too.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the entry contains a reference that cannot be resolved.
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

    /// Returns the name of an own or inherited entry as it is written in the file, with its case.
    pub(super) fn written_name(&self, section: &str, name: &Name) -> Option<&str> {
        let found = self
            .entry(section, name)
            .or_else(|| self.entry(DEFAULT_SECTION, name));
        found.map(|(_, entry)| entry.written.as_str())
    }

    fn entry(&self, section: &str, name: &Name) -> Option<(usize, &Entry)> {
        self.entries(section).find(|(_, entry)| entry.name == *name)
    }

    /// Returns a section's own entries with their indices in `items`.
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

    /// Returns the number of the first line of an item, counted from 1.
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

/// Shows the names of sections and entries, but no values and no comments.
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
