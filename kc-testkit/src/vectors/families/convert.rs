//! Between the types of the vectors and those of our code.

use kc_core::chain::{CertificateKey, Identity, TrustEntry, TrustStore};
use kc_core::keys::VerifyingKey;
use kc_core::own_chains::OwnChains;
use kc_core::ratchet::{Component, MessageKey};
use kc_core::secret::Secret;
use kc_core::store::config::{Inherit, Name, NodeConfig, Section, Setting, Value as ConfigValue};
use kc_core::types::{KeyId, Timestamp};
use kc_core::wire::{self, Writer};
use serde_json::{Value, json};

use crate::vectors::{Fields, InputError, Typed};

/// What stands in the vectors for the path of the machine's certificate authorities.
pub(super) const CA_FILE: &str = "<SYSTEM-CA>";

/// A secret of 32 bytes; the inner error is the refusal of another length, which the type stands for.
pub(super) fn secret(
    fields: &Fields<'_>,
    name: &str,
) -> Result<Result<Secret<32>, String>, InputError> {
    let bytes = fields.bytes(name)?;
    Ok(Secret::from_slice(&bytes).ok_or_else(|| format!("a secret of {} bytes", bytes.len())))
}

/// A byte string of `N` bytes.
pub(super) fn array<const N: usize>(
    fields: &Fields<'_>,
    name: &str,
) -> Result<[u8; N], InputError> {
    let bytes = fields.bytes(name)?;
    bytes
        .try_into()
        .map_err(|_| fields.error(name, &format!("is not {N} bytes long")))
}

/// A length or a number that fits this machine's integers.
pub(super) fn size(fields: &Fields<'_>, name: &str, default: usize) -> Result<usize, InputError> {
    match fields.opt_integer(name)? {
        None => Ok(default),
        Some(size) => usize::try_from(size).map_err(|_| fields.error(name, "is too large")),
    }
}

/// A key id as the vectors write it.
pub(super) fn typed_key_id(id: &KeyId) -> Value {
    let typed = match id {
        KeyId::Long(bytes) => Typed::Bytes(bytes.to_vec()),
        KeyId::Short(index) => Typed::Int((*index).into()),
    };
    typed.to_value()
}

/// `key` and `nonce`.
pub(super) fn message_key(message_key: &MessageKey) -> Value {
    let (key, nonce) = message_key.expose();
    json!({"key": hex::encode(key), "nonce": hex::encode(nonce)})
}

/// A typed value as MessagePack.
pub(super) fn pack(typed: &Typed) -> Result<Vec<u8>, InputError> {
    let mut writer = Writer::new();
    write(typed, &mut writer)?;
    Ok(writer.into_vec())
}

fn write(typed: &Typed, writer: &mut Writer) -> Result<(), InputError> {
    match typed {
        Typed::Nil => writer.nil(),
        Typed::Bool(flag) => writer.bool(*flag),
        Typed::Int(int) => match (u64::try_from(*int), i64::try_from(*int)) {
            (Ok(int), _) => writer.uint(int),
            (_, Ok(int)) => writer.int(int),
            _ => return Err(InputError::new("a typed value", "is too large an integer")),
        },
        Typed::Float(bits) => writer.float(f64::from_bits(*bits)),
        Typed::Str(text) => writer.text(text),
        Typed::Bytes(bytes) => writer.bytes(bytes),
        Typed::List(items) => {
            writer.array(items.len());
            return items.iter().try_for_each(|item| write(item, writer));
        }
        Typed::Map(pairs) => {
            writer.map(pairs.len());
            return pairs.iter().try_for_each(|(key, value)| {
                write(key, writer)?;
                write(value, writer)
            });
        }
        Typed::HugeInt(_) | Typed::Key { .. } => {
            return Err(InputError::new(
                "a typed value",
                "has no form in MessagePack",
            ));
        }
    };
    Ok(())
}

/// One MessagePack value.
pub(super) fn unpack(packed: &[u8]) -> Result<wire::Value<'_>, InputError> {
    wire::Value::decode(packed).map_err(|error| InputError::new("MessagePack", error.to_string()))
}

/// A MessagePack value as a typed one; byte strings of either family are bytes.
pub(super) fn typed(value: &wire::Value<'_>) -> Typed {
    match value {
        wire::Value::Nil => Typed::Nil,
        wire::Value::Bool(flag) => Typed::Bool(*flag),
        wire::Value::Int(int) => Typed::Int(*int),
        wire::Value::Float(float) => Typed::float(*float),
        wire::Value::Bytes(bytes) | wire::Value::Raw(bytes) => Typed::Bytes(bytes.to_vec()),
        wire::Value::Array(elements) => Typed::List(elements.iter().map(typed).collect()),
        wire::Value::Map(entries) => {
            let pairs = entries
                .iter()
                .map(|(key, value)| (typed(key), typed(value)));
            Typed::Map(pairs.collect())
        }
    }
}

/// What a key's byte form holds: the bare bytes of version 1, the second element of the others.
pub(super) fn typed_content(version: u8, bytes: &[u8]) -> Result<Typed, InputError> {
    if version == 1 {
        return Ok(Typed::Bytes(bytes.to_vec()));
    }
    match unpack(bytes)? {
        wire::Value::Array(elements) => elements.get(1).map(typed),
        _ => None,
    }
    .ok_or_else(|| InputError::new("a key", "has a byte form without content"))
}

/// Kind, version and byte form of a certificate's key.
pub(super) fn public_key(key: &CertificateKey) -> (&'static str, u8, Vec<u8>) {
    match key {
        CertificateKey::Signing(key) => ("sign_public", key.key_type().version(), key.to_bytes()),
        CertificateKey::Exchange(key) => ("kem_public", key.version(), key.to_bytes()),
    }
}

/// A key id, typed.
pub(super) fn key_id(fields: &Fields<'_>, name: &str) -> Result<KeyId, InputError> {
    let id = match fields.typed(name)? {
        Typed::Bytes(bytes) => bytes.try_into().ok().map(KeyId::Long),
        Typed::Int(index) => u64::try_from(index).ok().map(KeyId::Short),
        _ => None,
    };
    id.ok_or_else(|| fields.error(name, "is no key id"))
}

/// `time`: the clock during the operation.
pub(super) fn time(fields: &Fields<'_>) -> Result<Timestamp, InputError> {
    let time = Timestamp::from_secs(fields.number("time")?);
    time.ok_or_else(|| fields.error("time", "is not finite"))
}

/// The chains as a configuration has them, in this order; null for an entry that is not there.
pub(super) fn chains(fields: &Fields<'_>) -> Result<OwnChains, InputError> {
    let chain = |chain: &Value| match chain {
        Value::Null => Some(None),
        chain => hex::decode(chain.as_str()?).ok().map(Some),
    };
    let chains = fields.raw("chains")?.as_array();
    let chains: Option<Vec<_>> = chains.and_then(|chains| chains.iter().map(chain).collect());
    let chains = chains.ok_or_else(|| fields.error("chains", "is not a list of hex"))?;
    let entry = |(position, chain): (usize, Option<_>)| {
        Some((Name::from(format!("chain{position}").as_str()), chain?))
    };
    Ok(chains.into_iter().enumerate().filter_map(entry).collect())
}

/// Each key with its chain.
pub(super) fn identities<'k>(
    keys: impl Iterator<Item = &'k VerifyingKey>,
    chains: &OwnChains,
) -> Vec<Identity> {
    let identity = |(position, key): (usize, &VerifyingKey)| {
        let chain = chains
            .of_key(position, key)
            .first()
            .map(|chain| chain.bytes.clone());
        Identity::new(key.clone(), chain)
    };
    keys.enumerate().map(identity).collect()
}

/// `allowlist` and `denylist`.
pub(super) fn trust(fields: &Fields<'_>) -> Result<TrustStore, InputError> {
    let entries = |name: &str, list: Vec<Vec<u8>>| {
        let entries = list.iter().map(|entry| TrustEntry::parse(entry));
        let entries = entries.collect::<Result<Vec<_>, _>>();
        entries.map_err(|error| fields.error(name, &error.to_string()))
    };
    let allowlist = fields.opt_bytes_list("allowlist")?;
    let allowlist = allowlist
        .map(|list| entries("allowlist", list))
        .transpose()?;
    let denylist = fields.opt_bytes_list("denylist")?.unwrap_or_default();
    Ok(TrustStore::new(allowlist, entries("denylist", denylist)?))
}

/// The entries of a section, all of them bytes, with their names.
pub(super) fn binary_entries(
    config: &NodeConfig,
    section: Section<'_>,
) -> Result<Vec<(String, Vec<u8>)>, InputError> {
    let settings = config
        .load_section(section, Inherit::Nothing)
        .map_err(|error| InputError::new("the configuration", error.to_string()))?;
    let entry = |setting: &Setting| match setting.value() {
        Some(ConfigValue::Bytes(bytes)) => Ok((setting.name.to_string(), bytes)),
        _ => Err(InputError::new(setting.name.to_string(), "holds no bytes")),
    };
    settings.iter().flatten().map(entry).collect()
}

/// `kv`: which part of a record.
pub(super) fn component(fields: &Fields<'_>) -> Result<Component, InputError> {
    match fields.text("kv")? {
        "key" => Ok(Component::Key),
        "value" => Ok(Component::Value),
        _ => Err(fields.error("kv", "is neither key nor value")),
    }
}
