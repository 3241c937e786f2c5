use super::*;

fn parse(text: &str) -> Result<Pkcs11Uri, UriError> {
    text.parse()
}

#[test]
fn a_whole_uri_is_understood_and_given_back() {
    let text =
        "pkcs11:token=kc;object=kc:node1:id?module-path=/usr/lib/m.so&pin-source=file:/etc/kc/pin";
    let uri = parse(text).unwrap();
    assert_eq!(uri.token.as_deref(), Some("kc"));
    assert_eq!(uri.object.as_deref(), Some("kc:node1:id"));
    assert_eq!(uri.module_path, Some(PathBuf::from("/usr/lib/m.so")));
    assert_eq!(uri.pin_source, Some(PathBuf::from("/etc/kc/pin")));
    assert_eq!(uri.to_string(), text);
}

#[test]
fn every_attribute_comes_back_from_the_canonical_form() {
    let uri = Pkcs11Uri {
        token: Some("my token; 100% é/=".into()),
        manufacturer: Some("Maker & Co".into()),
        model: Some("m".into()),
        serial: Some("00?1".into()),
        object: Some("kc:a b:id".into()),
        module_path: Some("/a b/m&.so".into()),
        pin_source: Some("/run/p?n".into()),
    };
    assert_eq!(parse(&uri.to_string()).unwrap(), uri);
}

#[test]
fn order_case_of_the_scheme_and_forms_of_the_pin_source_do_not_matter() {
    for text in [
        "PKCS11:object=kc:n:id;token=kc?pin-source=file:///p&module-path=/m",
        "pkcs11:token=%6b%63;object=kc%3An%3Aid?module-path=/m&pin-source=/p",
    ] {
        let canonical = "pkcs11:token=kc;object=kc:n:id?module-path=/m&pin-source=file:/p";
        assert_eq!(parse(text).unwrap().to_string(), canonical, "{text}");
    }
}

#[test]
fn what_is_not_strictly_right_is_refused() {
    use UriError as E;
    let unknown = |name: &str| E::Unknown(name.to_owned());
    for (text, error) in [
        ("", E::Scheme),
        ("pkcs12:token=kc", E::Scheme),
        ("pkcs11", E::Scheme),
        ("pkcs11:", E::Attribute),
        ("pkcs11:token", E::Attribute),
        ("pkcs11:token=", E::Attribute),
        ("pkcs11:token=kc;", E::Attribute),
        ("pkcs11:token=kc?", E::Attribute),
        ("pkcs11:token=kc?module-path=/m&", E::Attribute),
        ("pkcs11:object=kc:n:id", E::NoToken),
        ("pkcs11:token=a;token=b", E::Duplicate("token")),
        (
            "pkcs11:token=a?module-path=/m&module-path=/m",
            E::Duplicate("module-path"),
        ),
        ("pkcs11:token=a b", E::Encoding("token")),
        ("pkcs11:token=a/b", E::Encoding("token")),
        ("pkcs11:token=a#b", E::Encoding("token")),
        ("pkcs11:token=é", E::Encoding("token")),
        ("pkcs11:token=%4", E::Encoding("token")),
        ("pkcs11:token=%zz", E::Encoding("token")),
        ("pkcs11:token=%ff", E::NotText("token")),
        ("pkcs11:token=a;slot-id=1", unknown("slot-id")),
        ("pkcs11:token=a;Object=b", unknown("Object")),
        ("pkcs11:token=a?module-name=softhsm", unknown("module-name")),
        ("pkcs11:token=a;module-path=/m", unknown("module-path")),
        ("pkcs11:token=a?pin-value=1234", E::PinValue),
        ("pkcs11:token=a;pin-value=1234", E::PinValue),
        (
            "pkcs11:token=a?module-path=m.so",
            E::NotAbsolute("module-path"),
        ),
        (
            "pkcs11:token=a?pin-source=file:pin",
            E::NotAbsolute("pin-source"),
        ),
        (
            "pkcs11:token=a?pin-source=|/bin/pin",
            E::NotAbsolute("pin-source"),
        ),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}

#[test]
fn no_error_shows_a_pin() {
    for text in [
        "pkcs11:token=a?pin-value=4711-0815",
        "pkcs11:token=a?pin-value=4711-0815&pin-value=4711-0815",
        "pkcs11:token=a;pin-value=4711 -0815",
    ] {
        let error = parse(text).unwrap_err();
        let shown = format!("{error} {error:?} {}", error.advice());
        assert!(!shown.contains("0815"), "{shown}");
    }
}
