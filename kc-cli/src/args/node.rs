use clap::Args;

/// Which node.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeArg {
    /// The node: its id (found as ./ID.config, ./ID/ID.config, or in $KC_HOME), the path of its
    /// .config file, or a folder that holds one
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    pub(crate) node: String,
}
