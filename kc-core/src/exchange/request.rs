use std::collections::HashSet;
use std::time::Duration;

use super::Refusal;
use crate::chain::{
    CertificateKeys, Constraints, Demand, MaxAge, ToBeSigned, TrustStore, UnverifiedChain, Usage,
    ValidIdentity, ValidatedChain, encode_certificate,
};
use crate::kem::{self, Suite};
use crate::keys::KeyType;
use crate::types::{KeyId, RootTopic, Timestamp};
use crate::wire::{Value, Writer};

/// The length in bytes of the random values that this node draws for requests and replies, and the minimum length of a
/// request's random value.
pub const NONCE_LEN: usize = 32;

/// The maximum length of a request's random value, in bytes. Test: `a_random_value_of_the_wrong_length_is_refused`.
pub(super) const MAX_NONCE_LEN: usize = 256;

/// The usages in the last certificate of a request. The first permits producers to answer the request. The second
/// permits controllers to forward it.
const REQUESTING: [Usage; 2] = [Usage::EncryptRequest, Usage::EncryptSubscribe];

/// The form in which a request lists its key-exchange keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestForm {
    /// An array of keys, in order of preference.
    List,
    /// One version-1 key without an array around it, as old peers send it.
    Legacy,
}

impl RequestForm {
    /// Returns whether a node that offers `suites` may also send the legacy form. This is safe only if all suites are
    /// classical.
    ///
    /// Otherwise a broker could withhold the list form, and so force the nodes to use the classical exchange.
    #[must_use]
    pub fn legacy_is_safe_beside(suites: &[Suite]) -> bool {
        suites.iter().all(|suite| *suite == Suite::X25519)
    }
}

/// A request for data keys, with its validated chain.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRequest {
    chain: ValidatedChain,
    random0: Vec<u8>,
}

impl KeyRequest {
    /// Reads a request from a Kafka value and validates it for a root topic and a usage.
    ///
    /// # Errors
    /// Returns [`Refusal::Chain`] if the chain is not valid or does not grant the usage for the topic, and
    /// [`Refusal::Layout`] if the last certificate lacks a random value of 32 to 256 bytes.
    pub fn validate(
        value: &[u8],
        root_topic: &RootTopic,
        usage: Usage,
        trust: &TrustStore,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let demand = Demand::at(now).topic(root_topic.as_str()).usage(usage);
        Self::from_chain(UnverifiedChain::parse(value)?.validate(trust, &demand)?)
    }

    /// Interprets a chain as a request. The chain must have been validated for a root topic and a usage.
    ///
    /// # Errors
    /// Returns [`Refusal::Layout`] if the last certificate lacks a random value of 32 to 256 bytes.
    pub fn from_chain(chain: ValidatedChain) -> Result<Self, Refusal> {
        let random0 = match chain.extra().first().map(Value::bytes) {
            Some(Ok(random0)) => random0.to_vec(),
            _ => return Err(Refusal::Layout("no random value")),
        };
        if !(NONCE_LEN..=MAX_NONCE_LEN).contains(&random0.len()) {
            return Err(Refusal::Layout("the random value is too short or too long"));
        }
        Ok(Self { chain, random0 })
    }

    /// Returns the random value that binds replies to this request.
    #[must_use]
    pub fn random0(&self) -> &[u8] {
        &self.random0
    }

    /// Returns the key type of the root of trust under which the request's chain was validated.
    #[must_use]
    pub fn root_type(&self) -> Option<KeyType> {
        self.chain.root().map(|root| root.key_type())
    }

    /// Returns the validated chain.
    #[must_use]
    pub fn chain(&self) -> &ValidatedChain {
        &self.chain
    }

    /// Returns the form in which the request lists its key-exchange keys.
    #[must_use]
    pub fn form(&self) -> RequestForm {
        match self.chain.keys() {
            CertificateKeys::List(_) => RequestForm::List,
            CertificateKeys::Single(_) => RequestForm::Legacy,
        }
    }

    /// Returns the key-exchange keys that the request offers, in its order of preference.
    pub fn offers(&self) -> impl Iterator<Item = kem::EncapsulationKey> {
        self.chain
            .keys()
            .as_slice()
            .iter()
            .filter_map(|key| key.to_exchange()?.into_offer())
    }
}

/// Encodes the last certificate of a request.
pub(super) fn request_certificate(
    root_topic: &RootTopic,
    form: RequestForm,
    keys: &[kem::PublicKey],
    random0: &[u8],
    validity: Validity,
    now: Timestamp,
) -> Vec<u8> {
    encode_request(
        &leaf_constraints(root_topic, &REQUESTING),
        (form, keys),
        random0,
        validity.end(now),
    )
}

/// Encodes the last certificate of a request that a controller forwards.
///
/// The bare key of the legacy form could be an Ed25519 signing key. Its certificate therefore has path length 0, so
/// that the key cannot certify other keys.
pub(super) fn forwarded_certificate(
    root_topic: &RootTopic,
    (form, keys): (RequestForm, &[kem::PublicKey]),
    random0: &[u8],
    validity: Validity,
    now: Timestamp,
) -> Vec<u8> {
    let constraints = Constraints {
        path_length: (form == RequestForm::Legacy).then_some(0),
        ..leaf_constraints(root_topic, &REQUESTING)
    };
    encode_request(&constraints, (form, keys), random0, validity.end(now))
}

fn encode_request(
    constraints: &Constraints,
    (form, keys): (RequestForm, &[kem::PublicKey]),
    random0: &[u8],
    end: MaxAge,
) -> Vec<u8> {
    let write_keys = |writer: &mut Writer| {
        if form == RequestForm::List {
            writer.array(keys.len());
        }
        keys.iter().for_each(|key| key.write_to(writer));
    };
    let write_random0 = |writer: &mut Writer| {
        writer.bytes(random0);
    };
    encode_certificate(end, &constraints.encode(), write_keys, (1, write_random0))
}

/// Returns the constraints of the last certificate of a request or reply.
pub(super) fn leaf_constraints(root_topic: &RootTopic, usages: &[Usage]) -> Constraints {
    Constraints {
        topics: Some(vec![root_topic.as_str().into()]),
        usages: Some(usages.iter().map(|usage| usage.as_str().into()).collect()),
        path_length: None,
    }
}

/// Encodes the Kafka key of a request or reply: an array of key ids.
#[must_use]
pub fn encode_key_ids<'i>(ids: impl ExactSizeIterator<Item = &'i KeyId>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(ids.len());
    for id in ids {
        writer.key_id(id);
    }
    writer.into_vec()
}

/// Reads the Kafka key of a request. Returns each id once, in the order of the array. Elements that cannot be the id
/// of a key are left out.
///
/// # Errors
/// Returns [`Refusal::KeyIds`] if the Kafka key is not an array in MessagePack, or has more than
/// [`MAX_ELEMENTS`](crate::wire::MAX_ELEMENTS) elements.
pub fn decode_key_ids(kafka_key: &[u8]) -> Result<Vec<KeyId>, Refusal> {
    let value = Value::decode(kafka_key).map_err(|_| Refusal::KeyIds)?;
    let ids = value.array().map_err(|_| Refusal::KeyIds)?;
    let mut seen = HashSet::new();
    let ids = ids.iter().filter_map(|id| id.key_id().ok());
    Ok(ids.filter(|id| seen.insert(*id)).collect())
}

/// Creates the messages by which a controller forwards a request, one for each of the controller's identities that
/// [answer](answering) the requester. The request must have been validated for
/// [`EncryptSubscribe`](crate::chain::Usage::EncryptSubscribe).
///
/// The request's keys, random value and Kafka key do not change. In the legacy form, the certificate has path length 0,
/// so that its key cannot certify other keys. The caller signs the returned messages and sends them to the topic of
/// requests (`.reqs`).
///
/// # Errors
/// Returns [`Refusal::Layout`] if the request contains a key that is not for key exchanges.
pub(super) fn forward_request(
    root_topic: &RootTopic,
    request: &KeyRequest,
    own: &[ValidIdentity],
    validity: Validity,
    now: Timestamp,
) -> Result<Vec<ToBeSigned>, Refusal> {
    let keys = request.chain().keys().as_slice().iter();
    let keys: Option<Vec<_>> = keys.map(|key| key.to_exchange()).collect();
    let keys = keys.ok_or(Refusal::Layout(
        "a key in the last certificate is not a key-exchange key",
    ))?;
    let offer = (request.form(), keys.as_slice());
    let certificate = forwarded_certificate(root_topic, offer, request.random0(), validity, now);
    let identities = answering(own, request.root_type());
    Ok(identities
        .map(|identity| identity.certify(&certificate))
        .collect())
}

/// The maximum validity of a request or reply, whatever the configuration says: a signed request can be replayed
/// for as long as it is valid. Test: `validity_is_capped`.
pub const MAX_VALIDITY: Duration = Duration::from_secs(604_800);

/// The validity of the requests and replies that a node signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity(Duration);

impl Default for Validity {
    /// Returns one day (protocol §10).
    fn default() -> Self {
        Self(Duration::from_secs(86_400))
    }
}

impl Validity {
    /// Returns the validity for the setting `maxage` of a configuration, at most [`MAX_VALIDITY`]. If `max_age` is
    /// zero, returns the default.
    #[must_use]
    pub fn from_max_age(max_age: Duration) -> Self {
        if max_age.is_zero() {
            Self::default()
        } else {
            Self(max_age.min(MAX_VALIDITY))
        }
    }

    pub(super) fn end(self, now: Timestamp) -> MaxAge {
        MaxAge::until(now.plus(self.0))
    }
}

/// Returns the identities that answer a node whose root of trust has the key type `root_type`: the identities with a
/// key of this type, or all identities if none has such a key.
pub(super) fn answering(
    identities: &[ValidIdentity],
    root_type: Option<KeyType>,
) -> impl Iterator<Item = &ValidIdentity> {
    let same = move |identity: &&ValidIdentity| Some(identity.key().key_type()) == root_type;
    let any_same = identities.iter().any(|identity| same(&identity));
    identities
        .iter()
        .filter(move |identity| !any_same || same(identity))
}
