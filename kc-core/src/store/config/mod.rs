//! A node's configuration: the codec of KafkaCrypto's `.config` file (protocol §10, §11).
//!
//! | type | content |
//! |---|---|
//! | [`Document`] | the file: comments, blank lines and unknown entries survive an edit |
//! | [`Name`], [`Value`] | the text before and after the `:` of an entry |
//! | [`NodeConfig`] | the sections of one node, on top of a document |
//! | [`KafkaSettings`] | the Kafka sections merged for one kind of client |
//! | [`ConfigStore`] | the plug-in that stores a node's configuration |
//!
//! This module does not access files. A store reads the text, passes it to [`NodeConfig::parse`], and writes the
//! result of [`NodeConfig::render`].
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
mod state;
mod value;

use std::error::Error;
use std::fmt::Debug;

use thiserror::Error;

pub use document::Document;
pub use kafka::{KafkaSettings, KafkaUse, kafka_sections};
pub use migration::{Migrated, NodeRole};
pub use node::{Inherit, NodeConfig, Section, Setting};
pub use state::{RATCHET_USED, RETAINED_KEYS};
pub use value::{Name, Value};

/// A reason why a configuration was refused. Line numbers count from 1.
///
/// No variant contains a value of the file, which may be a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An entry precedes the first `[section]`.
    #[error("line {line}: the entry precedes the first [section]")]
    MissingSectionHeader {
        /// The line of the entry.
        line: usize,
    },
    /// A line is not a section, a comment or a `name : value`. An `=` does not separate a name from its value.
    #[error("line {line}: expected `[section]`, `name : value` or `; comment`")]
    NotAnEntry {
        /// The number of the line.
        line: usize,
    },
    /// A carriage return is not followed by a line feed.
    #[error("line {line}: the line contains a carriage return that is not followed by a line feed")]
    StrayCarriageReturn {
        /// The number of the line.
        line: usize,
    },
    /// A section occurs twice. Only `[DEFAULT]` may occur several times.
    #[error("line {line}: section [{section}] already began on line {first}")]
    DuplicateSection {
        /// The line of the second occurrence.
        line: usize,
        /// The line of the first occurrence.
        first: usize,
        /// The section's name.
        section: String,
    },
    /// A name occurs twice in a section. Case does not matter in names, except in names that begin with `base64#`.
    #[error(
        "line {line}: `{name}` in [{section}] was already set on line {first} (case does not matter)"
    )]
    DuplicateName {
        /// The line of the second occurrence.
        line: usize,
        /// The line of the first occurrence.
        first: usize,
        /// The section's name.
        section: String,
        /// The name as written.
        name: String,
    },
    /// A `%` is neither `%%` nor part of `%(name)s`.
    #[error(
        "line {line}: `{name}` in [{section}] has a `%` that is neither `%%` nor part of `%(name)s`; \
         write `%%` for a percent sign"
    )]
    PercentSyntax {
        /// The first line of the entry.
        line: usize,
        /// The section's name.
        section: String,
        /// The entry's name.
        name: String,
    },
    /// `%(name)s` refers to a name that is neither in the section nor in `[DEFAULT]`.
    #[error("line {line}: `{name}` in [{section}] refers to `{reference}`, which is not set")]
    UnknownReference {
        /// The first line of the entry.
        line: usize,
        /// The section's name.
        section: String,
        /// The entry's name.
        name: String,
        /// The name that the entry refers to.
        reference: String,
    },
    /// The references of an entry are nested more than nine levels deep, are more than 1,000, or make the entry's value
    /// longer than 1 MiB. In an entry that refers to itself, references are nested without end.
    #[error(
        "line {line}: `{name}` in [{section}] refers to itself, or its references are \
         too deeply nested, too many or too long"
    )]
    UnboundedReference {
        /// The first line of the entry.
        line: usize,
        /// The section's name.
        section: String,
        /// The entry's name.
        name: String,
    },
    /// The syntax of the file cannot express this section name. The node id `DEFAULT` is refused with this error, too,
    /// because it would be the name of the section that all others inherit from.
    #[error("`{section}` cannot be the name of a section")]
    UnwritableSection {
        /// The section's name.
        section: String,
    },
    /// The syntax of the file cannot express this name or value, so that it would change when the file is read again.
    /// Examples are spaces at the start or the end, a line that would be a comment, and a carriage return.
    #[error(
        "the syntax of the file cannot express the name or the value of `{name}` in [{section}]"
    )]
    UnwritableEntry {
        /// The section's name.
        section: String,
        /// The entry's name.
        name: String,
    },
    /// `[DEFAULT]` has no `node_id`, and the caller did not pass a node id.
    #[error("[DEFAULT] has no `node_id`")]
    NodeIdMissing,
    /// The file belongs to another node.
    #[error("the file belongs to node `{found}`, not to `{wanted}`")]
    NodeIdMismatch {
        /// The file's `node_id`.
        found: String,
        /// The requested node's id.
        wanted: String,
    },
}

/// Stores a node's configuration. The configuration contains no secrets except passwords for Kafka.
pub trait ConfigStore: Debug + Send + Sync {
    /// Loads the configuration.
    ///
    /// # Errors
    /// Returns a [`ConfigStoreError`] if the stored configuration cannot be read or parsed.
    fn load(&self) -> Result<NodeConfig, ConfigStoreError>;

    /// Loads the configuration, lets `edit` change it, and stores the result durably. Returns the result.
    ///
    /// All of this happens under one lock. A concurrent reader sees the configuration either before or after the whole
    /// change. If `edit` fails or changes nothing, nothing is stored.
    ///
    /// # Errors
    /// Returns a [`ConfigStoreError`] if the configuration cannot be loaded or stored, or `edit` fails.
    fn update(
        &self,
        edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
    ) -> Result<NodeConfig, ConfigStoreError>;
}

/// A reason why a configuration could not be loaded or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigStoreError {
    /// The configuration is invalid, and its author must correct it; or an edit cannot be written to it.
    #[error("{origin}: {problem}")]
    Config {
        /// The origin of the configuration, such as a path.
        origin: String,
        /// The problem.
        problem: ConfigError,
    },
    /// The plug-in that stores the configuration failed.
    #[error("loading or storing the configuration failed")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}

#[cfg(test)]
mod tests;
