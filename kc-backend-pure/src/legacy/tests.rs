use kc_core::backend::{Backend, BackendErrorKind, Capabilities, ClientSettings};

use super::LegacyBackend;

fn with(settings: &[(&str, &str)]) -> Result<LegacyBackend, kc_core::backend::BackendError> {
    let servers = [("bootstrap_servers", "127.0.0.1:9092")];
    let settings = ClientSettings::parse(servers.iter().chain(settings).copied()).unwrap();
    LegacyBackend::new(settings)
}

#[test]
fn what_it_can_do_is_little_and_said() {
    for settings in [
        &[][..],
        &[("compression_type", "gzip")],
        &[("compression_type", "snappy")],
    ] {
        let backend = with(settings).unwrap();
        assert_eq!(backend.name(), "legacy");
        assert_eq!(backend.capabilities(), Capabilities::MINIMAL);
    }
}

#[test]
fn what_it_cannot_do_is_refused_at_once() {
    let sasl = [
        ("security_protocol", "SASL_PLAINTEXT"),
        ("sasl_mechanism", "PLAIN"),
        ("sasl_plain_username", "u"),
        ("sasl_plain_password", "p"),
    ];
    for (settings, named) in [
        (&[("security_protocol", "SSL")][..], "TLS"),
        (&sasl, "SASL"),
        (&[("compression_type", "lz4")], "lz4"),
        (&[("compression_type", "zstd")], "zstd"),
    ] {
        let error = with(settings).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains(named) && text.contains("legacy"), "{text}");
        assert!(!text.contains("\"p\""), "{text}");
    }
}
