//! The grants of a certificate, and the names of side topics.

use clap::{ArgAction, Args};
use kc::core::chain::{Constraints, multimatch};
use kc::core::provision::Role;
use kc::core::types::{TopicScheme, is_topic_name};

use crate::error::CliError;
use crate::ui::Ui;

/// The first character of a regular expression in a list of topics.
const PATTERN_START: char = '^';

/// The grants of a certificate besides the usages of its role.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Certificate")]
pub(crate) struct GrantArgs {
    /// The topics that the certificate grants: names, and regular expressions that begin with ^ and match root topics
    /// [default: the topics of the key's present chain, or else of another chain of the node; if the node has no chain,
    /// all topics, but `kc chain enroll` then needs --topics]
    #[arg(long, value_name = "TOPIC,...", value_delimiter = ',', value_parser = topic, action = ArgAction::Append)]
    pub(crate) topics: Vec<String>,

    /// The largest number of certificates that may follow this one in a chain: requests and replies need 1, a chain
    /// server needs 2 [default: the number in the key's present chain, or else in another chain of the node; if the
    /// node has no chain, or --role changes the role, the number that the role needs]
    #[arg(long, value_name = "N")]
    pub(crate) pathlen: Option<u32>,
}

impl GrantArgs {
    pub(crate) fn path_length(&self, role: Role) -> u32 {
        self.pathlen.unwrap_or(role.default_path_length())
    }

    pub(crate) fn constraints(
        &self,
        role: Role,
        scheme: &TopicScheme,
    ) -> Result<Constraints, CliError> {
        let path_length = Some(self.path_length(role));
        Ok(role.constraints(&self.topics, scheme, path_length)?)
    }

    /// Prints a note if the certificate grants more than the given topics, or if the Python peer refuses the topics.
    pub(crate) fn note_on_topics(&self, scheme: &TopicScheme, ui: Ui) {
        let names = self.topics.iter().filter(|topic| !is_pattern(topic));
        for topic in names {
            let root = scheme.root_str(topic);
            if root != *topic {
                ui.note(format!(
                    "note: {topic} is granted as root topic {root}, with all other topics of this root topic, because \
                     they share data keys"
                ));
            }
        }
        if self.topics.iter().any(|topic| is_pattern(topic)) {
            ui.note(
                "note: nodes of the Python peer refuse chains whose topics are regular expressions",
            );
        }
    }
}

fn is_pattern(topic: &str) -> bool {
    topic.starts_with(PATTERN_START)
}

/// Parses a topic that a certificate or a list entry grants: a name, or a regular expression.
pub(crate) fn topic(text: &str) -> Result<String, String> {
    if is_pattern(text) {
        multimatch("", &[text.to_owned()]).map_err(|error| error.to_string())?;
        return Ok(text.to_owned());
    }
    if is_topic_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "a topic name has 1 to 249 ASCII letters, digits, dots, underscores and hyphens; a regular expression begins \
         with {PATTERN_START}"
    ))
}

/// The names of side topics, if they differ from the default. All nodes that use a topic need the same names.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Names of topics")]
pub(crate) struct SchemeArgs {
    /// The separator after the root topic in the name of a topic; topics with the same root topic share data
    /// keys [default: .]
    #[arg(long, value_name = "S")]
    separator: Option<String>,

    /// The suffix of the side topic for requests to producers [default: .reqs]
    #[arg(long, value_name = "S")]
    suffix_reqs: Option<String>,

    /// The suffix of the side topic for replies [default: .keys]
    #[arg(long, value_name = "S")]
    suffix_keys: Option<String>,

    /// The suffix of the side topic for requests to controllers [default: .subs]
    #[arg(long, value_name = "S")]
    suffix_subs: Option<String>,
}

impl SchemeArgs {
    pub(crate) fn scheme(&self) -> Result<TopicScheme, CliError> {
        let default = TopicScheme::default();
        let or = |given: &Option<String>, default| given.clone().unwrap_or(default);
        let scheme = TopicScheme {
            separator: or(&self.separator, default.separator),
            requests_suffix: or(&self.suffix_reqs, default.requests_suffix),
            keys_suffix: or(&self.suffix_keys, default.keys_suffix),
            subscriptions_suffix: or(&self.suffix_subs, default.subscriptions_suffix),
            copies: default.copies,
        };
        let (reqs, keys, subs) = (
            &scheme.requests_suffix,
            &scheme.keys_suffix,
            &scheme.subscriptions_suffix,
        );
        if reqs == keys || keys == subs || subs == reqs {
            return Err(
                CliError::usage("two of the three suffixes of side topics are the same")
                    .advise("give three different suffixes"),
            );
        }
        if [reqs, keys, subs].iter().any(|suffix| suffix.is_empty()) {
            return Err(CliError::usage(
                "a suffix of side topics is empty, so a side topic would have the name of a data topic",
            )
            .advise("give a suffix such as .keys"));
        }
        Ok(scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_names_or_regular_expressions() {
        for text in ["al", "t.a", "^al.*$", "^.*$"] {
            assert_eq!(topic(text).as_deref(), Ok(text));
        }
        for text in ["al.*", "", "a b", "^(", "t\n"] {
            assert!(topic(text).is_err(), "{text:?}");
        }
    }
}
