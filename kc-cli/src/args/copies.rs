//! The argument for topics that are copies of other topics.

use clap::Args;
use kc::NodeBuilder;
use kc::core::types::RootTopics;

/// Topics that are copies of other topics.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CopiesArg {
    /// TOPIC is a copy of the topic ROOT, for example one that MirrorMaker 2 made: the records of TOPIC need the data
    /// keys of ROOT. TOPIC can be a regular expression that begins with ^ and matches a whole name; $1 in ROOT then
    /// stands for the text that the first group of the expression matches. The option can be repeated [default: the
    /// node's setting root_topics]
    #[arg(long, value_name = "TOPIC=ROOT", value_parser = copy, help_heading = "Topics")]
    root_topic: Vec<(String, String)>,
}

impl CopiesArg {
    /// Sets the copies in the settings of a node, where they replace the entry `root_topics`. If no copies are given,
    /// the entry stays in force.
    pub(crate) fn of(&self, node: NodeBuilder) -> NodeBuilder {
        let copies = self.root_topic.iter();
        copies.fold(node, |node, (copy, original)| {
            node.root_topic(copy, original)
        })
    }

    /// Returns the copies in the form of the entry `root_topics`, or `None` if no copies are given.
    pub(crate) fn entry(&self) -> Option<String> {
        let copies = self.root_topic.iter();
        let entries: Vec<_> = copies
            .map(|(copy, original)| format!("{copy}={original}"))
            .collect();
        (!entries.is_empty()).then(|| entries.join(" "))
    }
}

fn copy(text: &str) -> Result<(String, String), String> {
    let (copy, original) = text.rsplit_once('=').ok_or("expected TOPIC=ROOT")?;
    match text.parse::<RootTopics>() {
        Ok(_) => Ok((copy.to_owned(), original.to_owned())),
        Err(error) => Err(error.to_string()),
    }
}
