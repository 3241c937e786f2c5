use std::collections::HashSet;
use std::time::Duration;

use super::Refusal;
use crate::chain::{
    CertificateKeys, Constraints, Demand, MaxAge, ToBeSigned, TrustStore, UnverifiedChain, Usage,
    ValidIdentity, ValidatedChain, encode_certificate,
};
use crate::kem::{self, Suite};
use crate::keys::KeyType;
use crate::types::{KEY_ID_LEN, KeyId, RootTopic, Timestamp};
use crate::wire::{Value, Writer};

/// Length in bytes of the random values that bind a reply to its request.
pub const NONCE_LEN: usize = 32;

/// Longer random values than this are refused.
const MAX_NONCE_LEN: usize = 256;

/// What a request is for: any producer or controller may answer it.
const REQUESTING: [Usage; 2] = [Usage::EncryptRequest, Usage::EncryptSubscribe];

/// How a request lists its key-exchange keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestForm {
    /// An array of keys, in order of preference.
    List,
    /// One bare version-1 key, as old peers send it.
    Legacy,
}

impl RequestForm {
    /// Returns whether a node that offers these suites may send the legacy form beside the list form: only if
    /// all are classical. Beside a hybrid suite it would let a broker that withholds the list form choose the
    /// classical exchange.
    #[must_use]
    pub fn legacy_is_safe_beside(suites: &[Suite]) -> bool {
        suites.iter().all(|suite| *suite == Suite::X25519)
    }
}

/// A request whose sender may ask.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRequest {
    chain: ValidatedChain,
    random0: Vec<u8>,
}

impl KeyRequest {
    /// Reads a request's Kafka value and validates it for a root topic and a usage.
    ///
    /// # Errors
    /// [`Refusal::Chain`], [`Refusal::Layout`].
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

    /// Takes a chain that was validated for a root topic and a usage as a request.
    ///
    /// # Errors
    /// [`Refusal::Layout`].
    pub fn from_chain(chain: ValidatedChain) -> Result<Self, Refusal> {
        let random0 = match chain.extra().first().map(Value::bytes) {
            Some(Ok(random0)) => random0.to_vec(),
            _ => return Err(Refusal::Layout("no random0")),
        };
        if !(NONCE_LEN..=MAX_NONCE_LEN).contains(&random0.len()) {
            return Err(Refusal::Layout("random0 is too short or too long"));
        }
        Ok(Self { chain, random0 })
    }

    /// The random value that binds replies to this request.
    #[must_use]
    pub fn random0(&self) -> &[u8] {
        &self.random0
    }

    /// The type of the root of trust that the requester was validated under.
    #[must_use]
    pub fn root_type(&self) -> Option<KeyType> {
        self.chain.root().map(|root| root.key_type())
    }

    /// The validated chain.
    #[must_use]
    pub fn chain(&self) -> &ValidatedChain {
        &self.chain
    }

    /// How it lists its key-exchange keys.
    #[must_use]
    pub fn form(&self) -> RequestForm {
        match self.chain.keys() {
            CertificateKeys::List(_) => RequestForm::List,
            CertificateKeys::Single(_) => RequestForm::Legacy,
        }
    }

    /// The key-exchange keys it offers, in its order of preference.
    pub fn offers(&self) -> impl Iterator<Item = kem::EncapsulationKey> {
        self.chain
            .keys()
            .as_slice()
            .iter()
            .filter_map(|key| key.to_exchange()?.into_offer())
    }
}

/// The last certificate of a request.
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

/// The last certificate of a request by which a controller vouches for another node. A bare key of the legacy
/// form may be an Ed25519 key, so its certificate has path length 0: it certifies nothing.
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

/// The restrictions of the last certificate of a request or reply.
pub(super) fn leaf_constraints(root_topic: &RootTopic, usages: &[Usage]) -> Constraints {
    Constraints {
        topics: Some(vec![root_topic.as_str().into()]),
        usages: Some(usages.iter().map(|usage| usage.as_str().into()).collect()),
        path_length: None,
    }
}

/// The Kafka key of a request or reply: the array of key ids it is about.
#[must_use]
pub fn encode_key_ids<'i>(ids: impl ExactSizeIterator<Item = &'i KeyId>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(ids.len());
    for id in ids {
        write_key_id(&mut writer, id);
    }
    writer.into_vec()
}

/// Reads the Kafka key of a request: each id once, in order. Ids that no key can have are left out.
///
/// # Errors
/// [`Refusal::KeyIds`] if it is no array, or has more than
/// [`MAX_ELEMENTS`](crate::wire::MAX_ELEMENTS) elements.
pub fn decode_key_ids(kafka_key: &[u8]) -> Result<Vec<KeyId>, Refusal> {
    let value = Value::decode(kafka_key).map_err(|_| Refusal::KeyIds)?;
    let ids = value.array().map_err(|_| Refusal::KeyIds)?;
    let mut seen = HashSet::new();
    let ids = ids.iter().filter_map(key_id);
    Ok(ids.filter(|id| seen.insert(*id)).collect())
}

pub(super) fn write_key_id(writer: &mut Writer, id: &KeyId) {
    match id {
        KeyId::Long(id) => writer.bytes(id),
        KeyId::Short(index) => writer.uint(*index),
    };
}

pub(super) fn key_id(value: &Value<'_>) -> Option<KeyId> {
    match value {
        Value::Int(index) => u64::try_from(*index).ok().map(KeyId::Short),
        _ => <[u8; KEY_ID_LEN]>::try_from(value.bytes().ok()?)
            .ok()
            .map(KeyId::Long),
    }
}

/// Re-signs a request that was validated for [`EncryptSubscribe`](crate::chain::Usage::EncryptSubscribe) under a
/// controller's own chain; its keys, its random value and its Kafka key stay as they are. A bare key gets a certificate that
/// certifies nothing. The results go to the root's topic of requests.
///
/// # Errors
/// [`Refusal::Layout`] if it asks with other keys than those of key exchanges.
pub fn forward_request(
    root_topic: &RootTopic,
    request: &KeyRequest,
    own: &[ValidIdentity],
    validity: Validity,
    now: Timestamp,
) -> Result<Vec<ToBeSigned>, Refusal> {
    let keys = request.chain().keys().as_slice().iter();
    let keys: Option<Vec<_>> = keys.map(|key| key.to_exchange()).collect();
    let keys = keys.ok_or(Refusal::Layout("not key-exchange keys"))?;
    let offer = (request.form(), keys.as_slice());
    let certificate = forwarded_certificate(root_topic, offer, request.random0(), validity, now);
    let identities = answering(own, request.root_type());
    Ok(identities
        .map(|identity| identity.certify(&certificate))
        .collect())
}

/// The longest that a request or reply is valid, whatever the configuration says: a signed request
/// that lives for years can be replayed for years.
pub const MAX_VALIDITY: Duration = Duration::from_secs(604_800);

/// How long the requests and replies that a node signs are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity(Duration);

impl Default for Validity {
    /// One day (protocol §10).
    fn default() -> Self {
        Self(Duration::from_secs(86_400))
    }
}

impl Validity {
    /// What `maxage` in a configuration asks for, up to [`MAX_VALIDITY`]; zero means the default.
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

/// The identities to answer somebody with whose root is of this type: those of the same type, or all
/// if there is none.
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
