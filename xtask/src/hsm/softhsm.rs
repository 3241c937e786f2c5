use std::path::PathBuf;

use crate::shell;

/// The module of SoftHSM, installed.
pub(crate) fn install() -> anyhow::Result<PathBuf> {
    shell::install(&["softhsm2"])?;
    Ok("/usr/lib/softhsm/libsofthsm2.so".into())
}
