//! The files of TLS, and the meaning of librdkafka's errors about them.

use std::fs;

use kc_core::backend::{Authorities, BackendError, BackendErrorKind, ClientCertificate, Pem, Tls};
use rdkafka::ClientConfig;

/// The files for TLS that the settings name. [`read`] has checked that all of them are readable.
#[derive(Debug)]
pub(crate) struct Files<'a> {
    authorities: Option<&'a str>,
    certificate: Option<&'a ClientCertificate>,
    /// `true` if the key is encrypted with a password.
    encrypted: bool,
}

/// Sets librdkafka's settings for TLS.
pub(crate) fn configure(tls: &Tls, config: &mut ClientConfig) {
    match &tls.authorities {
        Authorities::File(path) => config.set("ssl.ca.location", path),
        Authorities::Pem(pem) => config.set("ssl.ca.pem", pem),
        // librdkafka uses OpenSSL's certificate authorities, or searches the usual paths of the system.
        _ => config.set("ssl.ca.location", "probe"),
    };
    let identification = if tls.check_hostname { "https" } else { "none" };
    config.set("ssl.endpoint.identification.algorithm", identification);
    if let Some(certificate) = &tls.certificate {
        set(config, "ssl.certificate", &certificate.certificate);
        set(config, "ssl.key", &certificate.key);
        if let Some(password) = &certificate.password {
            config.set("ssl.key.password", password.expose());
        }
    }
}

/// Sets the file or the text of a PEM document. `name` is the common part of the names of both settings.
fn set(config: &mut ClientConfig, name: &str, pem: &Pem) {
    match pem {
        Pem::File(path) => config.set(format!("{name}.location"), path),
        Pem::Text(text) => config.set(format!("{name}.pem"), text.expose()),
        _ => config,
    };
}

/// Checks that the files for TLS are readable, and returns their paths.
///
/// # Errors
/// Returns [`BackendErrorKind::Configuration`] if a file cannot be read. The message names the setting and the file.
pub(crate) fn read(tls: &Tls) -> Result<Files<'_>, BackendError> {
    let authorities = authorities(tls);
    if let Some(path) = authorities {
        read_one("ssl_cafile", path)?;
    }
    let certificate = tls.certificate.as_ref();
    let mut encrypted = false;
    if let Some(certificate) = certificate {
        content("ssl_certfile", &certificate.certificate)?;
        encrypted = content("ssl_keyfile", &certificate.key)?.contains("ENCRYPTED");
    }
    Ok(Files {
        authorities,
        certificate,
        encrypted,
    })
}

fn authorities(tls: &Tls) -> Option<&str> {
    match &tls.authorities {
        Authorities::File(path) => Some(path),
        _ => None,
    }
}

/// Returns the text of a PEM document.
fn content(setting: &str, pem: &Pem) -> Result<String, BackendError> {
    Ok(match pem {
        Pem::File(path) => String::from_utf8_lossy(&read_one(setting, path)?).into_owned(),
        Pem::Text(text) => text.expose().to_owned(),
        _ => String::new(),
    })
}

/// Returns the words for a PEM document in an error.
fn shown(pem: &Pem) -> &str {
    match pem {
        Pem::File(path) => path,
        _ => "the PEM text",
    }
}

fn read_one(setting: &str, path: &str) -> Result<Vec<u8>, BackendError> {
    fs::read(path)
        .map_err(|error| invalid(format!("`{setting}`: cannot read {path}")).with_source(error))
}

impl Files<'_> {
    /// Returns the error for a client that could not be created. Uses `reason`, the message of librdkafka, to find the
    /// setting and the file that caused the failure, and names them in the error.
    pub(crate) fn blame(&self, reason: String) -> BackendError {
        let names = |setting: &str| {
            let rest = reason.strip_prefix(setting).unwrap_or_default();
            rest.starts_with(".location") || rest.starts_with(".pem")
        };
        let context = match self.certificate {
            Some(ClientCertificate { key, password, .. }) if names("ssl.key") && self.encrypted => {
                match password {
                    Some(_) => format!("`ssl_password` does not decrypt {}", shown(key)),
                    None => format!("`ssl_password` is missing: {} is encrypted", shown(key)),
                }
            }
            Some(ClientCertificate { key, .. }) if names("ssl.key") => {
                format!("`ssl_keyfile`: {} contains no private key", shown(key))
            }
            Some(ClientCertificate {
                certificate, key, ..
            }) if reason.starts_with("Private key check failed") => {
                format!(
                    "`ssl_keyfile`: {} does not belong to {}",
                    shown(key),
                    shown(certificate)
                )
            }
            Some(ClientCertificate { certificate, .. }) if names("ssl.certificate") => {
                format!(
                    "`ssl_certfile`: {} contains no certificate",
                    shown(certificate)
                )
            }
            _ if names("ssl.ca") => {
                let path = self.authorities.unwrap_or("the PEM text");
                format!("`ssl_cafile`: {path} contains no certificate")
            }
            _ => return invalid(reason),
        };
        invalid(context).with_source(reason)
    }
}

fn invalid(what: String) -> BackendError {
    BackendError::new(BackendErrorKind::Configuration, what)
}

#[cfg(test)]
mod tests {
    use kc_core::backend::ClientSettings;

    use super::*;

    const SETTINGS: &[(&str, &str)] = &[
        ("bootstrap_servers", "a:1"),
        ("security_protocol", "SSL"),
        ("ssl_cafile", "ca.pem"),
        ("ssl_certfile", "c.pem"),
        ("ssl_keyfile", "k.pem"),
        ("ssl_password", "hush"),
    ];

    #[test]
    fn the_setting_and_the_file_are_named() {
        let settings = ClientSettings::parse(SETTINGS.iter().copied()).unwrap();
        let tls = settings.tls.unwrap();
        for (reason, encrypted, setting, file) in [
            ("ssl.ca.location failed: x", false, "`ssl_cafile`", "ca.pem"),
            (
                "ssl.certificate.location failed: x",
                false,
                "`ssl_certfile`",
                "c.pem",
            ),
            (
                "ssl.key.location failed: x",
                false,
                "`ssl_keyfile`",
                "k.pem",
            ),
            (
                "ssl.key.location failed: x",
                true,
                "`ssl_password`",
                "k.pem",
            ),
            (
                "Private key check failed: x",
                false,
                "`ssl_keyfile`",
                "k.pem",
            ),
        ] {
            let files = Files {
                authorities: authorities(&tls),
                certificate: tls.certificate.as_ref(),
                encrypted,
            };
            let error = files.blame(reason.to_owned());
            assert_eq!(error.kind(), BackendErrorKind::Configuration);
            let text = error.to_string();
            assert!(text.contains(setting) && text.contains(file), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
    }
}
