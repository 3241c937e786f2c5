//! Backends and connections: each combination works, or is refused with a clear error.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, PoisonError};

use kc::core::backend::{
    Backend, BackendErrorKind, LogReader, LogStart, OutgoingRecord, TopicSpec,
};
use kc::{BackendChoice, BackendError};
use kc_testkit::kafka::{Listener, Version};
use libtest_mimic::Trial;

use crate::backends::{self, backend};
use crate::brokers::{Shared, shared};
use crate::clients::DEADLINE;
use crate::{identity, trial};

/// A kind of connection.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    listener: Listener,
    mechanism: Option<&'static str>,
    encrypted_key: bool,
    /// Certificates and keys as texts instead of files.
    pem_texts: bool,
    /// The source of tokens for OAUTHBEARER.
    tokens: Option<Tokens>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tokens {
    File,
    Command,
    Endpoint,
}

const WAYS: [Way; 11] = [
    way("PLAINTEXT", Listener::Plaintext),
    way("TLS, private CA", Listener::Ssl),
    way("mTLS", Listener::Mtls),
    Way {
        encrypted_key: true,
        ..way("mTLS, encrypted key", Listener::Mtls)
    },
    Way {
        pem_texts: true,
        ..way("mTLS, PEM texts", Listener::Mtls)
    },
    Way {
        mechanism: Some("PLAIN"),
        ..way("SASL/PLAIN", Listener::SaslPlaintext)
    },
    Way {
        mechanism: Some("SCRAM-SHA-256"),
        ..way("SCRAM-SHA-256", Listener::SaslPlaintext)
    },
    Way {
        mechanism: Some("SCRAM-SHA-512"),
        ..way("SCRAM-SHA-512 over TLS", Listener::SaslSsl)
    },
    bearer("OAUTHBEARER, file", Tokens::File),
    bearer("OAUTHBEARER, command", Tokens::Command),
    bearer("OAUTHBEARER, endpoint", Tokens::Endpoint),
];

const fn bearer(name: &'static str, tokens: Tokens) -> Way {
    Way {
        mechanism: Some("OAUTHBEARER"),
        tokens: Some(tokens),
        ..way(name, Listener::SaslSsl)
    }
}

const fn way(name: &'static str, listener: Listener) -> Way {
    Way {
        name,
        listener,
        mechanism: None,
        encrypted_key: false,
        pem_texts: false,
        tokens: None,
    }
}

/// The result of each combination.
static TABLE: Mutex<BTreeMap<(String, usize), &'static str>> = Mutex::new(BTreeMap::new());

pub(crate) fn trials() -> Vec<Trial> {
    let all = backends::ALL.into_iter();
    let each = all.flat_map(|under_test| {
        WAYS.into_iter()
            .enumerate()
            .map(move |way| (under_test, way))
    });
    each.map(|((choice, version), (column, way))| {
        let name = format!("security::{choice}_on_{version}::{}", way.name);
        trial(name, move || run(choice, version, column, way))
    })
    .collect()
}

async fn run(choice: BackendChoice, version: Version, column: usize, way: Way) {
    let settings = way.settings(shared(version)).await;
    let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
    let row = format!("{choice} on {version}");
    let outcome = match backend(choice, settings) {
        Ok(backend) => {
            let topic = format!("security-{choice}-{column}");
            assert!(way.is_supported(choice));
            create(version, &topic).await;
            there_and_back(&*backend, &topic).await.unwrap();
            "works"
        }
        Err(error) => {
            assert_eq!(error.kind(), BackendErrorKind::Unsupported, "{error}");
            assert!(!way.is_supported(choice), "{error}");
            "refused"
        }
    };
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    table.insert((row, column), outcome);
}

impl Way {
    fn is_supported(self, choice: BackendChoice) -> bool {
        match choice {
            BackendChoice::Legacy => self.name == "PLAINTEXT",
            BackendChoice::Rdkafka => {
                !matches!(self.tokens, Some(Tokens::Command | Tokens::Endpoint))
            }
            _ => true,
        }
    }

    async fn settings(self, broker: &Shared) -> Vec<(&'static str, String)> {
        let mut settings = broker.settings(self.listener);
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        if let Some(mechanism) = self.mechanism {
            settings.push(("sasl_mechanism", mechanism.to_owned()));
        }
        if self.encrypted_key {
            let certificates = &broker.certificates;
            settings.push(("ssl_keyfile", path(&certificates.encrypted_client_key)));
            let password = certificates.client_key_password.to_owned();
            settings.push(("ssl_password", password));
        }
        if self.pem_texts {
            for (file, text) in [
                ("ssl_cafile", "ssl.ca.pem"),
                ("ssl_certfile", "ssl.certificate.pem"),
                ("ssl_keyfile", "ssl.key.pem"),
            ] {
                let at = settings.iter().position(|(name, _)| *name == file).unwrap();
                let (_, path) = settings.remove(at);
                settings.push((text, fs::read_to_string(path).unwrap()));
            }
        }
        match self.tokens {
            None => {}
            Some(Tokens::File) => {
                // Removed with the other files of the broker.
                let folder = broker.certificates.ca.parent().unwrap();
                let file = tempfile::NamedTempFile::new_in(folder).unwrap();
                let (_, file) = file.keep().unwrap();
                fs::write(&file, identity::token()).unwrap();
                settings.push(("sasl_oauth_token_file", path(&file)));
            }
            Some(Tokens::Command) => {
                let command = format!("echo {}", identity::token());
                settings.push(("sasl_oauth_token_command", command));
            }
            Some(Tokens::Endpoint) => {
                let port = identity::serve(&broker.certificates).await.port();
                let endpoint = format!("https://localhost:{port}/token");
                settings.extend([
                    ("sasl_oauth_token_endpoint", endpoint),
                    ("sasl_oauth_client_id", identity::CLIENT_ID.to_owned()),
                    (
                        "sasl_oauth_client_secret",
                        identity::CLIENT_SECRET.to_owned(),
                    ),
                    ("sasl_oauth_cafile", path(&broker.certificates.ca)),
                ]);
            }
        }
        settings
    }
}

/// Creates a topic with a backend that supports all connections.
async fn create(version: Version, topic: &str) {
    let address = shared(version).address(Listener::Plaintext);
    let backend = backend(BackendChoice::Pure, [("bootstrap_servers", &*address)]).unwrap();
    let spec = TopicSpec::data(topic, 1);
    let admin = backend.admin().await.unwrap();
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    admin.close().await;
}

/// Sends one record and reads it.
pub(crate) async fn there_and_back(backend: &dyn Backend, topic: &str) -> Result<(), BackendError> {
    let producer = backend.producer().await?;
    let record = OutgoingRecord {
        topic: topic.to_owned(),
        partition: Some(0),
        value: Some(b"there and back".to_vec()),
        ..OutgoingRecord::default()
    };
    producer.enqueue(record.clone()).await?.await?;
    producer.close(DEADLINE).await?;
    let mut reader = backend.log_reader(None).await?;
    reader
        .assign(&[(topic.to_owned(), LogStart::Earliest)])
        .await?;
    let read = tokio::time::timeout(DEADLINE, one(&mut *reader)).await;
    assert_eq!(read.unwrap()?, record.value);
    reader.close().await;
    Ok(())
}

async fn one(reader: &mut dyn LogReader) -> Result<Option<Vec<u8>>, BackendError> {
    loop {
        let wait = std::time::Duration::from_millis(200);
        if let Some(record) = reader.poll(wait).await?.pop() {
            return Ok(record.value.map(Vec::from));
        }
    }
}

/// Prints the results as a table.
pub(crate) fn print_table() {
    let table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    if table.is_empty() {
        return;
    }
    let names = WAYS.map(|way| way.name);
    println!("| backend | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    let mut rows: Vec<&String> = table.keys().map(|(row, _)| row).collect();
    rows.dedup();
    for row in rows {
        let cell = |column| table.get(&(row.clone(), column)).copied().unwrap_or("");
        let cells: Vec<_> = (0..names.len()).map(cell).collect();
        println!("| {row} | {} |", cells.join(" | "));
    }
}
