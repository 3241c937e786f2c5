use std::fmt;

use serde::{Deserialize, Serialize, Serializer, de};
use thiserror::Error;

/// The name of the folder in which senders and receivers keep their state. It is neither sent nor written to by names
/// that arrive.
pub const STATE_FOLDER: &str = ".kc-files";

/// The maximum length of the name of a file or folder, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// The maximum length of a path, in bytes.
const MAX_PATH_BYTES: usize = 3072;
/// The maximum number of folders in a path.
const MAX_FOLDERS: usize = 64;

/// Names that Windows gives to devices, in every folder and with every extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// The place of a file below a folder: names of folders and the name of the file, separated by `/`. Each name is 1 to 255
/// bytes of UTF-8. No path leads out of the folder or to the state of this crate, and no name is that of a device.
///
/// ```
/// use kc_files::FilePath;
///
/// let path: FilePath = "run 7/größe.dat".parse()?;
/// assert_eq!((path.folder(), path.name()), ("run 7", "größe.dat"));
/// assert!("../passwd".parse::<FilePath>().is_err());
/// # Ok::<_, kc_files::PathError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath {
    path: String,
    /// The position of the file's name in `path`.
    name: usize,
}

/// The reason why a path is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path, or a name in it, is empty.
    #[error("a name is empty")]
    Empty,
    /// The path begins with `/`.
    #[error("the path is absolute")]
    Absolute,
    /// A name is `.` or `..`.
    #[error("the path has the name {0:?}, which leads elsewhere")]
    Traversal(String),
    /// A name contains a backslash or a control character.
    #[error("the name {0:?} contains a backslash or a control character")]
    Character(String),
    /// A name is that of a device on Windows, for example `NUL` or `com1.txt`.
    #[error("the name {0:?} is reserved for a device")]
    Device(String),
    /// The path leads to the state of this crate.
    #[error("the name {STATE_FOLDER} is reserved")]
    State,
    /// The path, a name in it, or the number of its folders is too large.
    #[error("the path is too long")]
    TooLong,
    /// The path is not UTF-8.
    #[error("the name is not UTF-8")]
    NotUtf8,
}

impl FilePath {
    /// Returns the path from its folder, which is empty for files at the top, and the name of the file.
    ///
    /// # Errors
    /// Returns [`PathError`] if the path is not that of a file below a folder.
    pub fn new(folder: &str, name: &str) -> Result<Self, PathError> {
        if name.contains('/') {
            return Err(PathError::Character(name.to_owned()));
        }
        match folder {
            "" => name.parse(),
            _ => format!("{folder}/{name}").parse(),
        }
    }

    /// Returns the path of the folder, empty for files at the top.
    #[must_use]
    pub fn folder(&self) -> &str {
        let end = self.name.saturating_sub(1);
        self.path.get(..end).unwrap_or_default()
    }

    /// Returns the name of the file.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.get(self.name..).unwrap_or_default()
    }

    /// Returns the whole path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// Returns the names of the folders, from the top.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.folder().split('/').filter(|name| !name.is_empty())
    }
}

fn check_name(name: &str) -> Result<(), PathError> {
    if name.is_empty() {
        return Err(PathError::Empty);
    }
    if name == "." || name == ".." {
        return Err(PathError::Traversal(name.to_owned()));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(PathError::TooLong);
    }
    if name.contains(|letter: char| letter == '\\' || letter.is_control()) {
        return Err(PathError::Character(name.to_owned()));
    }
    if name.eq_ignore_ascii_case(STATE_FOLDER) {
        return Err(PathError::State);
    }
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_lowercase();
    let port = stem
        .strip_prefix("com")
        .or_else(|| stem.strip_prefix("lpt"));
    let is_port = port.is_some_and(|port| {
        let mut digits = port.chars();
        let digit = digits.next();
        digit.is_some_and(|digit| matches!(digit, '0'..='9' | '¹' | '²' | '³'))
            && digits.next().is_none()
    });
    if is_port || DEVICES.contains(&stem.as_str()) {
        return Err(PathError::Device(name.to_owned()));
    }
    Ok(())
}

impl std::str::FromStr for FilePath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.starts_with('/') {
            return Err(PathError::Absolute);
        }
        if path.len() > MAX_PATH_BYTES || path.matches('/').count() > MAX_FOLDERS {
            return Err(PathError::TooLong);
        }
        path.split('/').try_for_each(check_name)?;
        Ok(Self {
            path: path.to_owned(),
            name: path.rfind('/').map_or(0, |slash| slash + 1),
        })
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.path, f)
    }
}

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.path)
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = String::deserialize(deserializer)?;
        path.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for path in [
            "",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/./b",
            "a//b",
            "a/",
            "a\\b",
            "..\\x",
            "a\0b",
            "a\nb",
            "a\u{1b}[2J",
            "NUL",
            "aux.txt",
            "a/Com1.log",
            "lpt9",
            "con .txt",
            ".kc-files/send.redb",
            "a/.KC-FILES/x",
        ] {
            assert!(path.parse::<FilePath>().is_err(), "{path:?}");
        }
        assert!(FilePath::new("a", "b/c").is_err());
        assert!(FilePath::new("a/..", "c").is_err());
        assert!("x".repeat(256).parse::<FilePath>().is_err());
        assert!("a/".repeat(70).parse::<FilePath>().is_err());
    }

    #[test]
    fn names_of_laboratories_are_accepted() {
        for path in [
            "a",
            "one k.bin",
            "sub/deep/three b.bin",
            "größe/漢字.dat",
            "12:30:01.csv",
            "...",
            ".hidden",
            "console.log",
            "com10",
            "a b/ c ",
        ] {
            let parsed: FilePath = path.parse().unwrap();
            assert_eq!(
                FilePath::new(parsed.folder(), parsed.name()),
                Ok(parsed.clone())
            );
            assert_eq!(parsed.as_str(), path);
        }
    }

    proptest! {
        #[test]
        fn no_accepted_path_leads_out(path in "[a./\\\\ ~\\x00é-]{0,24}") {
            if let Ok(parsed) = path.parse::<FilePath>() {
                let components = std::path::Path::new(parsed.as_str()).components();
                for component in components {
                    prop_assert!(matches!(component, std::path::Component::Normal(_)));
                }
            }
        }
    }
}
