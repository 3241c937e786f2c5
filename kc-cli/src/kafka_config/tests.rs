use std::fs;
use std::path::PathBuf;

use kc::ClientSettings;

use super::*;

fn data(name: &str) -> String {
    let path = [env!("CARGO_MANIFEST_DIR"), "tests/data", name];
    path.iter()
        .collect::<PathBuf>()
        .to_str()
        .unwrap()
        .to_owned()
}

fn parse(text: &str) -> Result<KafkaConfig, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    KafkaConfig::read(file.path().to_str().unwrap())
}

fn value<'a>(config: &'a KafkaConfig, name: &str) -> Option<&'a str> {
    let mut settings = config.settings.iter();
    let found = settings.find(|(given, _)| given == name);
    found.map(|(_, value)| value.as_str())
}

#[test]
fn what_confluent_cloud_gives_to_paste_is_read() {
    let config = parse(
        "# Required connection configs for Kafka producer, consumer, and admin\n\
         bootstrap.servers=pkc-x.eu-west-1.aws.confluent.cloud:9092\n\
         security.protocol=SASL_SSL\n\
         sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         username='KEY' password='se\\\\'cret=';\n\
         sasl.mechanism=PLAIN\n\
         client.dns.lookup=use_all_dns_ips\n\
         session.timeout.ms=45000\n\
         acks=all\n\
         schema.registry.url=https://psrc-x\n\
         basic.auth.user.info=a:b\n",
    )
    .unwrap();
    assert_eq!(value(&config, "sasl_plain_username"), Some("KEY"));
    assert_eq!(value(&config, "sasl_plain_password"), Some("se'cret="));
    assert_eq!(
        config.ignored,
        ["schema.registry.url", "basic.auth.user.info"]
    );
    assert!(!format!("{config:?}").contains("cret"), "{config:?}");
    ClientSettings::parse(config.settings).unwrap();
}

#[test]
fn what_event_hubs_gives_to_paste_is_read() {
    let config = parse(
        "bootstrap.servers=ns.servicebus.windows.net:9093\nsecurity.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n\
         sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         username=\"$ConnectionString\" \
         password=\"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=k=\";\n",
    )
    .unwrap();
    assert_eq!(
        value(&config, "sasl_plain_username"),
        Some("$ConnectionString")
    );
    let password = value(&config, "sasl_plain_password").unwrap();
    assert!(password.ends_with("SharedAccessKey=k="), "{password}");
}

#[test]
fn an_identity_provider_is_read_from_the_login_module() {
    let config = parse(
        "bootstrap.servers=a:1\nsecurity.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n\
         sasl.oauthbearer.token.endpoint.url=https://idp/token\n\
         sasl.login.callback.handler.class=org.example.Handler\n\
         sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \\\n\
         \tclientId=\"id\" clientSecret=\"s\" extension_logicalCluster=\"lkc-1\" refresh_ms=\"5\";\n",
    )
    .unwrap();
    assert_eq!(value(&config, "sasl_oauth_client_id"), Some("id"));
    assert_eq!(
        value(&config, "sasl_oauth_extensions"),
        Some("logicalCluster=lkc-1")
    );
    let handler = "sasl.login.callback.handler.class";
    assert_eq!(config.ignored, [handler, "refresh_ms of sasl.jaas.config"]);
    ClientSettings::parse(config.settings).unwrap();
}

#[test]
fn java_stores_become_pem_texts() {
    let certificate = fs::read_to_string(data("client.pem")).unwrap();
    let key = fs::read_to_string(data("key.pem")).unwrap();
    let same = |pem: &str, expected: &str| {
        let lines = |text: &str| text.lines().map(str::trim).collect::<String>();
        assert_eq!(lines(pem), lines(expected));
    };
    // Java takes the format from the content, whatever `type` says.
    for (trust, own) in [("trust.jks", "key.p12"), ("trust.p12", "key.jks")] {
        let key_password = if own == "key.jks" {
            "ssl.key.password=keypass\n"
        } else {
            ""
        };
        let config = parse(&format!(
            "bootstrap.servers=a:1\nsecurity.protocol=SSL\n\
             ssl.truststore.location={}\nssl.truststore.password=storepass\nssl.truststore.type=JKS\n\
             ssl.keystore.location={}\nssl.keystore.password=storepass\n{key_password}",
            data(trust),
            data(own)
        ))
        .unwrap();
        same(value(&config, "ssl.ca.pem").unwrap(), &certificate);
        same(value(&config, "ssl.certificate.pem").unwrap(), &certificate);
        same(value(&config, "ssl.key.pem").unwrap(), &key);
        assert_eq!(
            value(&config, "ssl_cafile"),
            Some(""),
            "the node's file has no effect"
        );
        ClientSettings::parse(config.settings).unwrap();
    }
    let without_password = format!("ssl.truststore.location={}\n", data("trust.jks"));
    assert!(parse(&without_password).unwrap().sets("ssl.ca.pem"));
}

#[test]
fn pem_stores_stay_files() {
    let config = parse(
        "ssl.truststore.type=PEM\nssl.truststore.location=/ca.pem\nssl.keystore.type=pem\n\
         ssl.keystore.location=/own.pem\nssl.key.password=p\n",
    )
    .unwrap();
    assert_eq!(value(&config, "ssl_cafile"), Some("/ca.pem"));
    assert_eq!(value(&config, "ssl_keyfile"), Some("/own.pem"));
    assert_eq!(value(&config, "ssl_password"), Some("p"));
}

#[test]
fn java_names_with_dots_are_settings_and_the_last_value_counts() {
    let config = parse("max.poll.records=7\nmax.block.ms = 5\nmax.block.ms: 6\n").unwrap();
    assert_eq!(value(&config, "max_poll_records"), Some("7"));
    assert_eq!(value(&config, "max_block_ms"), Some("6"));
    assert!(config.remark().is_none());
}

#[test]
fn what_is_wrong_is_named_without_passwords() {
    for (text, reason) in [
        ("sasl.jaas.config=x required a=\"b;\n", "quotation mark"),
        ("sasl.jaas.config=x required a=b\n", "semicolon"),
        ("sasl.jaas.config=x required hush;\n", "name=value"),
        ("ssl.truststore.location=/no/such\n", "/no/such"),
        ("a=\\u12\n", "line 1"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(reason) && !error.contains("hush"), "{error}");
    }
    let wrong = format!(
        "ssl.truststore.location={}\nssl.truststore.password=hush\n",
        data("trust.jks")
    );
    let error = parse(&wrong).unwrap_err();
    assert!(
        error.contains("password") && !error.contains("hush"),
        "{error}"
    );
}

#[test]
fn a_damaged_store_is_refused_at_every_length() {
    for name in ["key.jks", "trust.jks", "trust.p12"] {
        let whole = fs::read(data(name)).unwrap();
        for length in (0..whole.len()).step_by(7) {
            let cut = &whole[..length];
            assert!(jks::Entries::parse(cut, None).is_err(), "{name} {length}");
            assert!(KeyStoreFile(cut).is_refused(), "{name} {length}");
        }
    }
}

/// A store whose bytes are damaged.
struct KeyStoreFile<'a>(&'a [u8]);

impl KeyStoreFile<'_> {
    fn is_refused(&self) -> bool {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, self.0).unwrap();
        let path = file.path().to_str().unwrap();
        let text = format!("ssl.truststore.location={path}\nssl.truststore.password=storepass\n");
        parse(&text).is_err()
    }
}
