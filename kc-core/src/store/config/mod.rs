//! A node's configuration: KafkaCrypto's `.config` file (protocol §10, §11) as bytes ↔ types.
//!
//! | type | what it is |
//! |---|---|
//! | [`Document`] | the file itself: every comment, blank line and unknown entry survives an edit |
//! | [`Name`], [`Value`] | what stands left and right of the `:` |
//! | [`NodeConfig`] | the sections of one node, on top of a document |
//! | [`KafkaSettings`] | the Kafka sections merged for one kind of client |
//! | [`ConfigStore`] | the plug-in that keeps a node's configuration between runs |
//!
//! Nothing here touches a file: a store reads the text, gives it to [`NodeConfig::parse`], and writes what
//! [`NodeConfig::render`] returns.
//!
//! ```
//! use kc_core::store::config::{ConfigError, NodeConfig, Section, Value};
//!
//! # fn main() -> Result<(), ConfigError> {
//! let file = "; ours since 2021\n[DEFAULT]\nnode_id : n1\n\n[n1-crypto]\nmaxage : 86400\n";
//! let mut config = NodeConfig::parse(file)?;
//! assert_eq!(config.load_value(Section::CRYPTO, "maxage")?, Some(Value::Int(86400)));
//!
//! config.set(Section::CRYPTO, "maxage", &Value::Int(3600))?;
//! assert_eq!(
//!     config.render().as_str(),
//!     "; ours since 2021\n[DEFAULT]\nnode_id : n1\n\n[n1-crypto]\nmaxage : 3600\n\n"
//! );
//! # Ok(())
//! # }
//! ```

mod document;
mod kafka;
mod migration;
mod node;
mod value;

use std::error::Error;
use std::fmt::Debug;

use thiserror::Error;

pub use document::Document;
pub use kafka::{KafkaSettings, KafkaUse, kafka_sections};
pub use migration::{Migrated, NodeRole};
pub use node::{Inherit, NodeConfig, Section, Setting};
pub use value::{Name, Value};

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

/// Keeps a node's configuration between runs. It is free of secrets but for Kafka passwords.
pub trait ConfigStore: Debug + Send + Sync {
    /// The configuration as it is stored now.
    ///
    /// # Errors
    /// What is stored cannot be read or understood.
    fn load(&self) -> Result<NodeConfig, ConfigStoreError>;

    /// Reads the configuration afresh, lets `edit` change it and stores it durably before it returns, all under
    /// one lock; whoever reads meanwhile sees all of the change or nothing of it. Nothing is stored if `edit`
    /// fails or changes nothing. Returns what is stored now.
    ///
    /// # Errors
    /// As `load`, what `edit` returns, and failures to store.
    fn update(
        &self,
        edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
    ) -> Result<NodeConfig, ConfigStoreError>;
}

/// Why a configuration could not be loaded or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigStoreError {
    /// The configuration itself is not as it must be: its author's concern.
    #[error("{origin}: {problem}")]
    Config {
        /// The place, for people: a path.
        origin: String,
        /// What is wrong with it.
        problem: ConfigError,
    },
    /// The plug-in that stores it failed.
    #[error("the configuration's store failed")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}

#[cfg(test)]
mod tests;
