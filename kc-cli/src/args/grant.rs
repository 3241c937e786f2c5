//! What a certificate grants, and how topics are named.

use clap::{ArgAction, Args};
use kc::core::chain::{Constraints, multimatch};
use kc::core::provision::Role;
use kc::core::types::{TopicScheme, is_topic_name};

use crate::error::CliError;
use crate::ui::Ui;

/// Begins a regular expression among topics.
const PATTERN_START: char = '^';

/// What a certificate is to grant besides the role's usages.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Certificate")]
pub(crate) struct GrantArgs {
    /// The topics it may use: names, and regular expressions that begin with ^ and match root topics
    /// [default: all; those of the old chain, if there is one]
    #[arg(long, value_name = "TOPIC,...", value_delimiter = ',', value_parser = topic, action = ArgAction::Append)]
    pub(crate) topics: Vec<String>,

    /// How many certificates may follow the node's own; requests and replies need one, a chain server
    /// needs two [default: what it needs; that of the old chain, if there is one]
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

    /// Says what certificates make of the topics, where that is not what stands there.
    pub(crate) fn note_on_topics(&self, scheme: &TopicScheme, ui: Ui) {
        let names = self.topics.iter().filter(|topic| !is_pattern(topic));
        for topic in names {
            let root = scheme.root_str(topic);
            if root != topic {
                ui.note(format!(
                    "note: {topic} is granted as root topic {root}, with all its other topics: they share keys"
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

/// A topic that a certificate or an entry of a list is to grant: a name, or a regular expression.
pub(crate) fn topic(text: &str) -> Result<String, String> {
    if is_pattern(text) {
        multimatch("", &[text.to_owned()]).map_err(|error| error.to_string())?;
        return Ok(text.to_owned());
    }
    if is_topic_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "it is not the name of a topic; a regular expression begins with {PATTERN_START}"
    ))
}

/// How topics are named, where it is not the default: the same for all nodes of a topic.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Names of topics")]
pub(crate) struct SchemeArgs {
    /// Ends the root in a topic's name; topics of one root share keys [default: .]
    #[arg(long, value_name = "S")]
    separator: Option<String>,

    /// Ends the name of the topic of requests to producers [default: .reqs]
    #[arg(long, value_name = "S")]
    suffix_reqs: Option<String>,

    /// Ends the name of the topic of replies [default: .keys]
    #[arg(long, value_name = "S")]
    suffix_keys: Option<String>,

    /// Ends the name of the topic of requests to controllers [default: .subs]
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
        };
        let (reqs, keys, subs) = (
            &scheme.requests_suffix,
            &scheme.keys_suffix,
            &scheme.subscriptions_suffix,
        );
        if reqs == keys || keys == subs || subs == reqs {
            return Err(CliError::usage("two of the three suffixes are the same")
                .advise("requests, replies and requests to controllers need topics of their own"));
        }
        if [reqs, keys, subs].iter().any(|suffix| suffix.is_empty()) {
            return Err(CliError::usage("a suffix is empty")
                .advise("without a suffix keys would go to the data's own topic"));
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
