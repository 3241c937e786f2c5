//! Mistakes that only an operator can correct are reported at once and by name, in every role.

use std::time::{Duration, Instant};

use kc::core::backend::BackendErrorKind;
use kc::core::backend::{GroupStart, OutgoingRecord, Subscription};
use kc::{BackendChoice, BackendError};
use kc_testkit::kafka::{Listener, Version};
use krafka::admin::{CreateTopicsOptions, NewTopic};
use libtest_mimic::Trial;

use crate::backends::{FULL, backend};
use crate::brokers::{Shared, shared};
use crate::trial;

/// The maximum time of a refusal.
const AT_ONCE: Duration = Duration::from_secs(5);

type Settings = Vec<(&'static str, String)>;

/// A mistake: its name, the wrong settings, and the expected kind of error.
struct Mistake(&'static str, fn(&Shared) -> Settings, BackendErrorKind);

const MISTAKES: [Mistake; 9] = [
    Mistake("a wrong authority", wrong_authority, BackendErrorKind::Tls),
    Mistake(
        "public authorities",
        public_authorities,
        BackendErrorKind::Tls,
    ),
    Mistake("a wrong host name", wrong_host, BackendErrorKind::Tls),
    Mistake("TLS to a plain port", tls_to_plain, BackendErrorKind::Tls),
    Mistake("plain to a TLS port", plain_to_tls, BackendErrorKind::Tls),
    Mistake(
        "no client certificate",
        no_certificate,
        BackendErrorKind::Tls,
    ),
    Mistake(
        "a wrong password",
        |broker| wrong_password(broker, "PLAIN"),
        BackendErrorKind::Authentication,
    ),
    Mistake(
        "a wrong password by SCRAM",
        |broker| wrong_password(broker, "SCRAM-SHA-512"),
        BackendErrorKind::Authentication,
    ),
    Mistake(
        "a wrong key password",
        wrong_key_password,
        BackendErrorKind::Configuration,
    ),
];

pub(crate) fn trials() -> Vec<Trial> {
    let each = FULL.into_iter().flat_map(|choice| {
        let mistakes = MISTAKES.iter();
        mistakes.map(move |mistake| (choice, mistake))
    });
    let mistakes = each.map(|(choice, mistake)| {
        let name = format!("refusals::{choice}::{}", mistake.0);
        trial(name, move || refused(choice, mistake))
    });
    let late = FULL.into_iter().map(|choice| {
        let name = format!("refusals::{choice}::records of the past");
        trial(name, move || late(choice))
    });
    mistakes.chain(late).collect()
}

/// Sends a batch of records to a topic that takes no record of the past. Each record is refused, with advice that names
/// the clocks.
async fn late(choice: BackendChoice) {
    let broker = shared(Version::V4);
    let connected = krafka::Kafka::builder(broker.address(Listener::Plaintext)).connect();
    let admin = connected.await.unwrap().admin();
    let topic = format!("late-{choice}");
    let spec = NewTopic::new(&topic, 1, 1).unwrap();
    let spec = spec.with_config("message.timestamp.before.max.ms", "0");
    let created = admin.create_topics([spec], CreateTopicsOptions::default());
    for (name, created) in created.await.unwrap() {
        created.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let settings = broker.settings(Listener::Plaintext);
    let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
    // The records wait for each other, and are late when the batch is sent.
    let settings = settings.chain([("linger_ms", "100")]);
    let producer = backend(choice, settings).unwrap().producer().await.unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..20 {
        let record = OutgoingRecord {
            topic: topic.clone(),
            value: Some(b"late".to_vec()),
            ..OutgoingRecord::default()
        };
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    for delivery in deliveries {
        let error = kc::Error::from(delivery.await.unwrap_err());
        let text = format!("{error:?}");
        assert!(text.contains("clock"), "{text}");
    }
    // Closing reports records that were not delivered.
    producer.close(AT_ONCE).await.unwrap_err();
}

async fn refused(choice: BackendChoice, Mistake(_, settings, kind): &Mistake) {
    let settings = settings(shared(Version::V4));
    let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
    let backend = backend(choice, settings).unwrap();
    let topics = Subscription::to(["t"]);
    let check = |role: &str, result: Result<(), BackendError>, since: Instant| {
        let took = since.elapsed();
        let error = result.expect_err(role);
        assert_eq!(error.kind(), *kind, "{role}: {error:?}");
        assert!(
            error.is_fatal() && !error.is_retriable(),
            "{role}: {error:?}"
        );
        assert!(took < AT_ONCE, "{role}: {took:?}");
    };
    let since = Instant::now();
    check("admin", backend.admin().await.map(drop), since);
    let since = Instant::now();
    check("producer", backend.producer().await.map(drop), since);
    let since = Instant::now();
    check(
        "log reader",
        backend.log_reader(None).await.map(drop),
        since,
    );
    let since = Instant::now();
    let member = backend.group_consumer("g", &topics, GroupStart::Latest);
    check("group consumer", member.await.map(drop), since);
}

fn wrong_authority(broker: &Shared) -> Settings {
    let stranger = broker.certificates.stranger_ca.to_str().unwrap().to_owned();
    with(broker.settings(Listener::Ssl), "ssl_cafile", stranger)
}

fn public_authorities(broker: &Shared) -> Settings {
    with(
        broker.settings(Listener::Ssl),
        "ssl_cafile",
        "<SYSTEM-CA>".to_owned(),
    )
}

/// The certificate is for `localhost`.
fn wrong_host(broker: &Shared) -> Settings {
    let address = broker.address(Listener::Ssl);
    let address = address.replace("localhost", "127.0.0.1");
    with(broker.settings(Listener::Ssl), "bootstrap_servers", address)
}

fn tls_to_plain(broker: &Shared) -> Settings {
    let address = broker.address(Listener::Plaintext);
    with(broker.settings(Listener::Ssl), "bootstrap_servers", address)
}

fn plain_to_tls(broker: &Shared) -> Settings {
    let address = broker.address(Listener::Ssl);
    with(
        broker.settings(Listener::Plaintext),
        "bootstrap_servers",
        address,
    )
}

fn no_certificate(broker: &Shared) -> Settings {
    let address = broker.address(Listener::Mtls);
    with(broker.settings(Listener::Ssl), "bootstrap_servers", address)
}

fn wrong_password(broker: &Shared, mechanism: &str) -> Settings {
    let settings = broker.settings(Listener::SaslSsl);
    let settings = with(settings, "sasl_plain_password", "wrong".to_owned());
    with(settings, "sasl_mechanism", mechanism.to_owned())
}

fn wrong_key_password(broker: &Shared) -> Settings {
    let key = broker.certificates.encrypted_client_key.to_str().unwrap();
    let settings = with(
        broker.settings(Listener::Mtls),
        "ssl_keyfile",
        key.to_owned(),
    );
    with(settings, "ssl_password", "wrong".to_owned())
}

/// Of a name given twice the last counts.
fn with(mut settings: Settings, name: &'static str, value: String) -> Settings {
    settings.push((name, value));
    settings
}
