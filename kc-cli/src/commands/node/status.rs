use kc::keystore_file::{SearchPlaces, find_node, read_config};

use super::StatusArgs;
use crate::error::CliError;
use crate::status::{self, ask, read_files};
use crate::ui::Ui;

/// Asks the process that has the node open, or reads the files.
pub(super) async fn run(args: &StatusArgs, ui: Ui) -> Result<(), CliError> {
    let files = find_node(&args.node.node, &SearchPlaces::from_environment())?;
    let report = match ask(&files).await? {
        Some(report) => report,
        None => read_files(&files, &read_config(&files.config())?)?,
    };
    if args.json {
        let json = serde_json::to_string(&report).map_err(CliError::from_error)?;
        return ui.result(json);
    }
    ui.result(status::lines(&report).join("\n"))
}
