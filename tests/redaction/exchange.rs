//! Requests and replies, and who makes and takes them.

use std::time::Duration;

use kc::core::chain::{
    Constraints, Identity, MaxAge, TrustEntry, TrustStore, Usage, ValidIdentity, encode_certificate,
};
use kc::core::exchange::{
    IncomingRequest, KeyReply, KeyRequest, Replier, Requester, RequesterConfig, Validity,
};
use kc::core::kem::Suite;
use kc::core::keys::Signer;
use kc::core::ratchet::Candidates;
use kc::core::types::{KeyId, RootTopic, Timestamp};
use kc::core::wire::Writer;
use kc::keystore_file::system_rng;

use crate::core::{check, signing_key, topic_secret};
use crate::leaks::{known, leak};

/// A node that is certified by itself.
fn node() -> (TrustStore, ValidIdentity) {
    let (key, _) = signing_key();
    let usages = [
        Usage::Encrypt,
        Usage::EncryptRequest,
        Usage::EncryptSubscribe,
    ];
    let constraints = Constraints {
        topics: Some(vec!["t".into()]),
        usages: Some(usages.iter().map(|usage| usage.as_str().into()).collect()),
        path_length: None,
    };
    let certificate = encode_certificate(
        MaxAge::UNLIMITED,
        &constraints.encode(),
        |writer| key.verifying_key().write_to(writer),
        (0, |_| {}),
    );
    let mut chain = Writer::new();
    let link = key.sign(&certificate, &mut system_rng().unwrap()).unwrap();
    chain.array(1).bytes(&link);
    let root = TrustEntry::unrestricted(key.verifying_key());
    let trust = TrustStore::new(Some(vec![root]), vec![]);
    let identity = Identity::new(key.verifying_key().clone(), Some(chain.into_vec()));
    let valid = identity.validated(&trust, Timestamp::EPOCH).unwrap();
    (trust, valid)
}

#[test]
fn requests_replies_and_their_machines() {
    let (rng, now, root) = (
        &mut system_rng().unwrap(),
        Timestamp::EPOCH,
        RootTopic::from("t"),
    );
    let ((trust, own), (key, signing), topic) = (node(), signing_key(), known::<32>(2));
    let own = [own];
    let mut requester = Requester::new(RequesterConfig {
        suites: vec![Suite::X25519],
        legacy: false,
        validity: Validity::default(),
        interval: Duration::from_secs(60),
    });
    let other = Candidates::from_iter([topic_secret()]);
    requester.want_another(&root, KeyId::Short(2), other, now);
    requester.want(&root, KeyId::Short(1), now);
    let request = requester.poll_request(&own, now, rng).unwrap();
    let ephemeral = {
        let (_, ephemerals) = requester.outstanding(&root).next().unwrap();
        ephemerals[0].expose_bytes()
    };
    for shown in [format!("{requester:?}"), format!("{request:?}")] {
        assert_eq!(leak(&shown, ephemeral.expose(), 8), None);
        assert_eq!(leak(&shown, &topic, 4), None);
        assert_eq!(leak(&shown, &signing, 4), None);
    }

    let asked = request.drafts[0].0.sign(&key, rng).unwrap();
    let asked = KeyRequest::validate(&asked, &root, Usage::EncryptRequest, &trust, now).unwrap();
    let incoming = [IncomingRequest {
        root: root.clone(),
        request: asked,
        keys: vec![(KeyId::Short(1), topic_secret())],
    }];
    let incoming_shown = format!("{incoming:?}");
    assert!(incoming_shown.contains("keys: [(KeyId(#1), TopicSecret(Secret<32>(redacted)))]"));
    let mut replier = Replier::new(vec![Suite::X25519], Validity::default());
    let answers = replier.handle(&incoming, &own, now, rng);
    let answer = answers[0].as_ref().unwrap();
    let reply = answer.drafts[0].sign(&key, rng).unwrap();
    let reply = KeyReply::validate(&reply, &root, &trust, now).unwrap();
    for shown in [
        incoming_shown,
        format!("{replier:?}"),
        format!("{answer:?}"),
        format!("{reply:?}"),
    ] {
        assert_eq!(leak(&shown, &topic, 4), None, "{shown}");
        assert_eq!(leak(&shown, &signing, 4), None, "{shown}");
    }
    let handled = requester.handle_reply(&root, &reply, now).unwrap();
    check(
        &handled,
        &[&topic],
        "HandledReply { keys: [(KeyId(#1), TopicSecret(Secret<32>(redacted)))], after: 0ns }",
    );
}
