use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{CliError, io_failed};

/// Nothing that people carry around is larger, in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// Stands before binary values in a configuration.
const CONFIG_PREFIX: &str = "base64#";
/// Stands for stdin.
const STDIN: &str = "-";

/// Bytes that are given in base64, or in a file (`-` is stdin), as they are or in base64. `what` says what
/// they are: "a certificate chain".
pub(crate) fn read_bytes(what: &str, given: &str) -> Result<Vec<u8>, CliError> {
    let content = if given == STDIN {
        read_all(io::stdin().lock(), "stdin")?
    } else if Path::new(given).is_file() {
        read_file(given)?
    } else {
        return decode(given).ok_or_else(|| {
            CliError::usage(format!("{given:?} is neither a file nor base64"))
                .advise(format!("give {what} in base64, or a file that holds it"))
        });
    };
    let text = std::str::from_utf8(&content).ok();
    let decoded = text.and_then(decode);
    Ok(decoded.unwrap_or(content))
}

/// Base64, in lines or as it stands in a configuration.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut text: String = text.split_ascii_whitespace().collect();
    if let Some(rest) = text.strip_prefix(CONFIG_PREFIX) {
        text = rest.to_owned();
    }
    BASE64.decode(text).ok()
}

/// A file, as it is.
pub(super) fn read_file(path: &str) -> Result<Vec<u8>, CliError> {
    let file = File::open(path).map_err(|error| io_failed("read", path, &error))?;
    read_all(file, path)
}

fn read_all(source: impl Read, name: &str) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let mut source = source.take(MAX_BYTES + 1);
    let read = source.read_to_end(&mut bytes);
    read.map_err(|error| io_failed("read", name, &error))?;
    if source.limit() == 0 {
        return Err(CliError::usage(format!("{name} is too large")));
    }
    Ok(bytes)
}
