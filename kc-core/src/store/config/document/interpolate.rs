use std::collections::HashMap;

use zeroize::Zeroizing;

use super::{ConfigError, DEFAULT_SECTION, Document, Entry, Name};

/// How deep values may nest, the first one included; as Python has it.
const MAX_DEPTH: usize = 10;
/// How many references one value may follow, and how many bytes it may grow to by them.
const MAX_REFERENCES: usize = 1_000;
const MAX_RESOLVED_BYTES: usize = 1 << 20;

impl Document {
    /// An entry's text with `%%` and `%(name)s` replaced; `section` is the scope in which names are looked up.
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
