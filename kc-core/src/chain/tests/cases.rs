//! Chains that are each refused by one check.

use super::*;

pub(super) struct Case {
    pub(super) check: Check,
    pub(super) what: &'static str,
    pub(super) chain: Vec<u8>,
    pub(super) trust: TrustStore,
    pub(super) demand: Demand<'static>,
}

impl Case {
    fn new(check: Check, what: &'static str, chain: Vec<u8>) -> Self {
        Self {
            check,
            what,
            chain,
            trust: trust(&[&key(1)]),
            demand: demand(),
        }
    }

    /// A chain of one certificate with these bytes and a valid signature.
    fn of_certificate(check: Check, what: &'static str, certificate: &[u8]) -> Self {
        Self::new(check, what, chain(&[sign(&key(1), certificate)]))
    }

    /// A chain of one certificate of these elements, each encoded as MessagePack.
    fn of_elements(check: Check, what: &'static str, elements: &[&[u8]]) -> Self {
        let mut writer = Writer::new();
        writer.array(elements.len());
        let certificate = [writer.into_vec(), elements.concat()].concat();
        Self::of_certificate(check, what, &certificate)
    }

    fn of_poison(check: Check, what: &'static str, poison: &[u8]) -> Self {
        let poison = packed(poison);
        Self::of_elements(check, what, &[&[0], &poison, &public(3)])
    }

    fn of_limits(check: Check, what: &'static str, limits: &[Constraints]) -> Self {
        let links = limits.iter().zip(1..).map(|(limits, number)| {
            let subject = key(number + 1);
            let subject = subject.verifying_key();
            sign(
                &key(number),
                &certificate(MaxAge::UNLIMITED, limits, subject),
            )
        });
        Self::new(check, what, chain(&links.collect::<Vec<_>>()))
    }

    fn trusting(self, trust: TrustStore) -> Self {
        Self { trust, ..self }
    }

    fn demanding(self, demand: Demand<'static>) -> Self {
        Self { demand, ..self }
    }
}

pub(super) fn all() -> Vec<Case> {
    [
        frames(),
        signatures(),
        certificates(),
        keys(),
        constraints(),
        lists(),
        limits(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn frames() -> Vec<Case> {
    let usual = || chain(&usual_links());
    let too_long = vec![usual_links()[0].clone(); MAX_LINKS + 1];
    vec![
        Case::new(Check::Encoding, "not MessagePack", vec![0xc1]),
        Case::new(Check::Encoding, "truncated", usual()[..99].to_vec()),
        Case::new(
            Check::Encoding,
            "trailing byte",
            [usual(), vec![0]].concat(),
        ),
        Case::new(Check::Encoding, "an integer", vec![5]),
        Case::new(
            Check::Encoding,
            "a link in a list",
            [&[0x91], usual().as_slice()].concat(),
        ),
        Case::new(Check::Length, "empty", chain(&[])),
        Case::new(Check::Length, "too long", chain(&too_long)),
        Case::new(Check::Allowlist, "no allowlist", usual())
            .trusting(TrustStore::new(None, vec![])),
    ]
}

fn signatures() -> Vec<Case> {
    let usual = || chain(&usual_links());
    let [first, second] = usual_links();
    let mut altered = first.clone();
    altered[0] ^= 1;
    let forged = sign(&key(9), &usual_certificate(&key(3)));
    let unsigned = usual_certificate(&key(2));
    vec![
        Case::new(Check::Root, "no roots", usual()).trusting(trust(&[])),
        Case::new(Check::Root, "another root", usual()).trusting(trust(&[&key(8), &key(9)])),
        Case::new(Check::Root, "altered", chain(&[altered])),
        Case::new(Check::Root, "not signed", chain(&[unsigned])),
        Case::new(
            Check::Root,
            "in the wrong order",
            chain(&[second.clone(), first.clone()]),
        ),
        Case::new(
            Check::Root,
            "of the hybrid root, with half a signature",
            usual(),
        )
        .trusting(trust(&[&hybrid(1)])),
        Case::new(Check::Signature, "forged", chain(&[first.clone(), forged])),
        Case::new(
            Check::Signature,
            "a gap",
            chain(&[first.clone(), first, second]),
        ),
    ]
}

fn certificates() -> Vec<Case> {
    let no_limits = [0xc4, 1, 0x90];
    let subject = public(3);
    let nan = [0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0];
    let case = Case::of_elements;
    vec![
        Case::of_certificate(Check::Certificate, "not an array", &[0]),
        Case::of_certificate(Check::Certificate, "no bytes", &[]),
        Case::of_certificate(
            Check::Certificate,
            "trailing byte",
            &[usual_certificate(&key(3)), vec![0]].concat(),
        ),
        case(Check::Certificate, "two elements", &[&[0], &no_limits]),
        case(
            Check::Certificate,
            "valid until NaN",
            &[&nan, &no_limits, &subject],
        ),
        case(
            Check::Certificate,
            "valid until nil",
            &[&[0xc0], &no_limits, &subject],
        ),
        case(
            Check::Certificate,
            "valid until true",
            &[&[0xc3], &no_limits, &subject],
        ),
    ]
}

fn keys() -> Vec<Case> {
    let case =
        |what, key: &[u8]| Case::of_elements(Check::Key, what, &[&[0], &[0xc4, 1, 0x90], key]);
    let leaf = |subject: &[u8]| {
        let certificate = [&[0x93, 0, 0xc4, 1, 0x90], subject].concat();
        let links = [
            sign(&key(1), &certificate),
            sign(&key(2), &usual_certificate(&key(3))),
        ];
        chain(&links)
    };
    let exchange = packed_hybrid(5, &[0; 32], &[0; 1568]);
    vec![
        case("31 bytes", &packed(&[7; 31])),
        case("nil", &[0xc0]),
        case("an empty list", &[0x90]),
        case(
            "version 9",
            &[&[0x92, 9], packed(&[7; 32]).as_slice()].concat(),
        ),
        case(
            "a hybrid key of one part",
            &[&[0x92, 4, 0x91], packed(&[7; 32]).as_slice()].concat(),
        ),
        case("a short KEM key", &packed_hybrid(5, &[0; 32], &[0; 1567])),
        Case::new(
            Check::Signer,
            "a list signs",
            leaf(&[&[0x91], public(2).as_slice()].concat()),
        ),
        Case::new(Check::Signer, "a key-exchange key signs", leaf(&exchange)),
    ]
}

fn constraints() -> Vec<Case> {
    let poison = |what, poison: &[u8]| Case::of_poison(Check::Constraints, what, poison);
    let invalid = || granting(&["^(t"], &["key-encrypt"]);
    vec![
        Case::of_elements(
            Check::Constraints,
            "no byte string",
            &[&[0], &[0x90], &public(3)],
        ),
        poison("no bytes", &[]),
        poison("a map", &[0x80]),
        poison("a name alone", b"\x91\x91\xa6topics"),
        poison("an unknown name", b"\x91\x92\xa5hosts\x90"),
        poison("topics nil", b"\x91\x92\xa6topics\xc0"),
        poison("a topic that is no text", b"\x91\x92\xa6topics\x91\x05"),
        poison(
            "a topic that is not UTF-8",
            b"\x91\x92\xa6topics\x91\xc4\x01\xff",
        ),
        poison("a path length of nil", b"\x91\x92\xa7pathlen\xc0"),
        poison(
            "a path length beyond 64 bits",
            b"\x91\x92\xa7pathlen\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        Case::of_limits(Check::Pattern, "met by a child", &[invalid(), usual()]),
        Case::of_limits(Check::Pattern, "met by the demand", &[invalid()]),
    ]
}

fn lists() -> Vec<Case> {
    let usual = || chain(&usual_links());
    let keys = [&[0x92], public(3).as_slice(), &public(4)].concat();
    let list = [
        &[0x93, 0],
        packed(&self::usual().encode()).as_slice(),
        &keys,
    ]
    .concat();
    let list_entry = TrustEntry::parse(&list).unwrap();
    let denied = |what, denied: &[&SigningKey]| {
        Case::new(Check::Denylist, what, usual()).trusting(denying(denied))
    };
    let allowing = |allowed: &SigningKey, denied: &SigningKey| {
        TrustStore::new(
            Some(vec![entry(&key(1)), entry(allowed)]),
            vec![entry(denied)],
        )
    };
    vec![
        denied("the root", &[&key(1)]),
        denied("on the way", &[&key(2)]),
        denied("the leaf", &[&key(3)]),
        denied("allowed above, denied below", &[&key(3)]).trusting(allowing(&key(2), &key(3))),
        denied("allowed and denied", &[]).trusting(allowing(&key(2), &key(2))),
        denied("in an entry for several keys", &[]).trusting(TrustStore::new(
            Some(vec![entry(&key(1))]),
            vec![list_entry],
        )),
        Case::of_certificate(Check::Denylist, "all keys of a list", &list)
            .trusting(denying(&[&key(3), &key(4)])),
        Case::of_certificate(Check::Denylist, "a list below a denied key", &list)
            .trusting(denying(&[&key(1)])),
    ]
}

fn limits() -> Vec<Case> {
    let expired = certificate(MaxAge::Float(NOW - 0.5), &usual(), key(2).verifying_key());
    let endless = certificate(MaxAge::UNLIMITED, &usual(), key(3).verifying_key());
    let negative = certificate(MaxAge::Int(-5), &usual(), key(3).verifying_key());
    let below_expired = chain(&[sign(&key(1), &expired), sign(&key(2), &endless)]);
    let path = |path_length, limits: Constraints| Constraints {
        path_length: Some(path_length),
        ..limits
    };
    let topic = |what, limits: &[Constraints]| Case::of_limits(Check::Topic, what, limits);
    let usage = |what, limits: &[Constraints]| Case::of_limits(Check::Usage, what, limits);
    let too_long = |what, limits: &[Constraints]| Case::of_limits(Check::PathLength, what, limits);
    let all = granting(&["t"], &[ANYTHING]);
    let denylist = granting(&["t"], &["key-encrypt", "key-denylist"]);
    let no_topics = Constraints {
        topics: None,
        ..usual()
    };
    let no_usages = Constraints {
        usages: None,
        ..usual()
    };
    vec![
        Case::of_certificate(Check::Expiry, "the leaf", &expired),
        Case::of_certificate(Check::Expiry, "before the epoch", &negative),
        Case::new(Check::Expiry, "above a leaf without end", below_expired),
        topic("no list", &[no_topics]),
        topic("an empty list", &[granting(&[], &["key-encrypt"])]),
        topic(
            "wider than the parent",
            &[granting(&["u"], &["key-encrypt"]), usual()],
        ),
        topic(
            "an expression without caret",
            &[granting(&[".*"], &["key-encrypt"])],
        ),
        topic(
            "matches later than the start",
            &[granting(&["^x|ut"], &["key-encrypt"])],
        )
        .demanding(demand().topic("nut")),
        topic(
            "back-references",
            &[granting(&[r"^(t)\1"], &["key-encrypt"])],
        )
        .demanding(demand().topic("tt")),
        usage("no list", &[no_usages]),
        usage("another", &[granting(&["t"], &["key-encrypt-request"])]),
        usage(
            "wider than the parent",
            &[granting(&["t"], &["key-allowlist"]), usual()],
        ),
        too_long("none may follow", &[path(0, usual()), usual()]),
        too_long("the child raises it", &[path(0, usual()), path(9, usual())]),
        too_long("below zero", &[path(-1, usual())]),
        too_long("implied by a list's usage", &[denylist, usual()]),
        too_long("implied by all usages", &[all, usual()]),
    ]
}

/// Encodes a byte string of at most 65,535 bytes.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(bytes);
    writer.into_vec()
}

fn public(number: u8) -> Vec<u8> {
    packed(&key(number).verifying_key().to_bytes())
}

fn packed_hybrid(version: u64, classical: &[u8], kem: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(2).uint(version);
    writer.array(2).bytes(classical).bytes(kem);
    writer.into_vec()
}
