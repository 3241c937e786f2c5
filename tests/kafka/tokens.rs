//! Tokens of OAUTHBEARER over time: sessions that end, tokens that have expired, and an identity provider that refuses the
//! client.

use std::fs;
use std::time::{Duration, Instant};

use kc::core::backend::{OutgoingRecord, TopicSpec};
use kc::{BackendChoice, BackendErrorKind};
use kc_testkit::kafka::{Kafka, Listener, Version};
use libtest_mimic::Trial;

use crate::backends::{FULL, backend};
use crate::brokers::shared;
use crate::clients::DEADLINE;
use crate::identity::{self, CLIENT_ID};
use crate::trial;

/// The maximum time of a session between a client and the broker. A client must authenticate again before it ends.
const SESSION: Duration = Duration::from_secs(2);
/// The maximum time of a refusal.
const AT_ONCE: Duration = Duration::from_secs(5);

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for choice in FULL {
        let name = format!("tokens::{choice}::a session that ends");
        trials.push(trial(name, move || outlive_sessions(choice)));
        let name = format!("tokens::{choice}::a token that has expired");
        trials.push(trial(name, move || expired(choice)));
    }
    trials.push(trial("tokens::pure::a wrong client secret", wrong_secret));
    trials
}

/// Sends records for the time of several sessions. All of them are delivered.
async fn outlive_sessions(choice: BackendChoice) {
    let limit = SESSION.as_millis().to_string();
    let kafka = Kafka::builder(Version::V4)
        .sasl()
        .property("connections.max.reauth.ms", limit);
    let kafka = kafka.start().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, identity::token()).unwrap();
    let address = kafka.address(Listener::SaslPlaintext);
    let connect = |choice| {
        let settings = [
            ("bootstrap_servers", address.as_str()),
            ("security_protocol", "SASL_PLAINTEXT"),
            ("sasl_mechanism", "OAUTHBEARER"),
            ("sasl_oauth_token_file", file.path().to_str().unwrap()),
        ];
        backend(choice, settings).unwrap()
    };
    let spec = TopicSpec::data("sessions", 1);
    let by = connect(BackendChoice::Pure).admin().await.unwrap();
    by.create_topic(&spec, DEADLINE).await.unwrap();
    by.close().await;
    let backend = connect(choice);
    let admin = backend.admin().await.unwrap();
    let error = admin.create_topic(&spec, AT_ONCE).await.unwrap_err();
    let expected = match backend.capabilities().topic_creation {
        true => BackendErrorKind::TopicExists,
        false => BackendErrorKind::Unsupported,
    };
    assert_eq!(error.kind(), expected);
    let producer = backend.producer().await.unwrap();
    let since = Instant::now();
    while since.elapsed() < SESSION * 4 {
        let record = OutgoingRecord {
            topic: "sessions".into(),
            value: Some(b"on and on".to_vec()),
            ..OutgoingRecord::default()
        };
        producer.enqueue(record).await.unwrap().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    producer.close(DEADLINE).await.unwrap();
    let found = admin.partitions("sessions", false, DEADLINE).await;
    assert_eq!(found.unwrap(), Some(1));
    admin.close().await;
}

async fn expired(choice: BackendChoice) {
    let broker = shared(Version::V4);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, identity::token_until(-60)).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    refused(
        choice,
        broker.settings(Listener::SaslSsl),
        &[("sasl_oauth_token_file", path)],
    )
    .await;
}

async fn wrong_secret() {
    let broker = shared(Version::V4);
    let port = identity::serve(&broker.certificates).await.port();
    let authority = broker.certificates.ca.to_str().unwrap().to_owned();
    refused(
        BackendChoice::Pure,
        broker.settings(Listener::SaslSsl),
        &[
            (
                "sasl_oauth_token_endpoint",
                format!("https://localhost:{port}/token"),
            ),
            ("sasl_oauth_client_id", CLIENT_ID.to_owned()),
            ("sasl_oauth_client_secret", "wrong".to_owned()),
            ("sasl_oauth_cafile", authority),
        ],
    )
    .await;
}

/// Checks that connecting fails at once, because the authentication is refused.
async fn refused(
    choice: BackendChoice,
    connection: Vec<(&'static str, String)>,
    more: &[(&'static str, String)],
) {
    let mechanism = ("sasl_mechanism", "OAUTHBEARER".to_owned());
    let settings: Vec<_> = connection
        .into_iter()
        .chain([mechanism])
        .chain(more.iter().cloned())
        .collect();
    let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
    let backend = backend(choice, settings).unwrap();
    let since = Instant::now();
    let error = backend.admin().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Authentication, "{error:?}");
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
}
