//! Configuration files of other Kafka clients: Java's `client.properties`, librdkafka's configuration, and OpenMSIStream's.

mod jaas;
mod jks;
mod openmsi;
mod stores;

use std::fmt;
use std::fs::File;

use java_properties::PropertiesIter;
use kc::core::backend::{canonical_name, client_role};

use self::jaas::Login;
pub(crate) use self::openmsi::{For, OpenMsiConfig};
use self::stores::{Format, Store};
use crate::args::read_limited;
use crate::error::io_failed;

/// The largest file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Pairs of settings that give the same document as a file and as a text.
const DOCUMENTS: [(&str, &str); 3] = [
    ("ssl_cafile", "ssl.ca.pem"),
    ("ssl_certfile", "ssl.certificate.pem"),
    ("ssl_keyfile", "ssl.key.pem"),
];

/// The settings of a configuration file. `Debug` shows only their names, because values may be passwords.
#[derive(Clone)]
pub(crate) struct KafkaConfig {
    path: String,
    /// The canonical names and the values of the settings.
    pub(crate) settings: Vec<(String, String)>,
    ignored: Vec<String>,
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.settings.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl KafkaConfig {
    /// Reads a configuration file, and the key stores that it names.
    ///
    /// # Errors
    /// The text of an error names the file, and the line or the setting.
    pub(crate) fn read(path: &str) -> Result<Self, String> {
        let bytes = read_file(path)?;
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let mut config = Self {
            path: path.to_owned(),
            settings: Vec::new(),
            ignored: Vec::new(),
        };
        let mut java = Java::default();
        let take = |name: String, value: String| {
            if !java.take(&name, &value) {
                config.take(&name, value);
            }
        };
        PropertiesIter::new(text)
            .read_into(take)
            .map_err(|error| match error.line_number() {
                Some(line) => format!("{path} line {line}: not a property"),
                None => format!("{path}: {error}"),
            })?;
        let finished = java.finish(&mut config);
        finished.map_err(|reason| format!("{path}: {reason}"))?;
        Ok(config)
    }

    /// Returns the sentence about the settings of the file that have no effect, if there are any.
    pub(crate) fn remark(&self) -> Option<String> {
        (!self.ignored.is_empty()).then(|| {
            format!(
                "{} has settings that kc ignores: {}",
                self.path,
                self.ignored.join(", ")
            )
        })
    }

    /// Returns whether the file has a setting with this canonical name.
    pub(crate) fn sets(&self, name: &str) -> bool {
        self.settings.iter().any(|(given, _)| given == name)
    }

    /// Takes a setting of a Kafka client.
    fn take(&mut self, name: &str, value: String) {
        // Java has some names of kafka-python with dots.
        let with_underscores = name.replace('.', "_");
        let known = [name, &with_underscores]
            .into_iter()
            .find(|name| client_role(name).is_ok());
        match known {
            Some(known) => self.set(canonical_name(known), value),
            None => self.ignored.push(name.to_owned()),
        }
    }

    /// Sets a setting. The same document in the other form, and an earlier value, have no effect any more.
    fn set(&mut self, name: &str, value: String) {
        self.settings.retain(|(given, _)| given != name);
        for (file, text) in DOCUMENTS {
            let other = match name {
                _ if name == file => text,
                _ if name == text => file,
                _ => continue,
            };
            self.settings.retain(|(given, _)| given != other);
            self.settings.push((other.to_owned(), String::new()));
        }
        self.settings.push((name.to_owned(), value));
    }
}

/// The settings that only Java's client has.
#[derive(Default)]
struct Java {
    jaas: Option<String>,
    trust: Store,
    own: Store,
    key_password: Option<String>,
}

impl Java {
    /// Takes a setting if only Java's client has it. Returns whether that is so.
    fn take(&mut self, name: &str, value: &str) -> bool {
        let text = Some(value.trim().to_owned()).filter(|text| !text.is_empty());
        match name {
            "sasl.jaas.config" => self.jaas = text,
            "ssl.truststore.location" => self.trust.location = text,
            "ssl.truststore.password" => self.trust.password = text,
            "ssl.truststore.type" => self.trust.format = text.map(|text| Format::parse(&text)),
            "ssl.truststore.certificates" => self.trust.certificates = text,
            "ssl.keystore.location" => self.own.location = text,
            "ssl.keystore.password" => self.own.password = text,
            "ssl.keystore.type" => self.own.format = text.map(|text| Format::parse(&text)),
            "ssl.keystore.certificate.chain" => self.own.certificates = text,
            "ssl.keystore.key" => self.own.key = text,
            "ssl.key.password" => self.key_password = text,
            _ => return false,
        }
        true
    }

    fn finish(self, config: &mut KafkaConfig) -> Result<(), String> {
        if let Some(jaas) = &self.jaas {
            let login =
                Login::parse(jaas).map_err(|reason| format!("sasl.jaas.config: {reason}"))?;
            for (name, value) in login.settings() {
                config.set(name, value);
            }
            let ignored = login.ignored().into_iter();
            config
                .ignored
                .extend(ignored.map(|name| format!("{name} of sasl.jaas.config")));
        }
        let trust = self.trust.trusted();
        for (name, value) in trust.map_err(|reason| format!("ssl.truststore: {reason}"))? {
            config.set(name, value);
        }
        let own = self.own.own(self.key_password);
        for (name, value) in own.map_err(|reason| format!("ssl.keystore: {reason}"))? {
            config.set(name, value);
        }
        Ok(())
    }
}

fn read_file(path: &str) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| io_failed("read", path, &error));
    let read = file.and_then(|file| read_limited(file, path, MAX_BYTES));
    read.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
