use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind};

use super::Settings;

const SERVERS: (&str, &str) = ("bootstrap_servers", "a:1");

fn refused(pairs: &[(&str, &str)]) -> BackendError {
    let error = Settings::parse(pairs.iter().copied()).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Configuration);
    assert!(error.is_fatal());
    error
}

#[test]
fn defaults_are_those_documented() {
    let settings = Settings::parse([SERVERS]).unwrap();
    assert_eq!(settings.batch_size, 524_288);
    assert_eq!(settings.linger, Duration::from_millis(5));
    assert_eq!(settings.max_block, Duration::from_mins(1));
    assert_eq!(settings.client_id, "kc");
    assert!(settings.security().is_none());
    assert!(!settings.allow_auto_create_topics);
}

#[test]
fn servers_get_the_default_port() {
    let settings = Settings::parse([("bootstrap_servers", "a, b:1 ,[::1],[::1]:2")]).unwrap();
    assert_eq!(
        settings.bootstrap_servers(),
        "a:9092,b:1,[::1]:9092,[::1]:2"
    );
}

#[test]
fn servers_are_required_and_well_formed() {
    assert!(
        refused(&[])
            .to_string()
            .contains("`bootstrap_servers` is required")
    );
    for bad in ["a,,b", "a b", ","] {
        let error = refused(&[("bootstrap_servers", bad)]);
        assert!(error.to_string().contains("bootstrap_servers"), "{bad}");
    }
}

#[test]
fn an_unknown_name_is_told_with_the_nearest() {
    let error = refused(&[SERVERS, ("max_blok_ms", "1")]);
    assert_eq!(
        error.context(),
        "there is no setting `max_blok_ms`; the nearest is `max_block_ms`"
    );
}

#[test]
fn what_is_not_supported_is_named() {
    for (name, value) in [
        ("sasl_mechanism", "PLAIN"),
        ("security_protocol", "SASL_SSL"),
        ("security_protocol", "TLS"),
        ("compression_type", "zstd"),
        ("acks", "1"),
        ("enable_idempotence", "false"),
        ("ssl_check_hostname", "False"),
        ("group_id", "x"),
    ] {
        let error = refused(&[SERVERS, (name, value)]);
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        assert!(error.to_string().contains("not supported"), "{error}");
    }
}

#[test]
fn values_out_of_range_are_named() {
    for (name, value) in [
        ("batch_size", "0"),
        ("batch_size", "-1"),
        ("linger_ms", "5ms"),
        ("request_timeout_ms", "0"),
        ("max_poll_records", "3000000000"),
        ("allow_auto_create_topics", "yes"),
    ] {
        let error = refused(&[SERVERS, (name, value)]);
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
    let error = refused(&[SERVERS, ("heartbeat_interval_ms", "45000")]);
    assert!(
        error.to_string().contains("`heartbeat_interval_ms`"),
        "{error}"
    );
}

#[test]
fn an_empty_value_is_the_default_and_the_last_counts() {
    let settings = Settings::parse([
        SERVERS,
        ("linger_ms", "7"),
        ("linger_ms", "9"),
        ("batch_size", ""),
    ])
    .unwrap();
    assert_eq!(settings.linger, Duration::from_millis(9));
    assert_eq!(settings.batch_size, 524_288);
}

#[test]
fn tls_files_make_sense_together() {
    let ssl = ("security_protocol", "ssl");
    let settings = Settings::parse([
        SERVERS,
        ssl,
        ("ssl_cafile", "ca.pem"),
        ("ssl_certfile", "c.pem"),
        ("ssl_keyfile", "k.pem"),
    ])
    .unwrap();
    let security = settings.security().unwrap();
    let tls = security.tls_config().unwrap();
    assert_eq!(tls.ca_cert_path(), Some("ca.pem"));
    assert_eq!(tls.client_cert_path(), Some("c.pem"));
    assert_eq!(tls.client_key_path(), Some("k.pem"));
    assert!(tls.verify_server_cert());

    for bad in [
        &[SERVERS, ssl, ("ssl_certfile", "c.pem")][..],
        &[SERVERS, ssl, ("ssl_keyfile", "k.pem")],
        &[SERVERS, ("ssl_cafile", "ca.pem")],
    ] {
        assert!(refused(bad).to_string().contains("ssl_"));
    }
}
