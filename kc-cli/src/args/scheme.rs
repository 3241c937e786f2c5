use clap::Args;
use kc::core::types::TopicScheme;

use crate::error::CliError;

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
