//! The argument for topics that are copies of other topics.

use clap::Args;
use kc::NodeBuilder;
use kc::core::types::RootTopics;

/// The entry of the node's own section that declares copies.
pub(crate) const ROOT_TOPICS: &str = "root_topics";

/// Topics that are copies of other topics.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CopiesArg {
    /// TOPIC is a copy of the topic ROOT, for example one that MirrorMaker 2 made: the records of TOPIC need the data
    /// keys of ROOT. TOPIC can be a regular expression that begins with ^ and matches a whole name; $1 in ROOT then
    /// stands for the text that the first group of the expression matches. The option can be repeated [default: the
    /// node's setting root_topics]
    #[arg(long, value_name = "TOPIC=ROOT", value_parser = copy, help_heading = "Topics")]
    root_topic: Vec<String>,
}

impl CopiesArg {
    /// Sets the copies in the settings of a node, where they replace the entry `root_topics`. If no copies are given,
    /// the entry stays in force.
    pub(crate) fn of(&self, node: NodeBuilder) -> NodeBuilder {
        match self.entry() {
            Some(entry) => node.setting(ROOT_TOPICS, &entry),
            None => node,
        }
    }

    /// Returns the copies in the form of the entry [`ROOT_TOPICS`], or `None` if no copies are given.
    pub(crate) fn entry(&self) -> Option<String> {
        (!self.root_topic.is_empty()).then(|| self.root_topic.join(" "))
    }
}

fn copy(text: &str) -> Result<String, String> {
    if !text.contains('=') {
        return Err("expected TOPIC=ROOT".to_owned());
    }
    match text.parse::<RootTopics>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
