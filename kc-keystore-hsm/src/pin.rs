use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kc_core::secret::SecretText;

use crate::{HsmError, Pkcs11Uri};

/// The environment variable that [`PinSource::of`] reads.
pub const PIN_VARIABLE: &str = "KC_HSM_PIN";

/// The maximum length of a PIN in a file, in bytes. Test: `a_longer_line_is_no_pin`.
const MAX_PIN_BYTES: usize = 1024;

/// The source of a token's PIN. It is read at each login, so that a changed PIN is used when a node reconnects.
#[derive(Debug)]
#[non_exhaustive]
pub enum PinSource {
    /// A file; the PIN is its first line.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// The PIN itself, as typed at a prompt.
    Text(SecretText),
}

impl PinSource {
    /// Returns the file that the URI names in `pin-source`. If the URI has no `pin-source`, returns the environment
    /// variable [`PIN_VARIABLE`]. Returns `None` if this variable is not set either, so that a prompt is needed.
    #[must_use]
    pub fn of(uri: &Pkcs11Uri) -> Option<Self> {
        if let Some(path) = &uri.pin_source {
            return Some(Self::File(path.clone()));
        }
        env::var_os(PIN_VARIABLE).map(|_| Self::Environment(PIN_VARIABLE.to_owned()))
    }

    pub(crate) fn read(&self) -> Result<SecretText, HsmError> {
        let missing = |origin, source| HsmError::PinMissing { origin, source };
        let pin = match self {
            Self::File(path) => {
                let failed = |error| missing(path.display().to_string(), Some(error));
                let file = File::open(path).map_err(failed)?;
                warn_of_access(path, &file);
                first_line(file).map_err(failed)?
            }
            Self::Environment(name) => {
                let absent = |_| missing(format!("the variable {name}"), None);
                SecretText::from(env::var(name).map_err(absent)?)
            }
            Self::Text(pin) => SecretText::from(pin.expose().to_owned()),
        };
        if pin.expose().is_empty() {
            let origin = match self {
                Self::File(path) => format!("{}: its first line is empty", path.display()),
                Self::Environment(name) => format!("the variable {name}: it is empty"),
                Self::Text(_) => "the prompt: the typed PIN is empty".to_owned(),
            };
            return Err(missing(origin, None));
        }
        Ok(pin)
    }
}

fn first_line(file: File) -> io::Result<SecretText> {
    // Allocate the buffer once: a buffer that grows leaves copies of the PIN in memory.
    let mut text = String::with_capacity(MAX_PIN_BYTES + 2);
    let read = file
        .take(MAX_PIN_BYTES as u64 + 1)
        .read_to_string(&mut text);
    let text = SecretText::from(text);
    read?;
    let line = text.expose().lines().next().unwrap_or_default();
    if line.len() > MAX_PIN_BYTES {
        let error = format!("the first line is longer than {MAX_PIN_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok(SecretText::from(line.to_owned()))
}

#[cfg(unix)]
fn warn_of_access(path: &Path, file: &File) {
    use std::os::unix::fs::PermissionsExt;

    let mode = file
        .metadata()
        .map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "other users can access the file that holds the PIN; set its mode to 0600");
    }
}

#[cfg(not(unix))]
fn warn_of_access(_: &Path, _: &File) {}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_longer_line_is_no_pin() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        let read = |len: usize| {
            fs::write(&path, "1".repeat(len)).unwrap();
            PinSource::File(path.clone()).read()
        };
        assert_eq!(read(MAX_PIN_BYTES).unwrap().expose().len(), MAX_PIN_BYTES);
        assert!(matches!(
            read(MAX_PIN_BYTES + 1),
            Err(HsmError::PinMissing { .. })
        ));
    }

    #[test]
    fn the_first_line_of_a_file_is_the_pin() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        for text in ["1234", "1234\n", "1234\r\n", "1234\nnot this\n"] {
            fs::write(&path, text).unwrap();
            let pin = PinSource::File(path.clone()).read().unwrap();
            assert_eq!(pin.expose(), "1234", "{text:?}");
        }
    }

    #[test]
    fn no_pin_is_an_error_that_says_where_it_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        let error = PinSource::File(path.clone()).read().unwrap_err();
        assert!(error.to_string().ends_with("/pin"), "{error}");
        fs::write(&path, "\n").unwrap();
        assert!(PinSource::File(path).read().is_err());
        let unset = PinSource::Environment("KC_HSM_PIN_UNSET".to_owned());
        let error = unset.read().unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot get a PIN from the variable KC_HSM_PIN_UNSET"
        );
    }

    #[test]
    fn debug_output_shows_no_pin() {
        let pin = PinSource::Text(SecretText::from("1234".to_owned()));
        assert_eq!(format!("{pin:?}"), "Text(SecretText(redacted))");
    }
}
