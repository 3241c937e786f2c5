//! Edits of a document. An edit changes only the lines that it concerns, and adds a blank line at the end of the file
//! if there is none.

use zeroize::Zeroizing;

use super::parse::{indentation, is_comment};
use super::{ConfigError, DEFAULT_SECTION, Document, Entry, Item, Name};

impl Document {
    /// Sets an entry of a section. If the section only inherits an entry with this name from `[DEFAULT]`, adds an entry
    /// to the section itself. Returns whether anything changed.
    ///
    /// An existing entry keeps its position and its indentation. The comments between its lines follow it. A new entry
    /// follows the last entry of its section and that entry's comments. A new section is added at the end of the file,
    /// but `[DEFAULT]` is added at the front. The name of the entry is written in lower case, but a name that begins
    /// with `base64#` keeps its case.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the name, the value or the section would not read back unchanged; the document
    /// is then unchanged.
    pub fn set(&mut self, section: &str, name: &Name, text: &str) -> Result<bool, ConfigError> {
        let written = name.to_string();
        let escaped = Zeroizing::new(text.replace('%', "%%"));
        let existing = self.entry(section, name);
        if existing.is_some_and(|(_, entry)| entry.written == written && *entry.text == *escaped) {
            return Ok(false);
        }
        let replaced = existing.map(|(index, entry)| (index, indent_of(&entry.raw)));
        // Tests early whether the entry can be written. The result does not depend on the indentation, which is
        // known only once the section exists.
        self.build_entry(section, name, &escaped, "")?;
        if let Some((index, indent)) = replaced {
            let entry = self.build_entry(section, name, &escaped, &indent)?;
            let comments = self
                .items
                .get(index)
                .map(inner_comments)
                .unwrap_or_default();
            self.items.splice(
                index..=index,
                std::iter::once(Item::Entry(entry)).chain(comments),
            );
        } else {
            self.add_section(section)?;
            let (index, indent) = self.place_for_new_entry(section);
            let entry = self.build_entry(section, name, &escaped, &indent)?;
            self.end_line_before(index);
            self.items.insert(index, Item::Entry(entry));
        }
        self.end_with_blank_line();
        Ok(true)
    }

    /// Removes an entry from a section. Does not remove an entry that the section inherits from `[DEFAULT]`. Returns
    /// whether an entry was removed.
    ///
    /// Comments between the lines of the entry remain. The section remains even if it has no entry any more.
    pub fn remove(&mut self, section: &str, name: &Name) -> bool {
        let Some((index, _)) = self.entry(section, name) else {
            return false;
        };
        let comments = self
            .items
            .get(index)
            .map(inner_comments)
            .unwrap_or_default();
        self.items.splice(index..=index, comments);
        self.end_with_blank_line();
        true
    }

    /// Adds an empty section unless the file already has it: `[DEFAULT]` at the front, any other section at the end.
    /// Returns whether the section was added.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the name would not read back unchanged.
    pub(in crate::store::config) fn add_section(
        &mut self,
        section: &str,
    ) -> Result<bool, ConfigError> {
        if self.has_section(section) {
            return Ok(false);
        }
        writable_section(section)?;
        let line_end = self.line_end();
        let header = Item::Header {
            raw: Zeroizing::new(format!("[{section}]{line_end}")),
            section: section.to_owned(),
        };
        if section == DEFAULT_SECTION {
            let index = self.after_opening_comment();
            self.end_line_before(index);
            self.items.splice(index..index, [header, self.blank_line()]);
        } else {
            if !self.items.is_empty() {
                self.end_with_blank_line();
            }
            self.items.push(header);
            self.end_with_blank_line();
        }
        Ok(true)
    }

    /// Builds an entry, and parses it to check that it reads back unchanged.
    fn build_entry(
        &self,
        section: &str,
        name: &Name,
        text: &str,
        indent: &str,
    ) -> Result<Entry, ConfigError> {
        let line_end = self.line_end();
        let continued = Zeroizing::new(text.replace('\n', &format!("{line_end}{indent}\t")));
        let raw = Zeroizing::new(format!(
            "[{DEFAULT_SECTION}]\n{indent}{name} : {}{line_end}",
            *continued
        ));
        let read_back = Self::parse(&raw).ok().and_then(|document| {
            match <[Item; 2]>::try_from(document.items) {
                Ok([Item::Header { .. }, Item::Entry(entry)]) => Some(entry),
                _ => None,
            }
        });
        read_back
            .filter(|entry| entry.name == *name && *entry.text == text)
            .ok_or_else(|| ConfigError::UnwritableEntry {
                section: section.to_owned(),
                name: name.to_string(),
            })
    }

    /// Returns the index and the indentation of a new entry. The entry follows the section's last entry and the
    /// comments directly after it. If the section has no entry, the new entry follows the header and the comments
    /// directly after it. Comments directly before the header of the next section belong to that section, so the new
    /// entry precedes them.
    fn place_for_new_entry(&self, section: &str) -> (usize, String) {
        let mut inside = false;
        let mut last = None;
        for (index, item) in self.items.iter().enumerate() {
            match item {
                Item::Header { section: name, .. } => {
                    inside = name == section;
                    if inside {
                        last = Some((index, item));
                    }
                }
                Item::Entry(_) if inside => last = Some((index, item)),
                _ => {}
            }
        }
        let Some((last, previous)) = last else {
            return (self.items.len(), String::new());
        };
        let following = self.items.get(last + 1..).unwrap_or_default();
        let comments = following
            .iter()
            .take_while(|item| matches!(item, Item::Trivia { blank: false, .. }))
            .count();
        let touches_next = matches!(following.get(comments), Some(Item::Header { .. }));
        let index = if touches_next {
            last + 1
        } else {
            last + 1 + comments
        };
        let next = following
            .iter()
            .find(|item| !matches!(item, Item::Trivia { .. }));
        (index, indent_between(previous, next))
    }

    /// Returns the index at which a new `[DEFAULT]` is inserted: after the last blank line that precedes all sections,
    /// so that an opening comment stays at the front. If there is no such line, returns 0.
    fn after_opening_comment(&self) -> usize {
        let opening = self
            .items
            .iter()
            .take_while(|item| matches!(item, Item::Trivia { .. }));
        let blanks = opening
            .enumerate()
            .filter(|(_, item)| matches!(item, Item::Trivia { blank: true, .. }));
        blanks.last().map_or(0, |(index, _)| index + 1)
    }

    fn end_with_blank_line(&mut self) {
        self.end_line_before(self.items.len());
        if !matches!(self.items.last(), Some(Item::Trivia { blank: true, .. })) {
            let blank = self.blank_line();
            self.items.push(blank);
        }
    }

    /// Adds a line end to the item before `index` if it has none. Only the last line of a file can lack a line end.
    fn end_line_before(&mut self, index: usize) {
        let line_end = self.line_end();
        let previous = index
            .checked_sub(1)
            .and_then(|previous| self.items.get_mut(previous));
        if let Some(
            Item::Trivia { raw, .. } | Item::Header { raw, .. } | Item::Entry(Entry { raw, .. }),
        ) = previous
            && !raw.ends_with('\n')
        {
            raw.push_str(line_end);
        }
    }

    fn blank_line(&self) -> Item {
        Item::Trivia {
            raw: Zeroizing::new(self.line_end().to_owned()),
            blank: true,
        }
    }

    fn line_end(&self) -> &'static str {
        let crlf = self.items.first().is_some_and(|item| {
            item.raw()
                .split_inclusive('\n')
                .any(|line| line.ends_with("\r\n"))
        });
        if crlf { "\r\n" } else { "\n" }
    }
}

/// Returns the indentation of a new entry between two items: the deeper indentation of the two. With it, the new
/// entry does not continue the previous entry, and the lines after it do not continue the new entry.
fn indent_between(previous: &Item, next: Option<&Item>) -> String {
    let before = indent_of(previous.raw());
    let after = next.map(|item| indent_of(item.raw())).unwrap_or_default();
    let deeper = after.chars().count() > before.chars().count();
    if deeper { after } else { before }
}

fn indent_of(raw: &str) -> String {
    raw.chars().take(indentation(raw)).collect()
}

/// Returns the comments between the lines of an entry.
fn inner_comments(item: &Item) -> Vec<Item> {
    let comments = item
        .raw()
        .split_inclusive('\n')
        .filter(|line| is_comment(line));
    comments
        .map(|line| Item::Trivia {
            raw: Zeroizing::new(line.to_owned()),
            blank: false,
        })
        .collect()
}

fn writable_section(section: &str) -> Result<(), ConfigError> {
    let read_back = Document::parse(&format!("[{section}]\n"));
    match read_back.as_ref().map(|document| document.items.as_slice()) {
        Ok([Item::Header { section: name, .. }]) if name == section => Ok(()),
        _ => Err(ConfigError::UnwritableSection {
            section: section.to_owned(),
        }),
    }
}
