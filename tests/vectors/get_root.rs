use kc_core::types::TopicScheme;
use serde_json::Value;

use crate::load::Case;
use crate::operation::{Context, Invalid, Outcome, Run, refuse};
use crate::values::{Hex, Typed};

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "get_root" => case.run(GetRoot::run),
        "get_root_bytes" => case.run(GetRootBytes::run),
        op => Err(Invalid::unknown_op(op)),
    }
}

input! {
    struct GetRoot { separator_config: Option<String>, topics: Vec<String> }
}

output! {
    struct Roots { effective_separator: Typed, roots: Vec<Root> }
    struct Root { topic: String, root: Option<String>, error: Option<Value> }
}

impl GetRoot {
    fn run(&self, _: &Context) -> Outcome<Roots> {
        let mut scheme = TopicScheme::default();
        if let Some(separator) = &self.separator_config {
            scheme.separator.clone_from(separator);
        }
        let root = |topic: &String| Root {
            topic: topic.clone(),
            root: Some(scheme.root_of(topic).as_str().to_owned()),
            error: None,
        };
        Ok(Roots {
            effective_separator: Typed::text(&scheme.separator),
            roots: self.topics.iter().map(root).collect(),
        })
    }
}

input! {
    struct GetRootBytes { topic_hex: Hex }
}

output! {
    struct RootBytes { root_hex: Hex }
}

impl GetRootBytes {
    fn run(&self, _: &Context) -> Outcome<RootBytes> {
        let topic = str::from_utf8(&self.topic_hex).map_err(refuse)?;
        Ok(RootBytes {
            root_hex: TopicScheme::default().root_of(topic).as_str().into(),
        })
    }
}
