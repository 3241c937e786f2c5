//! Passwords and PINs: from a file, the environment or a prompt.

use std::borrow::Cow;
use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use kc::core::provision::Role;
use kc::core::secret::SecretText;
use zeroize::Zeroizing;

use crate::error::CliError;

/// The file name that stands for stdin.
const STDIN: &str = "-";
/// The largest length of a password, in bytes.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// A password, wiped when dropped.
pub(crate) type Password = Zeroizing<Vec<u8>>;

/// The source of a password: a file, else the environment, else a prompt.
#[derive(Debug)]
pub(crate) struct PasswordSource<'a> {
    /// The name of the password in prompts and messages, for example "root password".
    name: Cow<'a, str>,
    /// The file with the password, if a file is given.
    file: Option<&'a Path>,
    /// The part of the advice that names the option for a password file, for example "by --password-file FILE".
    by_file: &'static str,
    /// The environment variable that holds the password.
    variable: &'static str,
    /// True if the password may be new, so that a person has to type it twice.
    is_new: bool,
}

/// The root password.
#[derive(Args, Clone, Debug)]
pub(crate) struct RootPasswordArg {
    /// A file with the root password; - is stdin [default: KC_ROOT_PASSWORD, else a prompt]
    #[arg(long, value_name = "FILE", help_heading = "Passwords")]
    pub(crate) root_password_file: Option<PathBuf>,
}

/// The provisioning password.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProvisioningPasswordArg {
    /// A file with the provisioning password, from which the keys that certify nodes are derived; - is stdin. The roles
    /// chain-server and administrator do not need this password, because the root itself certifies such nodes [default:
    /// KC_PROVISIONING_PASSWORD, else a prompt]
    #[arg(long, value_name = "FILE", help_heading = "Passwords")]
    password_file: Option<PathBuf>,
}

impl RootPasswordArg {
    pub(crate) fn read(&self) -> Result<Password, CliError> {
        PasswordSource::of_root(self.root_password_file.as_deref()).read()
    }
}

impl ProvisioningPasswordArg {
    pub(crate) fn read(&self) -> Result<Password, CliError> {
        let source = PasswordSource {
            name: "provisioning password".into(),
            file: self.password_file.as_deref(),
            by_file: "by --password-file FILE",
            variable: "KC_PROVISIONING_PASSWORD",
            is_new: true,
        };
        source.read()
    }

    /// Reads the password for a role. If the root itself certifies nodes of this role, reads nothing and returns an
    /// empty password.
    pub(crate) fn read_for(&self, role: Role) -> Result<Password, CliError> {
        match role.provisioner() {
            Some(_) => self.read(),
            None => Ok(Password::default()),
        }
    }
}

impl<'a> PasswordSource<'a> {
    /// Returns the source of the root password.
    pub(crate) fn of_root(file: Option<&'a Path>) -> Self {
        Self {
            name: "root password".into(),
            file,
            by_file: "by --root-password-file FILE",
            variable: "KC_ROOT_PASSWORD",
            is_new: true,
        }
    }

    /// Returns the source of the user PIN of the token with the label `token`. The label may be empty.
    pub(crate) fn of_pin(token: &str) -> Self {
        let name = match token {
            "" => "PIN of the token".into(),
            label => format!("PIN of token {label}").into(),
        };
        Self {
            name,
            file: None,
            by_file: "by --pin-file FILE (for --provisioner-key: by --provisioner-pin-file FILE), by \
                      pin-source=file:/PATH in the URI,",
            variable: "KC_HSM_PIN",
            is_new: false,
        }
    }

    /// Returns the source of the user PIN for a new token.
    #[cfg(feature = "hsm")]
    pub(crate) fn of_new_pin(token: &str, file: Option<&'a Path>) -> Self {
        Self {
            file,
            by_file: "by --pin-file FILE",
            is_new: true,
            ..Self::of_pin(token)
        }
    }

    /// Returns the source of the PIN of a token's security officer.
    #[cfg(feature = "hsm")]
    pub(crate) fn of_so_pin(file: Option<&'a Path>) -> Self {
        Self {
            name: "security officer's PIN".into(),
            file,
            by_file: "by --so-pin-file FILE",
            variable: "KC_HSM_SO_PIN",
            is_new: true,
        }
    }

    /// Reads the password. A prompt asks twice for a password that may be new.
    ///
    /// # Errors
    /// [`CliError`] if the password is missing or empty, if its file cannot be read or is too long, or if the prompt
    /// fails or its two answers differ.
    pub(crate) fn read(&self) -> Result<Password, CliError> {
        let password = if let Some(path) = self.file {
            self.read_file(path)?
        } else if let Some(password) = env::var_os(self.variable) {
            Zeroizing::new(password.into_encoded_bytes())
        } else if io::stdin().is_terminal() {
            self.prompt()?
        } else {
            return Err(
                CliError::usage(format!("no {} is given", self.name)).advise(format!(
                    "kc cannot ask for it, because stdin is not a terminal: give the {} {} or in the environment \
                     variable {}",
                    self.name, self.by_file, self.variable
                )),
            );
        };
        if password.is_empty() {
            return Err(CliError::usage(format!("the {} is empty", self.name)));
        }
        Ok(password)
    }

    /// Reads a password, such as a PIN, that must be text without control characters.
    pub(crate) fn read_text(&self) -> Result<SecretText, CliError> {
        let password = self.read()?;
        match std::str::from_utf8(&password) {
            // The login to a token reads one line, so a PIN with a line break would not work.
            Ok(text) if text.contains(char::is_control) => Err(CliError::usage(format!(
                "the {} contains a line break or another control character",
                self.name
            ))
            .advise("write the PIN on one line that ends without a carriage return")),
            Ok(text) => Ok(SecretText::from(text.to_owned())),
            Err(_) => Err(CliError::usage(format!(
                "the {} is not UTF-8 text",
                self.name
            ))),
        }
    }

    /// Reads the password from a file. One line feed at the end of the file is not part of the password.
    fn read_file(&self, path: &Path) -> Result<Password, CliError> {
        let failed = |error: io::Error| {
            let path = path.display();
            CliError::failure(format!(
                "cannot read the {} from {path}: {error}",
                self.name
            ))
        };
        let mut password = Zeroizing::new(Vec::new());
        let file: Box<dyn Read> = if path == Path::new(STDIN) {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(failed)?)
        };
        let mut file = file.take(MAX_PASSWORD_BYTES + 1);
        file.read_to_end(&mut password).map_err(failed)?;
        if file.limit() == 0 {
            let path: PathBuf = path.to_owned();
            return Err(CliError::usage(format!(
                "{} is too long: a {} has at most {MAX_PASSWORD_BYTES} bytes",
                path.display(),
                self.name
            )));
        }
        if password.last() == Some(&b'\n') {
            password.pop();
        }
        Ok(password)
    }

    fn prompt(&self) -> Result<Password, CliError> {
        let ask = |prompt: String| {
            rpassword::prompt_password(prompt)
                .map(|password| Zeroizing::new(password.into_bytes()))
                .map_err(|error| {
                    CliError::failure(format!("cannot ask for the {}: {error}", self.name))
                })
        };
        let password = ask(format!("{}: ", capitalised(&self.name)))?;
        if self.is_new && password != ask(format!("{} again: ", capitalised(&self.name)))? {
            return Err(CliError::usage("the two typed passwords or PINs differ"));
        }
        Ok(password)
    }
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
