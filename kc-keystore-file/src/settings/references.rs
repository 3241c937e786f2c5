//! Settings that refer to files.

use std::path::{Path, PathBuf};

use kc_core::store::config::KafkaSettings;
use zeroize::Zeroizing;

use super::SettingsError;
use crate::FileError;
use crate::read::read_bounded;

const PREFIX: &str = "file#";

/// The content of the file is the value.
const SECRETS: [&str; 2] = ["sasl_plain_password", "ssl_password"];

/// The path of the file is the value.
const PATHS: [&str; 3] = ["ssl_cafile", "ssl_certfile", "ssl_keyfile"];

/// No password is longer, in bytes.
const LONGEST_SECRET: u64 = 64 << 10;

/// Puts in what is referred to. `folder` tells what the path in a setting is relative to, if not to the current
/// folder.
pub(super) fn resolve<'f>(
    settings: &mut KafkaSettings,
    folder: impl Fn(&str) -> Option<&'f Path>,
) -> Result<(), SettingsError> {
    let referred = |settings: &KafkaSettings, name| -> Option<PathBuf> {
        let path = settings.text(name)?.strip_prefix(PREFIX)?;
        Some(folder(name).unwrap_or(Path::new("")).join(path))
    };
    for name in SECRETS {
        if let Some(path) = referred(settings, name) {
            let secret = secret(&path);
            let secret = secret.map_err(|source| SettingsError::Reference { name, source })?;
            settings.apply(name, &secret);
        }
    }
    for name in PATHS {
        if let Some(path) = referred(settings, name) {
            settings.apply(name, &path.to_string_lossy());
        }
    }
    Ok(())
}

fn secret(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let bytes = read_bounded(path, LONGEST_SECRET)?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
            Err(FileError::new("read as text", path, source))
        }
    }
}
