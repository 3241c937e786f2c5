use std::time::Duration;

use super::{Authorities, ClientSettings, Compression, Pem, Sasl, SaslMechanism};
use crate::backend::{BackendError, BackendErrorKind};

const SERVERS: (&str, &str) = ("bootstrap_servers", "a:1");

fn refused(pairs: &[(&str, &str)]) -> BackendError {
    let error = ClientSettings::parse(pairs.iter().copied()).unwrap_err();
    assert!(error.is_fatal());
    error
}

fn parsed(pairs: &[(&str, &str)]) -> ClientSettings {
    ClientSettings::parse(pairs.iter().copied()).unwrap()
}

#[test]
fn defaults_are_those_documented() {
    let settings = parsed(&[SERVERS]);
    assert_eq!(settings.batch_size, 524_288);
    assert_eq!(settings.linger, Duration::from_millis(5));
    assert_eq!(settings.max_block, Duration::from_mins(1));
    assert_eq!(settings.client_id, "kc");
    assert!(settings.tls.is_none());
    assert!(settings.sasl.is_none());
    assert!(!settings.allow_auto_create_topics);
}

#[test]
fn servers_get_the_default_port() {
    let settings = parsed(&[("bootstrap_servers", "a, b:1 ,[::1],[::1]:2")]);
    assert_eq!(settings.bootstrap_servers, "a:9092,b:1,[::1]:9092,[::1]:2");
}

#[test]
fn servers_are_required_and_well_formed() {
    assert!(
        refused(&[])
            .to_string()
            .contains("`bootstrap_servers` is required")
    );
    for bad in [
        "a,,b", "a b", ",", "a:b", "a:", "a:0", "a:65536", ":1", "[::1]x",
    ] {
        let error = refused(&[("bootstrap_servers", bad)]);
        assert!(error.to_string().contains("bootstrap_servers"), "{bad}");
    }
}

#[test]
fn an_unknown_name_is_told_with_the_nearest() {
    for (wrong, nearest) in [
        ("max_blocks_ms", "max_block_ms"),
        ("bootstraps.servers", "bootstrap.servers"),
        ("broker.addresses.family", "broker.address.family"),
    ] {
        let error = refused(&[SERVERS, (wrong, "1")]);
        assert_eq!(error.kind(), BackendErrorKind::Configuration);
        assert_eq!(
            error.context(),
            format!("there is no setting `{wrong}`; the most similar name is `{nearest}`")
        );
    }
}

#[test]
fn what_is_not_possible_is_named() {
    for (name, value) in [
        ("security_protocol", "TLS"),
        ("sasl_mechanism", "GSSAPI"),
        ("compression_type", "brotli"),
        ("acks", "2"),
        ("enable_idempotence", "maybe"),
        ("isolation_level", "serializable"),
        ("transactional_id", "t"),
        ("ssl_crlfile", "crl.pem"),
    ] {
        let error = refused(&[SERVERS, (name, value)]);
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
}

#[test]
fn values_out_of_range_are_named() {
    for (name, value) in [
        ("batch_size", "0"),
        ("batch_size", "-1"),
        ("linger.ms", "5ms"),
        ("request_timeout_ms", "0"),
        ("max_poll_records", "3000000000"),
        ("allow_auto_create_topics", "yes"),
        ("ssl_check_hostname", "maybe"),
    ] {
        let error = refused(&[SERVERS, (name, value)]);
        assert_eq!(error.kind(), BackendErrorKind::Configuration);
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
}

#[test]
fn times_that_contradict_each_other_are_named() {
    let error = refused(&[SERVERS, ("delivery_timeout_ms", "30004")]);
    assert!(
        error.to_string().contains("`delivery_timeout_ms`"),
        "{error}"
    );
    // A default gives way: kafka-python's consumers have 305 s for a request.
    let settings = parsed(&[SERVERS, ("request_timeout_ms", "305000")]);
    assert_eq!(settings.delivery_timeout, Duration::from_millis(305_005));
    let error = refused(&[SERVERS, ("heartbeat_interval_ms", "45000")]);
    assert!(
        error.to_string().contains("`heartbeat_interval_ms`"),
        "{error}"
    );
}

#[test]
fn an_empty_value_is_the_default_and_the_last_counts() {
    let settings = parsed(&[
        SERVERS,
        ("linger_ms", "7"),
        ("linger.ms", "9"),
        ("batch_size", ""),
    ]);
    assert_eq!(settings.linger, Duration::from_millis(9));
    assert_eq!(settings.batch_size, 524_288);
}

#[test]
fn tls_has_authorities_and_perhaps_a_certificate() {
    let tls = parsed(&[SERVERS, ("security_protocol", "ssl")])
        .tls
        .unwrap();
    assert_eq!(tls.authorities, Authorities::Public);
    assert!(tls.certificate.is_none() && tls.check_hostname);

    let tls = parsed(&[
        SERVERS,
        ("security.protocol", "SSL"),
        ("ssl.ca.location", "<System-CA>"),
        ("ssl.certificate.location", "c.pem"),
        ("ssl_keyfile", "k.pem"),
        ("ssl_password", "hush"),
        ("ssl.endpoint.identification.algorithm", "none"),
    ])
    .tls
    .unwrap();
    assert_eq!(tls.authorities, Authorities::System);
    assert!(!tls.check_hostname);
    let certificate = tls.certificate.unwrap();
    assert!(matches!(&certificate.certificate, Pem::File(file) if file == "c.pem"));
    assert!(matches!(&certificate.key, Pem::File(file) if file == "k.pem"));
    assert_eq!(certificate.password.unwrap().expose(), "hush");
}

#[test]
fn a_certificate_needs_its_key() {
    let error = refused(&[
        SERVERS,
        ("security_protocol", "ssl"),
        ("ssl_certfile", "c.pem"),
    ]);
    assert!(error.to_string().contains("`ssl_keyfile`"), "{error}");
}

/// The same file may serve several clients: the Python peer writes an `ssl_cafile` into the file of a node without
/// TLS.
#[test]
fn settings_without_effect_are_named_and_nothing_else() {
    let tls = [
        ("ssl_cafile", "ca.pem"),
        ("ssl_certfile", "c.pem"),
        ("ssl_keyfile", "k.pem"),
        ("ssl_password", "hush"),
        ("ssl_check_hostname", "false"),
    ];
    let sasl = [
        ("sasl_mechanism", "PLAIN"),
        ("sasl_plain_username", "alice"),
        ("sasl_plain_password", "hush"),
    ];
    let of = |protocol, pairs: &[(&str, &str)]| {
        let given = [SERVERS, ("security_protocol", protocol)];
        parsed(&[&given, pairs].concat())
    };
    let names =
        |pairs: &[(&str, &str)]| Vec::from_iter(pairs.iter().map(|(name, _)| (*name).to_owned()));

    let settings = of("PLAINTEXT", &[&tls[..], &sasl].concat());
    assert!(settings.tls.is_none() && settings.sasl.is_none());
    assert_eq!(settings.ignored, names(&[&tls[..], &sasl].concat()));
    let settings = of("SSL", &[&tls[..], &sasl].concat());
    assert_eq!(settings.ignored, names(&sasl));
    let settings = of("SASL_PLAINTEXT", &[&tls[..], &sasl].concat());
    assert_eq!(settings.ignored, names(&tls));
    // A key without a certificate.
    let settings = of("SSL", &tls[2..4]);
    assert_eq!(settings.ignored, ["ssl_keyfile", "ssl_password"]);
    assert!(settings.tls.unwrap().certificate.is_none());
}

#[test]
fn sasl_has_a_mechanism_a_user_and_a_password() {
    let all = [
        SERVERS,
        ("security_protocol", "SASL_SSL"),
        ("sasl_mechanism", "scram-sha-512"),
        ("sasl_plain_username", "alice"),
        ("sasl_plain_password", "hush"),
    ];
    let settings = parsed(&all);
    assert!(settings.tls.is_some());
    let sasl = settings.sasl.as_ref().unwrap();
    assert_eq!(sasl.mechanism(), SaslMechanism::ScramSha512);
    let Sasl::Password {
        username, password, ..
    } = sasl
    else {
        panic!("{sasl:?}");
    };
    assert_eq!(username, "alice");
    assert_eq!(password.expose(), "hush");
    assert!(!format!("{settings:?}").contains("hush"));

    for missing in 2..all.len() {
        let mut pairs = all.to_vec();
        let (name, _) = pairs.remove(missing);
        let error = refused(&pairs);
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
}

#[test]
fn a_group_has_a_name_and_a_start() {
    let settings = parsed(&[SERVERS]);
    assert!(settings.group_id.is_none() && !settings.from_beginning);
    let settings = parsed(&[
        SERVERS,
        ("group.id", "g"),
        ("auto.offset.reset", "smallest"),
    ]);
    assert_eq!(settings.group_id.as_deref(), Some("g"));
    assert!(settings.from_beginning && settings.ignored.is_empty());
    assert!(!parsed(&[SERVERS, ("auto_offset_reset", "latest")]).from_beginning);
    let error = refused(&[SERVERS, ("auto_offset_reset", "soon")]);
    assert!(error.to_string().contains("`auto_offset_reset`"), "{error}");
}

#[test]
fn what_others_have_is_kept_or_ignored_by_name() {
    let settings = parsed(&[
        SERVERS,
        ("retries", "9"),
        ("auto_offset_reset", "none"),
        ("broker.address.family", "v4"),
        ("broker.address.family", "v6"),
        ("compression.codec", "zstd"),
    ]);
    assert_eq!(settings.ignored, ["retries", "auto_offset_reset"]);
    let kept = ("broker.address.family".to_owned(), "v6".to_owned());
    assert_eq!(settings.librdkafka, [kept]);
    assert_eq!(settings.compression, Compression::Zstd);
    settings.refuse_librdkafka("pure").unwrap();
    let names = |has_librdkafka| Vec::from_iter(settings.without_effect(has_librdkafka));
    assert_eq!(names(true), ["retries", "auto_offset_reset"]);
    assert_eq!(
        names(false),
        ["retries", "auto_offset_reset", "broker.address.family"]
    );

    let settings = parsed(&[SERVERS, ("acks", "1"), ("enable_idempotence", "false")]);
    assert_eq!(settings.ignored, ["acks", "enable_idempotence"]);
}

#[test]
fn whom_tls_trusts_is_never_passed_over() {
    let crl = ("ssl.crl.location", "crl.pem");
    let settings = parsed(&[SERVERS, ("security_protocol", "SSL"), crl]);
    let error = settings.refuse_librdkafka("pure").unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Unsupported);
    let text = "the backend pure: the setting `ssl.crl.location`: not supported";
    assert_eq!(error.to_string(), text);
    assert_eq!(error.advice(), Some("use the backend rdkafka"));
    parsed(&[SERVERS, crl]).refuse_librdkafka("pure").unwrap();
}

#[test]
fn pem_texts_stand_for_files() {
    const TLS: (&str, &str) = ("security_protocol", "SSL");
    let tls = parsed(&[
        SERVERS,
        TLS,
        ("ssl.ca.pem", "-----BEGIN\\nX"),
        ("ssl.certificate.pem", "C"),
        ("ssl.key.pem", "K"),
    ])
    .tls
    .unwrap();
    assert_eq!(
        tls.authorities,
        Authorities::Pem("-----BEGIN\nX".to_owned())
    );
    let certificate = tls.certificate.unwrap();
    assert!(matches!(&certificate.key, Pem::Text(key) if key.expose() == "K"));
    assert!(!format!("{certificate:?}").contains('K'), "{certificate:?}");
    let both = refused(&[SERVERS, TLS, ("ssl_cafile", "f"), ("ssl.ca.pem", "X")]);
    assert!(both.to_string().contains("`ssl.ca.pem`"), "{both}");
}
