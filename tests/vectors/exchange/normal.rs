//! Normal forms of the parts of a transcript that cannot be compared directly.

use kc_core::chain::{Demand, TEMPORARY_ROOT, TrustStore, UnverifiedChain, ValidatedChain};
use kc_core::exchange::KeyReply;
use kc_core::kem::{DecapsulationKey, EncapsulationKey, Suite};
use kc_core::types::{RootTopic, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ephemeral, Sent, Transcript, fresh};
use crate::exchange::actor::Actor;
use crate::operation::{Context, Invalid, write};
use crate::values::{Hex, Typed, hex_list, unpack};

const NONCE_LEN: usize = 24;

/// Returns the messages of a step's result.
fn messages(step: &Value) -> Vec<Hex> {
    let sent = step.get("result").map(Sent::deserialize);
    let sent = sent.and_then(Result::ok);
    sent.iter().flat_map(Sent::messages).cloned().collect()
}

/// Removes the messages that the reference signs under the temporary root, and the state after sending them. kc never
/// signs under that root (protocol, section 7), so these messages count as not sent.
pub(super) fn without_temporary_root(body: &mut Value) {
    let steps = body.get_mut("steps").and_then(Value::as_array_mut);
    for step in steps.into_iter().flatten() {
        if messages(step).iter().any(is_under_temporary_root) {
            for name in ["result", "random0", "ephemeral_secrets"] {
                replace(step, name, Value::Null);
            }
        }
    }
}

fn is_under_temporary_root(message: &Hex) -> bool {
    let chain = UnverifiedChain::parse(message);
    let first = chain.as_ref().ok().and_then(|chain| chain.links().first());
    first.is_some_and(|link| TEMPORARY_ROOT.verify(link).is_ok())
}

fn replace(fields: &mut Value, name: &str, value: Value) {
    if let Some(field) = fields.get_mut(name) {
        *field = value;
    }
}

/// Returns whether a message, as its sender validates it, has a sntrup761 key in its last certificate.
pub(super) fn rests_on_sntrup761(sender: &Actor, now: Timestamp, message: &Hex) -> bool {
    let validated = validated(message, sender.credentials.trust.lists(), now);
    validated.is_some_and(|(_, chain)| has_sntrup761(&chain))
}

/// Replaces all parts of messages and ephemeral keys that depend on the draws of sntrup761, which cannot be reproduced.
/// Certificates are compared without these keys and their signatures; replies also by the content that the recorded
/// ephemeral keys open; ephemeral keys by whether they open values that are sealed to their request.
pub(super) fn without_sntrup761(
    transcript: &Transcript,
    case: &Context,
    body: &mut Value,
) -> Result<(), Invalid> {
    let actors = transcript.actors()?;
    let original = body.get("steps").and_then(Value::as_array).cloned();
    let original = original.unwrap_or_default();
    let mut last = None;
    for (index, given) in transcript.steps.iter().enumerate() {
        let actor = actors.get(given.actor.as_str());
        let (Some(step), Some(actor)) = (body.pointer_mut(&format!("/steps/{index}")), actor)
        else {
            continue;
        };
        let view = View {
            transcript,
            trust: actor.credentials.trust.lists(),
            now: given.now(case)?,
            root: given.root(),
        };
        let sent = original.get(index).map(messages).unwrap_or_default();
        let of_request = |key: &DecapsulationKey| view.is_of(&sent, key, case);
        normalise_secrets(step, "ephemeral_secrets", of_request)?;
        let of_a_step = |key: &DecapsulationKey| is_of_a_step(key, &original);
        normalise_secrets(step, "ephemeral_secrets_after", of_a_step)?;
        if let Some(result) = step.get_mut("result") {
            view.normalise(result)?;
        }
        last = Some(view);
    }
    if let (Some(view), Some(result)) = (last, body.get_mut("final")) {
        view.normalise(result)?;
    }
    Ok(())
}

/// Replaces the ephemeral keys of sntrup761 in a list by their classical part, and by whether they belong to their
/// request.
fn normalise_secrets(
    step: &mut Value,
    name: &str,
    belongs: impl Fn(&DecapsulationKey) -> bool,
) -> Result<(), Invalid> {
    let secrets = step.get_mut(name).and_then(Value::as_array_mut);
    for entry in secrets.into_iter().flatten() {
        if let Some(key) = sntrup761_secret(entry) {
            let mut parts = Typed::from(&unpack(key.expose_bytes().expose())?);
            without_kem_part(&mut parts);
            let version = entry.get(0);
            *entry = json!({"version": version, "key": write(&parts)?, "belongs": belongs(&key)});
        }
    }
    Ok(())
}

fn sntrup761_secret(entry: &Value) -> Option<DecapsulationKey> {
    let key = fresh(&Ephemeral::deserialize(entry).ok()?)?;
    (key.encapsulation_key().suite() == Suite::Sntrup761).then_some(key)
}

fn is_of_a_step(key: &DecapsulationKey, steps: &[Value]) -> bool {
    let secrets = steps
        .iter()
        .filter_map(|step| step.get("ephemeral_secrets")?.as_array());
    let mut keys = secrets.flatten().filter_map(sntrup761_secret);
    keys.any(|known| known.expose_bytes() == key.expose_bytes())
}

/// A step from the view of its actor.
struct View<'t> {
    transcript: &'t Transcript,
    trust: &'t TrustStore,
    now: Timestamp,
    root: RootTopic,
}

impl View<'_> {
    /// Replaces each message of sntrup761 in a result by its normal form; other messages, and malformed ones, stay.
    fn normalise(&self, result: &mut Value) -> Result<(), Invalid> {
        match result {
            Value::String(_) => {
                let message = Hex::deserialize(&*result).ok();
                let normal = message.map(|message| self.message(&message)).transpose()?;
                if let Some(normal) = normal.flatten() {
                    *result = normal;
                }
            }
            Value::Array(items) => {
                items.iter_mut().try_for_each(|item| self.normalise(item))?;
            }
            Value::Object(fields) => {
                fields
                    .get_mut("message")
                    .map_or(Ok(()), |message| self.normalise(message))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn message(&self, message: &Hex) -> Result<Option<Value>, Invalid> {
        let Some((chain, proved)) = validated(message, self.trust, self.now) else {
            return Ok(None);
        };
        let signed = chain.links().split_last().zip(proved.path().last());
        let Some(((leaf, links), signer)) = signed.filter(|_| has_sntrup761(&proved)) else {
            return Ok(None);
        };
        let certificate = signer.verify(leaf).map_err(Invalid::new)?;
        let Typed::List { v: mut certificate } = Typed::from(&unpack(certificate)?) else {
            return Ok(None);
        };
        if let Some(keys) = certificate.get_mut(2) {
            without_kem_part(keys);
        }
        if let Some(sealed) = certificate.get_mut(4) {
            let Some(opened) = self.opened(message, sealed) else {
                return Ok(None);
            };
            *sealed = opened;
        }
        let links = hex_list(links);
        Ok(Some(
            json!({"links": links, "certificate": write(&certificate)?}),
        ))
    }

    /// Returns the nonce of a reply's box, the length of the box, and the content that the recorded ephemeral keys
    /// open.
    fn opened(&self, message: &Hex, sealed: &Typed) -> Option<Typed> {
        let Typed::Bytes { hex: sealed } = sealed else {
            return None;
        };
        let reply = KeyReply::validate(message, &self.root, self.trust, self.now).ok()?;
        let ephemerals = self.transcript.ephemerals(reply.random0());
        let keys = reply.open(&self.root, &ephemerals).ok()?;
        let head = [Typed::bytes(sealed.get(..NONCE_LEN)?), length(sealed)];
        let keys = keys.iter();
        let keys = keys.flat_map(|(id, secret)| [Typed::from(id), Typed::bytes(secret.expose())]);
        Some(Typed::list(head.into_iter().chain(keys)))
    }

    /// Returns whether the key is one that these requests list, and opens values that are sealed to that key.
    fn is_of(&self, requests: &[Hex], key: &DecapsulationKey, case: &Context) -> bool {
        let mut offers = requests
            .iter()
            .flat_map(|request| offers(request, self.trust, self.now));
        let mut rng = case.draws().or_filler();
        offers.any(|offer| {
            let Ok((reply, shared)) = offer.encapsulate(&mut rng) else {
                return false;
            };
            offer == *key.encapsulation_key() && key.decapsulate(&reply) == Ok(shared)
        })
    }
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

/// Returns the sntrup761 keys that a request lists.
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

/// Replaces the sntrup761 part of each key by its length: in `[version, [x25519, part]]` at any depth.
fn without_kem_part(keys: &mut Typed) {
    let Typed::List { v: elements } = keys else {
        return;
    };
    match elements.as_mut_slice() {
        [version, Typed::List { v: parts }] if matches!(version.as_int(), Some(2 | 3)) => {
            if let [_, part] = parts.as_mut_slice() {
                *part = match part {
                    Typed::Bytes { hex } => length(hex),
                    _ => Typed::Nil {},
                };
            }
        }
        elements => elements.iter_mut().for_each(without_kem_part),
    }
}

fn length(bytes: &[u8]) -> Typed {
    Typed::int(bytes.len() as i128)
}
