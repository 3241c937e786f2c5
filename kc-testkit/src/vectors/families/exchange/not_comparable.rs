//! What of a transcript cannot be compared as it stands.

use kc_core::chain::{Demand, TEMPORARY_ROOT, TrustStore, UnverifiedChain, ValidatedChain};
use kc_core::exchange::KeyReply;
use kc_core::kem::{DecapsulationKey, EncapsulationKey, SecretKey, Suite};
use kc_core::types::{RootTopic, Timestamp};
use serde_json::{Value, json};

use super::{Actor, actors, bytes, root};
use crate::vectors::families::convert::{typed, typed_key_id, unpack};
use crate::vectors::{CaseInput, Fields, InputError, Typed};

const NONCE_LEN: usize = 24;

/// The messages of a step's result.
pub(super) fn messages(result: &Value) -> Vec<&str> {
    match result {
        Value::String(message) => vec![message],
        Value::Array(items) => items.iter().flat_map(messages).collect(),
        Value::Object(fields) => fields
            .get("message")
            .into_iter()
            .flat_map(messages)
            .collect(),
        _ => Vec::new(),
    }
}

/// Takes away what the reference signs under the temporary root: messages, and the state of having sent them.
pub(in crate::vectors) fn normalise_temporary_root(
    _: &CaseInput<'_>,
    body: &mut Value,
) -> Result<(), InputError> {
    let steps = body.get_mut("steps").and_then(Value::as_array_mut);
    for step in steps.into_iter().flatten() {
        if is_under_temporary_root(step.get("result")) {
            for name in ["result", "random0", "ephemeral_secrets"] {
                if let Some(field) = step.get_mut(name) {
                    *field = Value::Null;
                }
            }
        }
    }
    Ok(())
}

fn is_under_temporary_root(result: Option<&Value>) -> bool {
    let messages = result.map(messages).unwrap_or_default();
    messages.iter().any(|message| {
        let message = hex::decode(message).unwrap_or_default();
        let chain = UnverifiedChain::parse(&message);
        let first = chain.as_ref().ok().and_then(|chain| chain.links().first());
        first.is_some_and(|link| TEMPORARY_ROOT.verify(link).is_ok())
    })
}

/// Whether a message of the result, as its sender validates it, has a sntrup761 key in its last certificate.
pub(super) fn rests_on_sntrup761(sender: &Actor, now: Timestamp, result: &Value) -> bool {
    let messages = messages(result).into_iter();
    let mut messages = messages.filter_map(|message| hex::decode(message).ok());
    messages.any(|message| {
        let validated = validated(&message, &sender.credentials.trust, now);
        validated.is_some_and(|(_, chain)| has_sntrup761(&chain))
    })
}

/// Brings messages and ephemeral keys of sntrup761 into a form without what is drawn for it.
pub(in crate::vectors) fn normalise_sntrup761(
    case: &CaseInput<'_>,
    body: &mut Value,
) -> Result<(), InputError> {
    let given = case.fields.objects("steps")?;
    let actors = actors(case)?;
    let original = body.get("steps").cloned().unwrap_or_default();
    let mut last = None;
    for (index, given) in given.iter().enumerate() {
        let Some(step) = body.pointer_mut(&format!("/steps/{index}")) else {
            continue;
        };
        let Some(sender) = actors.get(given.text("actor")?) else {
            continue;
        };
        let view = View {
            case,
            trust: &sender.credentials.trust,
            now: Timestamp::from_secs(given.number("time")?).unwrap_or(Timestamp::EPOCH),
            root: root(&given.object("args")?)?,
        };
        if let Some(secrets) = step.get("ephemeral_secrets") {
            let normal = view.secrets(secrets, |key| view.is_of_request(key, &original, index))?;
            replace(step, "ephemeral_secrets", normal);
        }
        if let Some(secrets) = step.get("ephemeral_secrets_after") {
            let normal = view.secrets(secrets, |key| is_of_a_step(key, &original))?;
            replace(step, "ephemeral_secrets_after", normal);
        }
        if let Some(result) = step.get("result") {
            let normal = view.result(result)?;
            replace(step, "result", normal);
        }
        last = Some(view);
    }
    if let (Some(view), Some(result)) = (last, body.get("final")) {
        let normal = view.result(result)?;
        replace(body, "final", normal);
    }
    Ok(())
}

fn replace(fields: &mut Value, name: &str, value: Value) {
    if let Some(field) = fields.get_mut(name) {
        *field = value;
    }
}

/// A step as its actor sees it.
struct View<'c> {
    case: &'c CaseInput<'c>,
    trust: &'c TrustStore,
    now: Timestamp,
    root: RootTopic,
}

impl View<'_> {
    /// A result with each message of sntrup761 in its normal form; others, and those that make no sense, stay.
    fn result(&self, result: &Value) -> Result<Value, InputError> {
        Ok(match result {
            Value::String(message) => match hex::decode(message) {
                Ok(bytes) => self.message(&bytes)?.unwrap_or_else(|| result.clone()),
                Err(_) => result.clone(),
            },
            Value::Array(items) => {
                let items = items.iter().map(|item| self.result(item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let mut fields = fields.clone();
                if let Some(message) = fields.get_mut("message") {
                    *message = self.result(message)?;
                }
                Value::Object(fields)
            }
            other => other.clone(),
        })
    }

    fn message(&self, message: &[u8]) -> Result<Option<Value>, InputError> {
        let Some((chain, proved)) = validated(message, self.trust, self.now) else {
            return Ok(None);
        };
        let signed = chain.links().split_last().zip(proved.path().last());
        let Some(((leaf, links), signer)) = signed.filter(|_| has_sntrup761(&proved)) else {
            return Ok(None);
        };
        let Ok(certificate) = signer.verify(leaf) else {
            return Ok(None);
        };
        let Typed::List(mut certificate) = typed(&unpack(certificate)?) else {
            return Ok(None);
        };
        if let Some(keys) = certificate.get_mut(2) {
            without_kem_part(keys);
        }
        if let Some(sealed) = certificate.get_mut(4) {
            let Some(opened) = self.opened(message, sealed)? else {
                return Ok(None);
            };
            *sealed = opened;
        }
        let links: Vec<_> = links.iter().map(hex::encode).collect();
        Ok(Some(json!({
            "links": links,
            "certificate": Typed::List(certificate).to_value(),
        })))
    }

    /// The nonce of a reply's box, the length of the box, and what the recorded ephemeral keys open.
    fn opened(&self, message: &[u8], sealed: &Typed) -> Result<Option<Typed>, InputError> {
        let Typed::Bytes(sealed) = sealed else {
            return Ok(None);
        };
        let Ok(reply) = KeyReply::validate(message, &self.root, self.trust, self.now) else {
            return Ok(None);
        };
        let ephemerals = recorded_ephemerals(self.case, reply.random0())?;
        let Ok(keys) = reply.open(&self.root, &ephemerals) else {
            return Ok(None);
        };
        let mut opened = vec![
            Typed::Bytes(sealed.iter().take(NONCE_LEN).copied().collect()),
            length(sealed),
        ];
        for (id, secret) in &keys {
            opened.extend(Typed::from_value(&typed_key_id(id)));
            opened.push(Typed::Bytes(secret.expose().to_vec()));
        }
        Ok(Some(Typed::List(opened)))
    }

    /// A list of `[version, ephemeral secret]` in which the secrets of sntrup761 are replaced by their classical part
    /// and whether they belong where they stand.
    fn secrets(
        &self,
        secrets: &Value,
        belongs: impl Fn(&DecapsulationKey) -> bool,
    ) -> Result<Value, InputError> {
        let Some(entries) = secrets.as_array() else {
            return Ok(secrets.clone());
        };
        let normal = entries.iter().map(|entry| {
            let Some(key) = sntrup761_secret(entry) else {
                return Ok(entry.clone());
            };
            let belongs = belongs(&key);
            let mut parts = typed(&unpack(key.expose_bytes().expose())?);
            without_kem_part(&mut parts);
            Ok(json!([entry.get(0), {"key": parts.to_value(), "belongs": belongs}]))
        });
        normal.collect()
    }

    /// The key is the one that this step's request lists, and it opens what is sealed to that.
    fn is_of_request(&self, key: &DecapsulationKey, steps: &Value, index: usize) -> bool {
        let result = steps.pointer(&format!("/{index}/result"));
        let messages = result.map(messages).unwrap_or_default();
        let messages = messages
            .into_iter()
            .filter_map(|message| bytes(message).ok());
        let mut offers = messages.flat_map(|message| offers(&message, self.trust, self.now));
        let mut rng = self.case.draws().or_filler();
        offers.any(|offer| {
            let Ok((reply, shared)) = offer.encapsulate(&mut rng) else {
                return false;
            };
            offer == *key.encapsulation_key() && key.decapsulate(&reply) == Ok(shared)
        })
    }
}

fn is_of_a_step(key: &DecapsulationKey, steps: &Value) -> bool {
    let steps = steps.as_array().into_iter().flatten();
    let secrets = steps.filter_map(|step| step.get("ephemeral_secrets")?.as_array());
    let mut keys = secrets.flatten().filter_map(sntrup761_secret);
    keys.any(|known| known.expose_bytes() == key.expose_bytes())
}

fn validated<'m>(
    message: &'m [u8],
    trust: &TrustStore,
    now: Timestamp,
) -> Option<(UnverifiedChain<'m>, ValidatedChain)> {
    let chain = UnverifiedChain::parse(message).ok()?;
    let proved = chain.validate(trust, &Demand::at(now)).ok()?;
    Some((chain, proved))
}

fn has_sntrup761(chain: &ValidatedChain) -> bool {
    let keys = chain.keys().as_slice().iter();
    let mut keys = keys.filter_map(|key| key.to_exchange());
    keys.any(|key| key.suite() == Suite::Sntrup761)
}

/// The sntrup761 keys that a request lists.
fn offers(message: &[u8], trust: &TrustStore, now: Timestamp) -> Vec<EncapsulationKey> {
    let Some((_, chain)) = validated(message, trust, now) else {
        return Vec::new();
    };
    let keys = chain.keys().as_slice().iter();
    let offers = keys.filter_map(|key| key.to_exchange()?.into_offer());
    offers
        .filter(|offer| offer.suite() == Suite::Sntrup761)
        .collect()
}

/// The ephemeral keys that the transcript records for the request with this random value.
pub(super) fn recorded_ephemerals(
    case: &CaseInput<'_>,
    random0: &[u8],
) -> Result<Vec<DecapsulationKey>, InputError> {
    let steps = case.fields.objects("steps")?;
    let asked = |step: &&Fields<'_>| step.bytes("random0").is_ok_and(|known| known == random0);
    let Some(step) = steps.iter().find(asked) else {
        return Ok(Vec::new());
    };
    let entries = step.raw("ephemeral_secrets")?.as_array();
    Ok(entries.into_iter().flatten().filter_map(secret).collect())
}

fn secret(entry: &Value) -> Option<DecapsulationKey> {
    let bytes = hex::decode(entry.get(1)?.as_str()?).ok()?;
    match SecretKey::from_bytes(&bytes).ok()? {
        SecretKey::Fresh(key) => Some(key),
        SecretKey::Completed(_) => None,
    }
}

fn sntrup761_secret(entry: &Value) -> Option<DecapsulationKey> {
    secret(entry).filter(|key| key.encapsulation_key().suite() == Suite::Sntrup761)
}

/// Replaces the sntrup761 part of each key by its length: of `[version, [x25519, part]]` at whatever depth.
fn without_kem_part(keys: &mut Typed) {
    let Typed::List(elements) = keys else {
        return;
    };
    if let [Typed::Int(2 | 3), Typed::List(parts)] = elements.as_mut_slice() {
        if let [_, part] = parts.as_mut_slice() {
            *part = match part {
                Typed::Bytes(bytes) => length(bytes),
                _ => Typed::Nil,
            };
        }
    } else {
        elements.iter_mut().for_each(without_kem_part);
    }
}

fn length(bytes: &[u8]) -> Typed {
    Typed::Int(i128::try_from(bytes.len()).unwrap_or(i128::MAX))
}
