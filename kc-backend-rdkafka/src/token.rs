//! Tokens for OAUTHBEARER.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use rdkafka::client::OAuthToken;

/// The time for which librdkafka uses a token. The real lifetime is unknown, because a token need not be a JWT; so the
/// file is read again often. librdkafka does that when four fifths of the time have passed.
const LIFETIME: Duration = Duration::from_secs(60);

/// The largest content of a token file, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The principal of the client for librdkafka, which requires one but does not send it.
const PRINCIPAL: &str = "kc";

/// Reads the token of a file. The text of an error names the file.
pub(crate) fn read(path: &str) -> io::Result<OAuthToken> {
    let read = || {
        let mut token = String::new();
        let mut file = File::open(path)?.take(MAX_BYTES + 1);
        file.read_to_string(&mut token)?;
        let token = token.trim();
        let is_printable = token.bytes().all(|it| (b' '..=b'~').contains(&it));
        if token.is_empty() || !is_printable || file.limit() == 0 {
            let reason = "the content is not a token: one line of printable ASCII, at most 64 KiB";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(token.to_owned())
    };
    let token = read().map_err(|error| {
        let text = format!("`sasl_oauth_token_file`: cannot read {path}: {error}");
        io::Error::new(error.kind(), text)
    })?;
    let end = SystemTime::now() + LIFETIME;
    let end = end
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(OAuthToken {
        token,
        principal_name: PRINCIPAL.to_owned(),
        lifetime_ms: i64::try_from(end.as_millis()).unwrap_or(i64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_token_is_one_line() {
        let path = std::env::temp_dir().join(format!("kc-token-{}", std::process::id()));
        let name = path.to_str().unwrap();
        assert!(read(name).err().unwrap().to_string().contains(name));
        for (content, is_token) in [("abc.def\n", true), ("a\nb", false), (" \n", false)] {
            fs::write(&path, content).unwrap();
            assert_eq!(read(name).is_ok(), is_token, "{content:?}");
        }
        fs::remove_file(path).unwrap();
    }
}
