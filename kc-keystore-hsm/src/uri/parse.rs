use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::{Pkcs11Uri, UriError};

/// What may stand unencoded in a value, beside letters and digits.
const PATH_CHARACTERS: &str = "-._~:[]@!$'()*+,=&";
const QUERY_CHARACTERS: &str = "-._~:[]@!$'()*+,=/?|";

pub(super) fn parse(text: &str) -> Result<Pkcs11Uri, UriError> {
    let rest = text
        .split_at_checked("pkcs11:".len())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("pkcs11:"))
        .map(|(_, rest)| rest)
        .ok_or(UriError::Scheme)?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let mut uri = Pkcs11Uri::default();
    for attribute in path.split(';') {
        let (name, value) = split(attribute)?;
        let (name, slot) = match name {
            "token" => ("token", &mut uri.token),
            "manufacturer" => ("manufacturer", &mut uri.manufacturer),
            "model" => ("model", &mut uri.model),
            "serial" => ("serial", &mut uri.serial),
            "object" => ("object", &mut uri.object),
            _ => return Err(unknown(name)),
        };
        let value = decode(name, value, PATH_CHARACTERS)?;
        set(name, slot, value)?;
    }
    for attribute in query.iter().flat_map(|query| query.split('&')) {
        let (name, value) = split(attribute)?;
        match name {
            "module-path" => {
                let path = decode("module-path", value, QUERY_CHARACTERS)?;
                let path = absolute("module-path", &path)?;
                set("module-path", &mut uri.module_path, path)?;
            }
            "pin-source" => {
                let path = decode("pin-source", value, QUERY_CHARACTERS)?;
                let path = absolute("pin-source", file_path(&path))?;
                set("pin-source", &mut uri.pin_source, path)?;
            }
            _ => return Err(unknown(name)),
        }
    }
    if uri.token.is_none() && uri.serial.is_none() {
        return Err(UriError::NoToken);
    }
    Ok(uri)
}

fn split(attribute: &str) -> Result<(&str, &str), UriError> {
    match attribute.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name, value)),
        _ => Err(UriError::Attribute),
    }
}

fn unknown(name: &str) -> UriError {
    match name {
        "pin-value" => UriError::PinValue,
        _ => UriError::Unknown(name.to_owned()),
    }
}

/// `percent_decode_str` lets pass whatever is no percent-encoding.
fn decode(name: &'static str, value: &str, unencoded: &str) -> Result<String, UriError> {
    let mut rest = value.chars();
    while let Some(character) = rest.next() {
        let fits = match character {
            '%' => [rest.next(), rest.next()]
                .into_iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
            _ => character.is_ascii_alphanumeric() || unencoded.contains(character),
        };
        if !fits {
            return Err(UriError::Encoding(name));
        }
    }
    let text = percent_decode_str(value).decode_utf8();
    Ok(text.map_err(|_| UriError::NotText(name))?.into_owned())
}

fn set<T>(name: &'static str, slot: &mut Option<T>, value: T) -> Result<(), UriError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::Duplicate(name)),
    }
}

/// `file:/path`, `file:///path`, or the path itself.
fn file_path(source: &str) -> &str {
    let path = source.strip_prefix("file:").unwrap_or(source);
    match path.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        _ => path,
    }
}

fn absolute(name: &'static str, path: &str) -> Result<PathBuf, UriError> {
    let path = Path::new(path);
    if path.is_absolute() {
        Ok(path.to_owned())
    } else {
        Err(UriError::NotAbsolute(name))
    }
}
