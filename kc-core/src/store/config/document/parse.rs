use std::collections::HashMap;

use zeroize::Zeroizing;

use super::{ConfigError, DEFAULT_SECTION, Document, Entry, Item, Name};

const COMMENT: char = ';';
const SEPARATOR: char = ':';

pub(super) fn parse(text: &str) -> Result<Document, ConfigError> {
    let mut parser = Parser::new(text);
    let mut offset = 0;
    for (index, raw) in text.split_inclusive('\n').enumerate() {
        let end = offset + raw.len();
        parser.line(index + 1, raw, offset, end)?;
        offset = end;
    }
    Ok(parser.finish())
}

/// Returns whether a line is a comment. A comment may have any indentation.
pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(COMMENT)
}

/// Returns the number of white space characters at the start of a line.
pub(super) fn indentation(line: &str) -> usize {
    line.chars()
        .take_while(|character| character.is_whitespace())
        .count()
}

struct Parser<'a> {
    text: &'a str,
    items: Vec<Item>,
    section: Option<&'a str>,
    /// The indentation of the last header, or of the first line of the last entry.
    indentation: usize,
    /// The last entry, if the next line may continue it.
    open: Option<OpenEntry<'a>>,
    /// The blank lines and comments after the last entry or header. They become part of the open entry if a
    /// continuation line follows.
    pending: Vec<&'a str>,
    section_lines: HashMap<&'a str, usize>,
    name_lines: HashMap<(&'a str, Name), usize>,
}

struct OpenEntry<'a> {
    start: usize,
    end: usize,
    written: &'a str,
    name: Name,
    lines: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            items: Vec::new(),
            section: None,
            indentation: 0,
            open: None,
            pending: Vec::new(),
            section_lines: HashMap::new(),
            name_lines: HashMap::new(),
        }
    }

    /// Processes a line. `start..end` is the range of `raw` in the text.
    fn line(
        &mut self,
        line: usize,
        raw: &'a str,
        start: usize,
        end: usize,
    ) -> Result<(), ConfigError> {
        let body = raw.strip_suffix('\n').unwrap_or(raw);
        if raw.ends_with('\n') {
            body.strip_suffix('\r').unwrap_or(body)
        } else {
            body
        }
        .contains('\r')
        .then_some(ConfigError::StrayCarriageReturn { line })
        .map_or(Ok(()), Err)?;
        let content = raw.trim();
        if content.is_empty() || is_comment(content) {
            self.pending.push(raw);
            return Ok(());
        }
        let indentation = indentation(raw);
        if indentation > self.indentation && self.open.is_some() {
            self.continue_entry(content, end);
            return Ok(());
        }
        self.close_entry();
        self.indentation = indentation;
        match header_name(content) {
            Some(section) => self.begin_section(line, raw, section),
            None => self.begin_entry(line, content, start, end),
        }
    }

    fn continue_entry(&mut self, content: &'a str, end: usize) {
        let Some(open) = &mut self.open else { return };
        open.lines.extend(
            self.pending
                .drain(..)
                .filter(|line| !is_comment(line))
                .map(|_| ""),
        );
        open.lines.push(content);
        open.end = end;
    }

    fn begin_section(
        &mut self,
        line: usize,
        raw: &str,
        section: &'a str,
    ) -> Result<(), ConfigError> {
        if section != DEFAULT_SECTION
            && let Some(first) = self.section_lines.insert(section, line)
        {
            return Err(ConfigError::DuplicateSection {
                line,
                first,
                section: section.to_owned(),
            });
        }
        self.section = Some(section);
        self.items.push(Item::Header {
            raw: owned(raw),
            section: section.to_owned(),
        });
        Ok(())
    }

    fn begin_entry(
        &mut self,
        line: usize,
        content: &'a str,
        start: usize,
        end: usize,
    ) -> Result<(), ConfigError> {
        let section = self
            .section
            .ok_or(ConfigError::MissingSectionHeader { line })?;
        let (written, value) = content
            .split_once(SEPARATOR)
            .ok_or(ConfigError::NotAnEntry { line })?;
        let written = written.trim_end();
        if written.is_empty() {
            return Err(ConfigError::NotAnEntry { line });
        }
        let name = Name::parse(written);
        if let Some(first) = self.name_lines.insert((section, name.clone()), line) {
            let (section, name) = (section.to_owned(), written.to_owned());
            return Err(ConfigError::DuplicateName {
                line,
                first,
                section,
                name,
            });
        }
        self.open = Some(OpenEntry {
            start,
            end,
            written,
            name,
            lines: vec![value.trim_start()],
        });
        Ok(())
    }

    fn close_entry(&mut self) {
        if let Some(open) = self.open.take() {
            let joined = Zeroizing::new(open.lines.join("\n"));
            self.items.push(Item::Entry(Entry {
                raw: owned(self.text.get(open.start..open.end).unwrap_or_default()),
                written: open.written.to_owned(),
                name: open.name,
                text: owned(joined.trim_end()),
            }));
        }
        let trivia = self.pending.drain(..);
        self.items.extend(trivia.map(|raw| Item::Trivia {
            raw: owned(raw),
            blank: !is_comment(raw),
        }));
    }

    fn finish(mut self) -> Document {
        self.close_entry();
        Document { items: self.items }
    }
}

/// Returns the name in `[name]`, up to the last `]` of the line, or `None` if the line is not a header or the name is
/// empty.
fn header_name(content: &str) -> Option<&str> {
    let (name, _) = content.strip_prefix('[')?.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

fn owned(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// The maximum number of values in a chain of references, including the first value. Python's `configparser` has the
/// same limit. Test: `references_nest_nine_deep`.
const MAX_DEPTH: usize = 10;
/// The maximum number of references that are resolved for one value. References in referenced values count, too. Test:
/// `references_are_bounded`.
const MAX_REFERENCES: usize = 1_000;
/// The maximum length of a value with resolved references, in bytes. Test: `references_are_bounded`.
const MAX_RESOLVED_BYTES: usize = 1 << 20;

impl Document {
    /// Returns an entry's text with `%%` and `%(name)s` replaced. `section` is the scope of the names.
    pub(super) fn resolve(
        &self,
        section: &str,
        index: usize,
        entry: &Entry,
    ) -> Result<Zeroizing<String>, ConfigError> {
        if !entry.text.contains('%') {
            return Ok(entry.text.clone());
        }
        let mut resolver = Resolver {
            scope: self.scope(section),
            resolved: Zeroizing::default(),
            references: 0,
        };
        let outcome = resolver.append(&entry.text, 1);
        outcome.map(|()| resolver.resolved).map_err(|problem| {
            let (line, section, name) = (
                self.line_of(index),
                section.to_owned(),
                entry.written.clone(),
            );
            match problem {
                Problem::Syntax => ConfigError::PercentSyntax {
                    line,
                    section,
                    name,
                },
                Problem::Unknown(reference) => ConfigError::UnknownReference {
                    line,
                    section,
                    name,
                    reference,
                },
                Problem::Unbounded => ConfigError::UnboundedReference {
                    line,
                    section,
                    name,
                },
            }
        })
    }

    fn scope(&self, section: &str) -> HashMap<&Name, &str> {
        let inherited = self.entries(DEFAULT_SECTION).chain(self.entries(section));
        inherited
            .map(|(_, entry)| (&entry.name, entry.text.as_str()))
            .collect()
    }
}

struct Resolver<'a> {
    scope: HashMap<&'a Name, &'a str>,
    resolved: Zeroizing<String>,
    references: usize,
}

enum Problem {
    Syntax,
    Unknown(String),
    Unbounded,
}

impl Resolver<'_> {
    fn append(&mut self, text: &str, depth: usize) -> Result<(), Problem> {
        if depth > MAX_DEPTH {
            return Err(Problem::Unbounded);
        }
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('%') {
            self.push(literal)?;
            if let Some(after) = after.strip_prefix('%') {
                self.push("%")?;
                rest = after;
            } else {
                let inside = after.strip_prefix('(').ok_or(Problem::Syntax)?;
                let (reference, after) = inside.split_once(')').ok_or(Problem::Syntax)?;
                rest = after
                    .strip_prefix('s')
                    .filter(|_| !reference.is_empty())
                    .ok_or(Problem::Syntax)?;
                self.follow(reference, depth)?;
            }
        }
        self.push(rest)
    }

    fn follow(&mut self, reference: &str, depth: usize) -> Result<(), Problem> {
        self.references += 1;
        if self.references > MAX_REFERENCES {
            return Err(Problem::Unbounded);
        }
        let found = self.scope.get(&Name::parse(reference)).copied();
        let text = found.ok_or_else(|| Problem::Unknown(reference.to_owned()))?;
        self.append(text, depth + 1)
    }

    fn push(&mut self, literal: &str) -> Result<(), Problem> {
        if self.references > 0 && self.resolved.len() + literal.len() > MAX_RESOLVED_BYTES {
            return Err(Problem::Unbounded);
        }
        self.resolved.push_str(literal);
        Ok(())
    }
}
