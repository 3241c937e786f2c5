use rand_core::CryptoRng;

use super::Refusal;
use super::request::{KeyRequest, NONCE_LEN, Validity, answering, leaf_constraints};
use crate::chain::{
    Certificate, Demand, ToBeSigned, TrustStore, UnverifiedChain, Usage, ValidIdentity,
    ValidatedChain, encode_certificate,
};
use crate::kem::{self, DecapsulationKey, Suite};
use crate::ratchet::DataKey;
use crate::secret::{Secret, SecretVec};
use crate::symmetric::{self, sha256};
use crate::types::{KeyId, RootTopic, Timestamp};
use crate::wire::{Value, Writer};

/// The maximum number of key-exchange keys in a reply that this node tries. A reply needs only one key. Test:
/// `a_reply_with_many_keys_costs_few_key_exchanges`.
pub const MAX_TRIED_KEYS: usize = 8;

/// The keys in a reply, each with its id.
pub type ReceivedKeys = Vec<(KeyId, DataKey)>;

/// A reply from a node whose chain permits it to send data keys. The box with the keys is still sealed.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyReply {
    chain: ValidatedChain,
    random0: Vec<u8>,
    random1: Vec<u8>,
    sealed: Vec<u8>,
}

/// Answers a request with `keys`. Returns the messages to sign: one for each identity with a key of the same type as
/// the root of trust of the request's chain, or one for each identity if no key has that type.
///
/// Draws, in this order, the random bytes of the key exchange, `random1` (32 bytes), and a nonce of 24 bytes.
///
/// # Errors
/// Returns [`Refusal::NoCommonSuite`] if the request offers no key for any of `suites`, and [`Refusal::Exchange`] if
/// the offered key is invalid.
pub fn compose_reply(
    request: &KeyRequest,
    root_topic: &RootTopic,
    keys: &[(KeyId, DataKey)],
    (suites, validity): (&[Suite], Validity),
    (own, now): (&[ValidIdentity], Timestamp),
    rng: &mut dyn CryptoRng,
) -> Result<Vec<ToBeSigned>, Refusal> {
    let mut offers = request.offers();
    let offer = offers.find(|offer| suites.contains(&offer.suite()));
    let offer = offer.ok_or(Refusal::NoCommonSuite)?;
    let (encapsulation, shared) = offer.encapsulate(rng)?;
    let mut random1 = [0; NONCE_LEN];
    rng.fill_bytes(&mut random1);
    let mut nonce = [0; symmetric::NONCE_LEN];
    rng.fill_bytes(&mut nonce);

    let box_key = box_key(root_topic, request.random0(), &random1, &shared);
    let sealed = symmetric::seal(encode_keys(keys).expose(), &nonce, box_key.expose());
    let certificate = encode_certificate(
        validity.end(now),
        &leaf_constraints(root_topic, &[Usage::Encrypt]).encode(),
        |writer| {
            writer.array(1);
            kem::PublicKey::from(encapsulation).write_to(writer);
        },
        (2, |writer: &mut Writer| {
            writer.array(2).bytes(request.random0()).bytes(&random1);
            writer.bytes(&[&nonce, sealed.as_slice()].concat());
        }),
    );
    let identities = answering(own, request.root_type());
    Ok(identities
        .map(|identity| identity.certify(&certificate))
        .collect())
}

impl KeyReply {
    /// Reads a reply from a Kafka value and validates it for a root topic.
    ///
    /// # Errors
    /// Returns [`Refusal::Chain`] if the chain is not valid or does not grant [`Usage::Encrypt`] for the topic, and
    /// [`Refusal::Layout`] if the last certificate lacks an element of a reply.
    pub fn validate(
        value: &[u8],
        root_topic: &RootTopic,
        trust: &TrustStore,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let demand = Demand::at(now)
            .topic(root_topic.as_str())
            .usage(Usage::Encrypt);
        Self::from_chain(UnverifiedChain::parse(value)?.validate(trust, &demand)?)
    }

    /// Returns the random value of the request that a reply answers, before anything in the reply is verified. Returns
    /// `None` if the reply is malformed.
    ///
    /// Most replies on a topic answer other nodes. Callers use this to ignore such replies without the cost of
    /// verifying a signature.
    #[must_use]
    pub fn peek_random0(value: &[u8]) -> Option<Vec<u8>> {
        let chain = UnverifiedChain::parse(value).ok()?;
        let randoms = Certificate::peek_extra(chain.links().last()?)?;
        let random0 = randoms.array().ok()?.first()?.bytes().ok()?;
        Some(random0.to_vec())
    }

    /// Interprets a chain as a reply. The chain must have been validated for a root topic and [`Usage::Encrypt`].
    ///
    /// # Errors
    /// Returns [`Refusal::Layout`] if the last certificate lacks an element of a reply.
    pub fn from_chain(chain: ValidatedChain) -> Result<Self, Refusal> {
        let parts = match chain.extra().as_slice() {
            [randoms, sealed, ..] => reply_parts(randoms, sealed),
            _ => None,
        };
        let layout = Refusal::Layout("the random values or the sealed keys are missing");
        let [random0, random1, sealed] = parts.ok_or(layout)?;
        Ok(Self {
            chain,
            random0,
            random1,
            sealed,
        })
    }

    /// Returns the random value of the request that this reply answers.
    #[must_use]
    pub fn random0(&self) -> &[u8] {
        &self.random0
    }

    /// Opens the box with the ephemeral keys of the request. Tries the first [`MAX_TRIED_KEYS`] keys in the reply.
    ///
    /// # Errors
    /// Returns [`Refusal::NoCommonSuite`] if none of the tried keys has the suite of one of `ephemerals`. If no key
    /// opens the box, returns the error of the last key with such a suite: [`Refusal::Exchange`] if this key is
    /// invalid, or [`Refusal::Box`]. Returns [`Refusal::Keys`] if the box opens but its content is malformed.
    pub fn open(
        &self,
        root_topic: &RootTopic,
        ephemerals: &[DecapsulationKey],
    ) -> Result<ReceivedKeys, Refusal> {
        let mut refusal = Refusal::NoCommonSuite;
        let replies = self.chain.keys().as_slice().iter().take(MAX_TRIED_KEYS);
        for reply in replies.filter_map(|key| key.to_exchange()?.into_reply()) {
            let same_suite =
                |key: &&DecapsulationKey| key.encapsulation_key().suite() == reply.suite();
            let Some(ephemeral) = ephemerals.iter().find(same_suite) else {
                continue;
            };
            refusal = match ephemeral.decapsulate(&reply) {
                Err(error) => error.into(),
                Ok(shared) => match self.open_with(root_topic, &shared) {
                    Some(keys) => return decode_keys(&keys),
                    None => Refusal::Box,
                },
            };
        }
        Err(refusal)
    }

    fn open_with(&self, root_topic: &RootTopic, shared: &SecretVec) -> Option<SecretVec> {
        let (nonce, sealed) = self.sealed.split_first_chunk()?;
        let key = box_key(root_topic, &self.random0, &self.random1, shared);
        symmetric::open(sealed, nonce, key.expose())
    }
}

fn reply_parts(randoms: &Value<'_>, sealed: &Value<'_>) -> Option<[Vec<u8>; 3]> {
    let [random0, random1] = randoms.array().ok()? else {
        return None;
    };
    let bytes = |value: &Value<'_>| value.bytes().ok().map(<[u8]>::to_vec);
    Some([bytes(random0)?, bytes(random1)?, bytes(sealed)?])
}

fn box_key(
    root_topic: &RootTopic,
    random0: &[u8],
    random1: &[u8],
    shared: &SecretVec,
) -> Secret<32> {
    let parts = [
        root_topic.as_str().as_bytes(),
        random0,
        random1,
        shared.expose(),
    ];
    Secret::fill_with(|key| *key = sha256(&parts))
}

/// Encodes keys as a flat array: id, secret, id, secret, …
fn encode_keys(keys: &[(KeyId, DataKey)]) -> SecretVec {
    // The buffer is allocated once, so that growth leaves no copies of the secrets behind. Each element has at most 34
    // bytes.
    let mut writer = Writer::append_to(Vec::with_capacity(8 + keys.len() * 68));
    writer.array(keys.len() * 2);
    for (id, secret) in keys {
        writer.key_id(id);
        writer.bytes(secret.expose());
    }
    writer.into_vec().into()
}

fn decode_keys(plaintext: &SecretVec) -> Result<ReceivedKeys, Refusal> {
    let value = Value::decode(plaintext.expose()).map_err(|_| Refusal::Keys("not MessagePack"))?;
    let elements = value.array().map_err(|_| Refusal::Keys("not an array"))?;
    let mut keys = ReceivedKeys::new();
    let mut seen = std::collections::HashSet::new();
    for pair in elements.chunks(2) {
        let [id, secret] = pair else {
            return Err(Refusal::Keys("an id has no secret"));
        };
        let id = id
            .key_id()
            .map_err(|_| Refusal::Keys("an id is neither 32 bytes nor an unsigned integer"))?;
        let secret = secret.bytes().ok().and_then(Secret::from_slice);
        let secret = secret.ok_or(Refusal::Keys("a secret is not 32 bytes long"))?;
        if !seen.insert(id) {
            return Err(Refusal::Keys("an id occurs twice"));
        }
        keys.push((id, secret.into()));
    }
    Ok(keys)
}
