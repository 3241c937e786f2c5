//! The parser of settings. It checks settings that depend on each other after it has read all of them.

use std::time::Duration;

use super::names::{self, Known};
use super::sasl::{self, Sasl};
use super::values::{
    Protocol, all_acknowledge, authorities, boolean, check_hostname, compression, count,
    from_beginning, millis, positive_millis, protocol, read_committed, servers, size,
};
use super::{Authorities, ClientCertificate, ClientSettings, Compression, Pem, Tls, invalid};
use crate::backend::BackendError;
use crate::secret::SecretText;

pub(super) struct Parsing {
    settings: ClientSettings,
    delivery_timeout: Option<Duration>,
    protocol: Protocol,
    authorities: Option<Authorities>,
    check_hostname: Option<bool>,
    certificate: Option<String>,
    key: Option<String>,
    key_password: Option<SecretText>,
    authorities_pem: Option<String>,
    certificate_pem: Option<SecretText>,
    key_pem: Option<SecretText>,
    sasl: sasl::Given,
}

impl Default for Parsing {
    fn default() -> Self {
        Self {
            settings: ClientSettings {
                bootstrap_servers: String::new(),
                client_id: "kc".to_owned(),
                group_id: None,
                from_beginning: false,
                tls: None,
                sasl: None,
                request_timeout: Duration::from_secs(30),
                metadata_max_age: Duration::from_secs(300),
                connections_max_idle: Duration::from_secs(540),
                allow_auto_create_topics: false,
                linger: Duration::from_millis(5),
                batch_size: 512 << 10,
                max_request_size: 1 << 20,
                buffer_memory: 32 << 20,
                max_block: Duration::from_secs(60),
                delivery_timeout: Duration::from_secs(120),
                compression: Compression::None,
                read_committed: false,
                max_poll_records: 500,
                fetch_max_bytes: 50 << 20,
                max_partition_fetch_bytes: 1 << 20,
                fetch_max_wait: Duration::from_millis(500),
                session_timeout: Duration::from_secs(45),
                heartbeat_interval: Duration::from_secs(3),
                max_poll_interval: Duration::from_secs(300),
                librdkafka: Vec::new(),
                ignored: Vec::new(),
            },
            delivery_timeout: None,
            protocol: Protocol::default(),
            authorities: None,
            check_hostname: None,
            certificate: None,
            key: None,
            key_password: None,
            authorities_pem: None,
            certificate_pem: None,
            key_pem: None,
            sasl: sasl::Given::default(),
        }
    }
}

/// Returns the document that is given in a file or as a text.
fn one_of(
    (file_name, file): (&str, Option<String>),
    (text_name, text): (&str, Option<SecretText>),
) -> Result<Option<Pem>, BackendError> {
    match (file, text) {
        (Some(_), Some(_)) => Err(both(file_name, text_name)),
        (file, text) => Ok(file.map(Pem::File).or(text.map(Pem::Text))),
    }
}

fn both(file: &str, text: &str) -> BackendError {
    invalid(format!("`{file}` and `{text}` exclude each other"))
}

impl Parsing {
    /// Reads one setting. An empty value counts as absent.
    pub(super) fn read(&mut self, name: &str, value: &str) -> Result<(), BackendError> {
        let known = names::look_up(name)?;
        if value.is_empty() {
            return Ok(());
        }
        match known {
            Known::Setting(setting) => self.set(setting, name, value)?,
            Known::Librdkafka => {
                let others = &mut self.settings.librdkafka;
                others.retain(|(other, _)| other != name);
                others.push((name.to_owned(), value.to_owned()));
            }
            Known::Ignored => self.settings.ignored.push(name.to_owned()),
        }
        Ok(())
    }

    /// Sets a setting. `setting` is its canonical name, `name` the name in the configuration.
    pub(super) fn set(
        &mut self,
        setting: &'static str,
        name: &str,
        value: &str,
    ) -> Result<(), BackendError> {
        let settings = &mut self.settings;
        let text = || value.to_owned();
        match setting {
            "bootstrap_servers" => settings.bootstrap_servers = servers(value)?,
            "client_id" => settings.client_id = text(),
            "group_id" => settings.group_id = Some(text()),
            "auto_offset_reset" => match from_beginning(value)? {
                Some(from_beginning) => settings.from_beginning = from_beginning,
                None => settings.ignored.push(name.to_owned()),
            },
            "security_protocol" => self.protocol = protocol(value)?,
            "ssl_cafile" => self.authorities = Some(authorities(value)),
            "ssl_certfile" => self.certificate = Some(text()),
            "ssl_keyfile" => self.key = Some(text()),
            "ssl_password" => self.key_password = Some(text().into()),
            "ssl_check_hostname" => self.check_hostname = Some(check_hostname(name, value)?),
            "ssl.ca.pem" => self.authorities_pem = Some(Pem::text(value)),
            "ssl.certificate.pem" => self.certificate_pem = Some(Pem::text(value).into()),
            "ssl.key.pem" => self.key_pem = Some(Pem::text(value).into()),
            "enable_idempotence" => {
                if !boolean(name, value)? {
                    settings.ignored.push(name.to_owned());
                }
            }
            "acks" => {
                if !all_acknowledge(value)? {
                    settings.ignored.push(name.to_owned());
                }
            }
            "request_timeout_ms" => settings.request_timeout = positive_millis(name, value)?,
            "metadata_max_age_ms" => settings.metadata_max_age = positive_millis(name, value)?,
            "connections_max_idle_ms" => {
                settings.connections_max_idle = positive_millis(name, value)?;
            }
            "allow_auto_create_topics" => {
                settings.allow_auto_create_topics = boolean(name, value)?;
            }
            "linger_ms" => settings.linger = millis(name, value)?,
            "batch_size" => settings.batch_size = size(name, value)?,
            "max_request_size" => settings.max_request_size = size(name, value)?,
            "buffer_memory" => settings.buffer_memory = size(name, value)?,
            "max_block_ms" => settings.max_block = positive_millis(name, value)?,
            "delivery_timeout_ms" => self.delivery_timeout = Some(positive_millis(name, value)?),
            "compression_type" => settings.compression = compression(value)?,
            "isolation_level" => settings.read_committed = read_committed(value)?,
            "max_poll_records" => settings.max_poll_records = count(name, value)?,
            "fetch_max_bytes" => settings.fetch_max_bytes = count(name, value)?,
            "max_partition_fetch_bytes" => {
                settings.max_partition_fetch_bytes = count(name, value)?;
            }
            "fetch_max_wait_ms" => settings.fetch_max_wait = millis(name, value)?,
            "session_timeout_ms" => settings.session_timeout = positive_millis(name, value)?,
            "heartbeat_interval_ms" => {
                settings.heartbeat_interval = positive_millis(name, value)?;
            }
            "max_poll_interval_ms" => settings.max_poll_interval = positive_millis(name, value)?,
            _ => {
                if !self.sasl.set(setting, value)? {
                    return Err(names::unknown(name));
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<ClientSettings, BackendError> {
        if self.settings.bootstrap_servers.is_empty() {
            return Err(invalid("`bootstrap_servers` is required"));
        }
        let settings = &mut self.settings;
        let least = settings.linger + settings.request_timeout;
        settings.delivery_timeout = match self.delivery_timeout {
            Some(given) if given < least => {
                return Err(invalid(
                    "`delivery_timeout_ms` must be at least the sum of `linger_ms` and `request_timeout_ms`",
                ));
            }
            Some(given) => given,
            None => settings.delivery_timeout.max(least),
        };
        if settings.heartbeat_interval >= settings.session_timeout {
            return Err(invalid(
                "`heartbeat_interval_ms` must be less than `session_timeout_ms`",
            ));
        }
        self.settings.tls = self.tls()?;
        self.settings.sasl = self.sasl()?;
        Ok(self.settings)
    }

    fn tls(&mut self) -> Result<Option<Tls>, BackendError> {
        if !self.protocol.tls {
            self.idle(&[
                ("ssl_cafile", self.authorities.is_some()),
                ("ssl_certfile", self.certificate.is_some()),
                ("ssl_keyfile", self.key.is_some()),
                ("ssl.ca.pem", self.authorities_pem.is_some()),
                ("ssl.certificate.pem", self.certificate_pem.is_some()),
                ("ssl.key.pem", self.key_pem.is_some()),
                ("ssl_password", self.key_password.is_some()),
                ("ssl_check_hostname", self.check_hostname.is_some()),
            ]);
            return Ok(None);
        }
        let certificate = one_of(
            ("ssl_certfile", self.certificate.take()),
            ("ssl.certificate.pem", self.certificate_pem.take()),
        )?;
        let key = one_of(
            ("ssl_keyfile", self.key.take()),
            ("ssl.key.pem", self.key_pem.take()),
        )?;
        let certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(ClientCertificate {
                certificate,
                key,
                password: self.key_password.take(),
            }),
            (Some(_), None) => {
                return Err(invalid(
                    "`ssl_keyfile` or `ssl.key.pem` is required with a client certificate",
                ));
            }
            (None, key) => {
                self.idle(&[
                    ("ssl_keyfile", matches!(key, Some(Pem::File(_)))),
                    ("ssl.key.pem", matches!(key, Some(Pem::Text(_)))),
                    ("ssl_password", self.key_password.is_some()),
                ]);
                None
            }
        };
        let authorities = match (self.authorities.take(), self.authorities_pem.take()) {
            (Some(_), Some(_)) => return Err(both("ssl_cafile", "ssl.ca.pem")),
            (Some(authorities), None) => authorities,
            (None, Some(pem)) => Authorities::Pem(pem),
            (None, None) => Authorities::Public,
        };
        Ok(Some(Tls {
            authorities,
            certificate,
            check_hostname: self.check_hostname.unwrap_or(true),
        }))
    }

    fn sasl(&mut self) -> Result<Option<Sasl>, BackendError> {
        let given = std::mem::take(&mut self.sasl);
        let (sasl, idle) = if self.protocol.sasl {
            let servers = &self.settings.bootstrap_servers;
            let (sasl, idle) = given.finish(servers, self.protocol.tls)?;
            (Some(sasl), idle)
        } else {
            (None, given.names())
        };
        let idle = idle.into_iter().map(str::to_owned);
        self.settings.ignored.extend(idle);
        Ok(sasl)
    }

    /// Records which of these settings are given but have no effect in combination with the others.
    ///
    /// Such settings are not an error: the peers write `ssl_cafile` into the configuration of each node, even if the
    /// node does not use TLS.
    fn idle(&mut self, settings: &[(&str, bool)]) {
        let given = settings.iter().filter(|(_, is_given)| *is_given);
        let names = given.map(|(name, _)| (*name).to_owned());
        self.settings.ignored.extend(names);
    }
}
