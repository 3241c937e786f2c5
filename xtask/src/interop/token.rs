use std::fs;
use std::path::Path;

use crate::hsm::softhsm;

/// A token of SoftHSM, and the URI by which kc finds it.
pub(super) struct Token {
    pub(super) uri: String,
    /// The variables that configure SoftHSM and hold the PINs.
    pub(super) environment: [(&'static str, String); 3],
}

impl Token {
    /// Returns a token in an absolute folder, which `kc hsm init` must initialise.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let module = softhsm::install()?;
        let tokens = folder.join("tokens");
        fs::create_dir(&tokens)?;
        let configuration = folder.join("softhsm.conf");
        let settings = format!("directories.tokendir = {}\n", tokens.display());
        fs::write(&configuration, settings)?;
        Ok(Self {
            uri: format!("pkcs11:token=kc?module-path={}", module.display()),
            environment: [
                ("SOFTHSM2_CONF", configuration.display().to_string()),
                ("KC_HSM_SO_PIN", "87654321".to_owned()),
                ("KC_HSM_PIN", "123456".to_owned()),
            ],
        })
    }
}
