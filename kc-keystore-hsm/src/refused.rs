use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use kc_core::secret::SecretText;
use scrypt::{Params, scrypt};
use sha2::{Digest, Sha256};

use crate::HsmError;
use crate::file::replace;
use crate::random::random;

/// The maximum number of refused PINs from files and from the environment. After a token refused this number of PINs, a
/// program tries no other PIN from these sources, until a login succeeds. Most tokens lock at the third wrong PIN, and
/// not all tokens announce that the next attempt is the last.
const MAX_TRIES: u8 = 2;
/// The number of bytes of the record that are read. Further bytes are ignored.
const MAX_BYTES: u64 = 1 << 16;

const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;
const TAG_LEN: usize = 8;

/// The parameters of scrypt: the logarithm of `N` to base 2, then `r`, then `p`. One hash takes 16 MB of memory and
/// about 50 ms.
const WORK: (u8, u32, u32) = (14, 8, 1);

/// A record of the PINs that tokens refused. It is a file next to the node's files, so that a program does not try such
/// a PIN again after a restart. The file has a line for each PIN: `<token> <tries> <salt> <hash>`. All but `<tries>`
/// are in hexadecimal.
#[derive(Clone, Debug)]
pub(crate) struct RefusedPins {
    path: PathBuf,
}

/// A PIN that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    token: [u8; TAG_LEN],
    /// The number of attempts for which this PIN counts. It is 2 if the token had earlier refused a PIN that is not in
    /// the record, else 1.
    tries: u8,
    salt: [u8; SALT_LEN],
    hash: [u8; HASH_LEN],
}

/// A lock that is held while a record is changed, because several tokens of this process may share a file.
static CHANGING: Mutex<()> = Mutex::new(());

impl RefusedPins {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Checks that a program may try this PIN, which was not typed at a prompt.
    ///
    /// # Errors
    /// Returns [`HsmError::PinRefused`] if the token refused this PIN before, and [`HsmError::PinTriesSpent`] if the
    /// recorded PINs count for [`MAX_TRIES`] attempts.
    pub(crate) fn check(&self, token: &Asked<'_>, pin: &SecretText) -> Result<(), HsmError> {
        let refused = self.of(token)?;
        let (name, path) = (token.name.to_owned(), self.path.clone());
        for known in &refused {
            if hash(pin, &known.salt)? == known.hash {
                return Err(HsmError::PinRefused { token: name, path });
            }
        }
        let tries = refused.iter().map(|known| known.tries);
        if tries.fold(0, u8::saturating_add) >= MAX_TRIES {
            return Err(HsmError::PinTriesSpent { token: name, path });
        }
        Ok(())
    }

    /// Records a PIN that was refused. `count_low` is `true` if the token reported before this attempt that a wrong PIN
    /// was tried since the last login.
    pub(crate) fn add(
        &self,
        token: &Asked<'_>,
        pin: &SecretText,
        count_low: bool,
    ) -> Result<(), HsmError> {
        let others = count_low && self.of(token)?.is_empty();
        let salt = random()?;
        let refused = Refused {
            token: token.tag(),
            tries: 1 + u8::from(others),
            salt,
            hash: hash(pin, &salt)?,
        };
        self.change(|all| all.push(refused))
    }

    /// Removes the PINs of a token from the record after a successful login.
    pub(crate) fn clear(&self, token: &Asked<'_>) -> Result<(), HsmError> {
        if self.of(token)?.is_empty() {
            return Ok(());
        }
        self.change(|all| all.retain(|known| known.token != token.tag()))
    }

    fn of(&self, token: &Asked<'_>) -> Result<Vec<Refused>, HsmError> {
        let mut all = self.read()?;
        all.retain(|known| known.token == token.tag());
        Ok(all)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Refused>)) -> Result<(), HsmError> {
        let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.read()?;
        change(&mut all);
        let written = if all.is_empty() {
            fs::remove_file(&self.path)
        } else {
            let lines: String = all.iter().map(Refused::line).collect();
            replace(&self.path, lines.as_bytes())
        };
        written.map_err(failed("write", &self.path))
    }

    /// Reads the record. Malformed lines are ignored.
    fn read(&self) -> Result<Vec<Refused>, HsmError> {
        let mut text = String::new();
        let file = File::open(&self.path);
        let read = file.and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.path)(error)),
            Ok(_) => {}
        }
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> HsmError {
    let path = path.to_owned();
    move |source| HsmError::File {
        action,
        path: path.clone(),
        source,
    }
}

/// The token to which a program logs in.
pub(crate) struct Asked<'t> {
    /// The name of the token in messages.
    pub(crate) name: &'t str,
    /// Manufacturer, model, serial number and label.
    pub(crate) names: &'t [String; 4],
}

impl Asked<'_> {
    fn tag(&self) -> [u8; TAG_LEN] {
        let digest: [u8; 32] = Sha256::digest(self.names.join("\n")).into();
        let mut tag = [0; TAG_LEN];
        for (to, from) in tag.iter_mut().zip(digest) {
            *to = from;
        }
        tag
    }
}

impl Refused {
    fn line(&self) -> String {
        let [token, salt, hash] = [&self.token[..], &self.salt, &self.hash].map(hex::encode);
        format!("{token} {} {salt} {hash}\n", self.tries)
    }
}

impl FromStr for Refused {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(());
        let refused = Self {
            token: unhex(word()?)?,
            tries: word()?.parse().map_err(drop)?,
            salt: unhex(word()?)?,
            hash: unhex(word()?)?,
        };
        words.next().map_or(Ok(refused), |_| Err(()))
    }
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N], ()> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(drop)?;
    Ok(bytes)
}

/// Hashes a PIN. The hash is slow on purpose, because short PINs can be guessed.
fn hash(pin: &SecretText, salt: &[u8; SALT_LEN]) -> Result<[u8; HASH_LEN], HsmError> {
    let mut hash = [0; HASH_LEN];
    let (log_n, r, p) = WORK;
    let hashed = Params::new(log_n, r, p)
        .ok()
        .and_then(|work| scrypt(pin.expose().as_bytes(), salt, &work, &mut hash).ok());
    hashed.map(|()| hash).ok_or(HsmError::PinHash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> SecretText {
        SecretText::from(text.to_owned())
    }

    fn names(serial: &str) -> [String; 4] {
        ["maker", "model", serial, "kc"].map(str::to_owned)
    }

    #[test]
    fn what_was_refused_is_known_and_is_in_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.refused");
        let pins = RefusedPins::new(path.clone());
        let (one, other) = (names("1"), names("2"));
        let [one, other] = [&one, &other].map(|names| Asked { name: "kc", names });
        pins.check(&one, &text("123456")).unwrap();
        pins.clear(&one).unwrap();
        pins.add(&one, &text("123456"), false).unwrap();
        let stored = fs::read_to_string(&path).unwrap();
        assert!(!stored.contains("123456"), "{stored}");

        let known = |token| pins.check(token, &text("123456"));
        assert!(matches!(known(&one), Err(HsmError::PinRefused { .. })));
        known(&other).unwrap();
        pins.check(&one, &text("654321")).unwrap();
        pins.add(&other, &text("111111"), false).unwrap();
        pins.clear(&one).unwrap();
        known(&one).unwrap();
        pins.check(&other, &text("111111")).unwrap_err();
        pins.clear(&other).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn two_tries_are_spent_and_one_if_somebody_else_has_spent_some() {
        let folder = tempfile::tempdir().unwrap();
        let names = names("1");
        let token = Asked {
            name: "kc",
            names: &names,
        };
        for (count_low, tries) in [([false, true], 2), ([true, true], 1)] {
            let pins = RefusedPins::new(folder.path().join(format!("n{tries}.refused")));
            for (pin, count_low) in ["1111", "2222"].into_iter().zip(count_low).take(tries) {
                pins.check(&token, &text(pin)).unwrap();
                pins.add(&token, &text(pin), count_low).unwrap();
            }
            let spent = pins.check(&token, &text("3333"));
            assert!(matches!(spent, Err(HsmError::PinTriesSpent { .. })));
        }
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        let refused = Refused {
            token: [1; TAG_LEN],
            tries: 1,
            salt: [2; SALT_LEN],
            hash: [255; HASH_LEN],
        };
        let line = refused.line();
        let line = line.trim_end();
        assert_eq!(line.parse(), Ok(refused));
        for wrong in [
            "",
            "x",
            &line[1..],
            &line[..line.len() - 1],
            &line.replace("01", "0g"),
        ] {
            assert!(wrong.parse::<Refused>().is_err(), "{wrong}");
        }
        assert!(format!("{line} more").parse::<Refused>().is_err());
    }
}
