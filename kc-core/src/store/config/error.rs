use thiserror::Error;

/// Why a configuration was refused. Line numbers count from 1. No variant carries a value of the file, which
/// may be a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An entry stands before the first `[section]`.
    #[error("line {line}: an entry before the first [section]")]
    MissingSectionHeader {
        /// Where.
        line: usize,
    },
    /// A line that is no section, no comment and no `name : value`; `=` does not separate.
    #[error("line {line}: expected `[section]`, `name : value` or `; comment`")]
    NotAnEntry {
        /// Where.
        line: usize,
    },
    /// A carriage return that does not end a line.
    #[error("line {line}: a carriage return inside the line")]
    StrayCarriageReturn {
        /// Where.
        line: usize,
    },
    /// A section appears twice. (`[DEFAULT]` may.)
    #[error("line {line}: section [{section}] already began on line {first}")]
    DuplicateSection {
        /// Where.
        line: usize,
        /// Where it appeared first.
        first: usize,
        /// The section's name.
        section: String,
    },
    /// A name appears twice in a section; names ignore case.
    #[error(
        "line {line}: `{name}` in [{section}] was already set on line {first} (names ignore case)"
    )]
    DuplicateName {
        /// Where.
        line: usize,
        /// Where it appeared first.
        first: usize,
        /// The section's name.
        section: String,
        /// The name as written.
        name: String,
    },
    /// A `%` that is neither `%%` nor `%(name)s`.
    #[error("line {line}: `{name}` in [{section}] has a lone `%`; write `%%` for a percent sign")]
    PercentSyntax {
        /// Where the entry begins.
        line: usize,
        /// The section's name.
        section: String,
        /// The entry's name.
        name: String,
    },
    /// `%(name)s` of a name that neither the section nor `[DEFAULT]` has.
    #[error("line {line}: `{name}` in [{section}] refers to `{reference}`, which is not set")]
    UnknownReference {
        /// Where the entry begins.
        line: usize,
        /// The section's name.
        section: String,
        /// The entry's name.
        name: String,
        /// The name that was referred to.
        reference: String,
    },
    /// `%(name)s` nested too deep (ten values at most), or growing beyond a megabyte.
    #[error("line {line}: `{name}` in [{section}] refers to itself or grows without bound")]
    UnboundedReference {
        /// Where the entry begins.
        line: usize,
        /// The section's name.
        section: String,
        /// The entry's name.
        name: String,
    },
    /// The file's syntax has no way to write this section name.
    #[error("`{section}` cannot be the name of a section")]
    UnwritableSection {
        /// The section's name.
        section: String,
    },
    /// The file's syntax has no way to write this name or this value (outer spaces, a line that would read as
    /// a comment, a carriage return), so that it would read back as another.
    #[error("the name or value of `{name}` in [{section}] would not read back as it is")]
    UnwritableEntry {
        /// The section's name.
        section: String,
        /// The entry's name.
        name: String,
    },
    /// No `node_id` in `[DEFAULT]` and none given.
    #[error("no node_id in [DEFAULT]")]
    NodeIdMissing,
    /// The file belongs to another node.
    #[error("the file belongs to node `{found}`, not to `{wanted}`")]
    NodeIdMismatch {
        /// The file's `node_id`.
        found: String,
        /// The one asked for.
        wanted: String,
    },
}
