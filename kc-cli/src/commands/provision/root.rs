use std::fs;
use std::path::Path;

use kc::core::keys::VerifyingKey;
use kc::keystore_file::{NodeFiles, read_config};

use crate::error::{CliError, Exit};
use crate::status::read_files;
use crate::ui::Ui;

/// Of a wrong root password the only sign is another root of trust. To replace a node by one that its
/// peers would not know is refused; that its neighbours have another root may be meant.
pub(super) fn check_root(
    dir: &Path,
    files: &NodeFiles,
    root: &VerifyingKey,
    ui: Ui,
) -> Result<(), CliError> {
    let root = root.fingerprint();
    if let Some(before) = roots(files).filter(|roots| !roots.contains(&root)) {
        return Err(CliError::new(
            Exit::Refused,
            format!(
                "wrong root password? This is root of trust {root}, but {} trusts {}",
                files.config().display(),
                before.join(", ")
            ),
        )
        .advise("type the password again; to change the node's root, remove its files first"));
    }
    let configs = fs::read_dir(dir).into_iter().flatten().flatten();
    let neighbours = configs.filter_map(|entry| NodeFiles::beside(&entry.path()).ok());
    let roots: Vec<_> = neighbours
        .filter_map(|files| roots(&files))
        .flatten()
        .collect();
    if !roots.is_empty() && !roots.contains(&root) {
        ui.note(format!(
            "note: no other node in {} has root of trust {root}; if they are to exchange keys, the root \
             password was another",
            dir.display()
        ));
    }
    Ok(())
}

/// The roots that a node trusts; `None` if there is no such node, or it cannot be read.
fn roots(files: &NodeFiles) -> Option<Vec<String>> {
    let config = read_config(&files.config()).ok()?;
    Some(read_files(files, &config).ok()?.roots)
}
