//! A connection to the cluster, with TLS and SASL.

use std::fs;
use std::io;
use std::time::Duration;

use kc_core::backend::{
    AdvertisedBroker, Authorities, BackendError, BackendErrorKind, ClientSettings, Compression,
    Pem, Tls, unsupported,
};
use krafka::Kafka;
use krafka::auth::{AuthConfig, TlsConfig};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use zeroize::Zeroizing;

use crate::NAME;
use crate::authentication::credentials;
use crate::error::failed;

/// The maximum time to establish one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the cluster. The text of an error contains `role`, the name of the client that connects. If
/// `auto_create` is set, a broker may create a missing topic when the metadata of the topic are requested.
pub(crate) async fn connect(
    settings: &ClientSettings,
    role: &str,
    auto_create: bool,
) -> Result<Kafka, BackendError> {
    let context = || format!("connect {role} to {}", settings.bootstrap_servers);
    let mut builder = Kafka::builder(&settings.bootstrap_servers)
        .client_id(&settings.client_id)
        .request_timeout(settings.request_timeout)
        .connect_timeout(settings.request_timeout.min(CONNECT_TIMEOUT))
        .metadata_max_age(settings.metadata_max_age)
        .connections_max_idle(Some(settings.connections_max_idle))
        .allow_auto_create_topics(auto_create);
    if let Some(security) = security(settings)? {
        builder = builder.security(security);
    }
    let kafka = match tokio::time::timeout(settings.request_timeout, builder.connect()).await {
        Ok(Ok(kafka)) => kafka,
        Ok(Err(error)) => {
            let error = failed(context(), error);
            if error.kind() == BackendErrorKind::Timeout {
                return Err(unreachable_brokers(context()).with_source(error));
            }
            return Err(error);
        }
        Err(elapsed) => return Err(unreachable_brokers(context()).with_source(elapsed)),
    };
    probe(&kafka, settings, context).await?;
    Ok(kafka)
}

/// Returns an error if the client can reach none of the addresses that the brokers advertise.
async fn probe(
    kafka: &Kafka,
    settings: &ClientSettings,
    context: impl Fn() -> String,
) -> Result<(), BackendError> {
    let known = async {
        let consumer = kafka.consumer_without_group().build().await?;
        consumer.fetch_metadata(None).await
    };
    let known = known.await.map_err(|error| failed(context(), error))?;
    let brokers = known.brokers.iter();
    let brokers = brokers.map(|it| AdvertisedBroker::new(it.id(), it.host(), it.port()));
    let brokers = AdvertisedBroker::to_probe(brokers.collect(), &settings.bootstrap_servers);
    let mut attempts = JoinSet::new();
    for broker in brokers {
        attempts.spawn(async move {
            let connecting = TcpStream::connect(broker.address());
            match tokio::time::timeout(AdvertisedBroker::TIMEOUT, connecting).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err((broker, error)),
                Err(_) => Err((broker, io::ErrorKind::TimedOut.into())),
            }
        });
    }
    let mut failures = Vec::new();
    while let Some(Ok(attempt)) = attempts.join_next().await {
        match attempt {
            Ok(()) => return Ok(()),
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(AdvertisedBroker::unreachable(context(), &failures))
}

fn unreachable_brokers(context: String) -> BackendError {
    BackendError::new(BackendErrorKind::Unreachable, context)
}

/// Returns an error for settings that this backend does not support.
pub(crate) fn check(settings: &ClientSettings) -> Result<(), BackendError> {
    settings.refuse_librdkafka(NAME)?;
    if let Some(tls) = &settings.tls
        && !tls.check_hostname
    {
        return Err(unsupported(
            NAME,
            "the value false of `ssl_check_hostname`",
            "use the backend rdkafka",
        ));
    }
    compression(settings.compression).map(drop)
}

pub(crate) fn compression(compression: Compression) -> Result<krafka::Compression, BackendError> {
    Ok(match compression {
        Compression::None => krafka::Compression::None,
        Compression::Gzip => krafka::Compression::Gzip,
        Compression::Snappy => krafka::Compression::Snappy,
        Compression::Lz4 => krafka::Compression::Lz4,
        other => {
            return Err(unsupported(
                NAME,
                format!("the value {} of `compression_type`", other.name()),
                "use none, gzip, snappy or lz4",
            ));
        }
    })
}

/// Returns the TLS and SASL settings; `None` for plaintext without authentication.
pub(crate) fn security(settings: &ClientSettings) -> Result<Option<AuthConfig>, BackendError> {
    let tls = settings.tls.as_ref().map(tls_config).transpose()?;
    let sasl = settings.sasl.as_ref().map(credentials).transpose()?;
    Ok(match (sasl, tls) {
        (Some(sasl), Some(tls)) => Some(sasl.with_tls(tls)),
        (sasl, None) => sasl,
        (None, Some(tls)) => Some(AuthConfig::ssl(tls)),
    })
}

fn tls_config(tls: &Tls) -> Result<TlsConfig, BackendError> {
    let mut config = match &tls.authorities {
        Authorities::File(file) => TlsConfig::new().with_ca_cert(file),
        Authorities::Pem(pem) => TlsConfig::new().with_ca_cert_pem(pem.as_bytes()),
        Authorities::System => TlsConfig::new().with_native_roots(),
        _ => TlsConfig::new(),
    };
    if let Some(client) = &tls.certificate {
        config = match (&client.certificate, &client.key) {
            (Pem::File(certificate), Pem::File(key)) => config.with_client_cert(certificate, key),
            (certificate, key) => config.with_client_cert_pem(
                read("ssl_certfile", certificate)?.to_vec(),
                read("ssl_keyfile", key)?,
            ),
        };
        if let Some(password) = &client.password {
            config = config.with_client_key_password(password.expose());
        }
    }
    Ok(config)
}

/// Returns a PEM document. An error names the setting of the file.
fn read(setting: &str, pem: &Pem) -> Result<Zeroizing<Vec<u8>>, BackendError> {
    match pem {
        Pem::File(path) => fs::read(path).map(Zeroizing::new).map_err(|error| {
            let context = format!("`{setting}`: cannot read {path}");
            BackendError::new(BackendErrorKind::Configuration, context).with_source(error)
        }),
        Pem::Text(text) => Ok(Zeroizing::new(text.expose().as_bytes().to_vec())),
        _ => Err(unsupported(
            NAME,
            format!("the form of `{setting}`"),
            "use a file",
        )),
    }
}

#[cfg(test)]
mod tests {
    use kc_core::backend::{BackendErrorKind, ClientSettings};
    use krafka::auth::{SaslMechanism, SecurityProtocol};

    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> ClientSettings {
        let servers = [("bootstrap_servers", "a:1")];
        ClientSettings::parse(servers.iter().chain(pairs).copied()).unwrap()
    }

    #[test]
    fn files_and_users_reach_krafka() {
        assert!(security(&settings(&[])).unwrap().is_none());
        let both = security(&settings(&[
            ("security_protocol", "SASL_SSL"),
            ("ssl_cafile", "ca.pem"),
            ("ssl_certfile", "c.pem"),
            ("ssl_keyfile", "k.pem"),
            ("sasl_mechanism", "SCRAM-SHA-256"),
            ("sasl_plain_username", "alice"),
            ("sasl_plain_password", "hush"),
        ]))
        .unwrap()
        .unwrap();
        assert_eq!(both.security_protocol(), &SecurityProtocol::SaslSsl);
        assert_eq!(both.sasl_mechanism(), Some(&SaslMechanism::ScramSha256));
        let tls = both.tls_config().unwrap();
        assert_eq!(tls.ca_cert_path(), Some("ca.pem"));
        assert_eq!(tls.client_cert_path(), Some("c.pem"));
        assert_eq!(tls.client_key_path(), Some("k.pem"));
        assert!(tls.verify_server_cert() && !tls.use_native_roots());

        let system = [("security_protocol", "SSL"), ("ssl_cafile", "<SYSTEM-CA>")];
        let system = security(&settings(&system)).unwrap().unwrap();
        assert!(system.tls_config().unwrap().use_native_roots());
    }

    #[test]
    fn what_krafka_cannot_do_is_refused_by_name() {
        for (pairs, name) in [
            (&[("compression_type", "zstd")][..], "`compression_type`"),
            (
                &[
                    ("security_protocol", "SSL"),
                    ("ssl_check_hostname", "false"),
                ],
                "`ssl_check_hostname`",
            ),
            (
                &[
                    ("security_protocol", "SSL"),
                    ("ssl.crl.location", "crl.pem"),
                ],
                "`ssl.crl.location`",
            ),
        ] {
            let error = check(&settings(pairs)).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Unsupported);
            assert!(error.to_string().contains(name), "{error}");
        }
        check(&settings(&[("socket.keepalive.enable", "true")])).unwrap();
    }
}
