//! Keys in files, and keys for one purpose each that are derived from them.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use hkdf::Hkdf;
use kc::core::secret::Secret;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::SetupError;

/// The size of a key, in bytes.
pub const KEY_BYTES: usize = 32;

/// Reads a key file: exactly 32 random bytes, which only the owner may read.
///
/// # Errors
/// Returns [`SetupError`] if the file cannot be read, other users may read it (on Unix), or it has another size.
pub fn read_key(path: &Path) -> Result<Secret<KEY_BYTES>, SetupError> {
    let failed = |source| SetupError::File {
        file: path.to_owned(),
        source,
    };
    let unusable = |text, advice| SetupError::Key {
        file: path.to_owned(),
        text,
        advice,
    };
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => unusable(
            "the file does not exist",
            "make a key with `kc fields key FILE`, or copy the key of the other program; a relative path starts at the \
             folder of the rules",
        ),
        _ => failed(error),
    })?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(unusable(
            "it is not a regular file",
            "name a file with 32 bytes",
        ));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if metadata.mode() & 0o077 != 0 {
            return Err(unusable(
                "other users may read or change it",
                "allow only its owner: chmod 600 FILE; if others could have read it, make a new key",
            ));
        }
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
    let limit = u64::try_from(KEY_BYTES + 1).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Secret::from_slice(&bytes).ok_or_else(|| {
        unusable(
            "a key has exactly 32 bytes",
            "make a key with `kc fields key FILE`; a key in hex or base64 must be decoded first",
        )
    })
}

/// Writes a new random key to a file that does not exist yet, and that only its owner may read (mode 0600).
///
/// # Errors
/// Returns [`SetupError`] if the file exists or cannot be written, or if the system gives no random numbers.
pub fn create_key(path: &Path) -> Result<(), SetupError> {
    let failed = |source| SetupError::File {
        file: path.to_owned(),
        source,
    };
    let key = random_key().map_err(failed)?;
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => SetupError::Key {
            file: path.to_owned(),
            text: "the file exists already, and what it encrypted would be lost with it",
            advice: "choose another file name; the rules can name several keys",
        },
        _ => failed(error),
    })?;
    file.write_all(key.expose())
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

/// Returns a new random key.
pub(crate) fn random_key() -> std::io::Result<Secret<KEY_BYTES>> {
    let mut drawn = Ok(());
    let key = Secret::fill_with(|bytes| drawn = getrandom::fill(bytes));
    drawn.map_err(std::io::Error::other)?;
    Ok(key)
}

/// Derives a key for one purpose (HKDF-SHA-256), so that one key file can serve several engines.
pub(crate) fn derive<const N: usize>(key: &Secret<KEY_BYTES>, purpose: &str) -> Secret<N> {
    const {
        // The limit of HKDF-SHA-256.
        assert!(N <= 255 * 32);
    }
    let hkdf = Hkdf::<Sha256>::new(Some(b"kc-fields 1"), key.expose());
    Secret::fill_with(|bytes| {
        // The length is within the limit, so this cannot fail.
        let _ = hkdf.expand(purpose.as_bytes(), bytes);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_private_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.bin");
        create_key(&path).unwrap();
        let key = read_key(&path).unwrap();
        let refused = create_key(&path).unwrap_err().to_string();
        assert!(refused.contains("exists already"), "{refused}");
        assert_eq!(read_key(&path).unwrap(), key);
    }

    #[test]
    fn keys_that_others_can_read_or_of_another_size_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.bin");
        for (bytes, mode, expected) in [
            (&[7; 32][..], 0o640, "other users may read"),
            (&[7; 33], 0o600, "exactly 32 bytes"),
            (&[7; 31], 0o600, "exactly 32 bytes"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let refused = read_key(&path).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
        let missing = read_key(&folder.path().join("none")).unwrap_err();
        assert!(missing.advice().unwrap().contains("kc fields key"));
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let key = Secret::from_slice(&[7; 32]).unwrap();
        assert_ne!(derive::<32>(&key, "a"), derive::<32>(&key, "b"));
        assert_eq!(derive::<64>(&key, "a"), derive::<64>(&key, "a"));
        assert_ne!(derive::<32>(&key, "a").expose(), &[0; 32]);
    }
}
