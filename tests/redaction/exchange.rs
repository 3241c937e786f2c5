//! Requests and replies, and the machines that make and accept them.

use kc::core::chain::{
    Constraints, Identity, MaxAge, TrustEntry, TrustStore, Usage, ValidIdentity, encode_certificate,
};
use kc::core::exchange::{KeyReply, KeyRequest, Validity};
use kc::core::keys::Signer;
use kc::core::ratchet::Candidates;
use kc::core::types::{KeyId, RootTopic, SideTopic, Timestamp};
use kc::core::wire::Writer;
use kc::keystore_file::system_rng;

use crate::core::{check, data_key, signing_key};
use crate::leaks::{known, leak};
use crate::peer::Peer;

/// Returns a node that certified itself.
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
fn requests_replies_and_the_machine() {
    let (now, root) = (Timestamp::EPOCH, RootTopic::from("t"));
    let ((trust, own), (key, signing), topic) = (node(), signing_key(), known::<32>(2));
    let peer = || {
        let (trust, own) = (trust.clone(), vec![own.clone()]);
        Peer::new(trust, own, &key, Validity::default(), now)
    };
    let (mut consumer, mut producer) = (peer(), peer());
    let other = Candidates::from_iter([data_key()]);
    consumer.want(&root, KeyId::Short(2), other);
    let request = consumer.want(&root, KeyId::Short(1), Candidates::default());
    let request = request
        .into_iter()
        .find(|record| record.side == SideTopic::Requests);
    let request = request.unwrap();
    let ephemeral = {
        let (_, ephemerals) = consumer.exchange.outstanding_of(&root).next().unwrap();
        ephemerals[0].expose_bytes()
    };
    producer.held.insert(KeyId::Short(1), data_key());
    let reply = producer.take(SideTopic::Requests, &request).remove(0);
    let asked = KeyRequest::validate(&request.value, &root, Usage::EncryptRequest, &trust, now);
    let opened = KeyReply::validate(&reply.value, &root, &trust, now);
    for shown in [
        format!("{:?}", consumer.exchange),
        format!("{:?}", producer.exchange),
        format!("{request:?} {asked:?}"),
        format!("{reply:?} {opened:?}"),
        format!("{:?} {:?}", consumer.events, producer.events),
    ] {
        assert_eq!(leak(&shown, ephemeral.expose(), 8), None, "{shown}");
        assert_eq!(leak(&shown, &topic, 4), None, "{shown}");
        assert_eq!(leak(&shown, &signing, 4), None, "{shown}");
    }
    consumer.take(SideTopic::Keys, &reply);
    check(
        &consumer.received,
        &[&topic],
        "[(KeyId(#1), DataKey(Secret<32>(redacted)))]",
    );
}
