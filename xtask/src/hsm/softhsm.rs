use std::path::PathBuf;

use crate::shell;

/// Installs SoftHSM. Returns the path of its module.
pub(crate) fn install() -> anyhow::Result<PathBuf> {
    shell::install(&["softhsm2"])?;
    Ok("/usr/lib/softhsm/libsofthsm2.so".into())
}
