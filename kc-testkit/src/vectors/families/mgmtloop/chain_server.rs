//! One turn of the chain server.

use kc_core::chain_server::{ChainKey, RenewalPolicy};
use kc_core::store::config::{Section, Value};
use serde_json::json;

use super::files::{Files, invalid};
use super::kafka::{CHAINS, Kafka};
use crate::vectors::families::convert::time;
use crate::vectors::{CaseInput, InputError, Outcome};

pub(super) fn chain_server(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let mut files = Files::open(&case.fields)?;
    let now = time(&case.fields)?;
    let policy = policy(&files)?;
    let own = files.credentials.own(now).unwrap_or_default();
    let mut draws = case.draws();
    let mut kafka = Kafka::new();
    let settings = files.config.own_settings(Section::CHAIN_KEYS);
    for setting in settings.map_err(invalid("chainkeys"))? {
        let key = match setting.value() {
            Some(Value::Bytes(entry)) => ChainKey::parse(&entry).map_err(invalid("chainkeys"))?,
            _ => return Err(InputError::new("chainkeys", "an entry is not of bytes")),
        };
        let Some(renewal) = policy.renew(&key, &own, now) else {
            continue;
        };
        if let Some(chain) = files.credentials.sign(&renewal.to_be_signed, &mut draws) {
            kafka.send(CHAINS, &key.key().to_bytes(), &chain);
            files.set(Section::CHAIN_KEYS, setting.name, renewal.renewed.encode())?;
        }
    }
    let mut effects = kafka.take_effects();
    if !effects.is_empty() {
        kafka.flush();
        effects.extend(kafka.take_effects());
    }
    Ok(Outcome::Ok(json!({
        "effects": effects,
        "chainkeys_after": files.lines(Section::CHAIN_KEYS).join("\n"),
    })))
}

fn policy(files: &Files) -> Result<RenewalPolicy, InputError> {
    let default = RenewalPolicy::default();
    let lifetime = files.seconds(Section::NODE, "lifetime")?;
    let refresh_fraction = match files.value(Section::NODE, "refresh_fraction")? {
        None => default.refresh_fraction,
        Some(Value::Float(fraction)) => fraction,
        Some(_) => return Err(InputError::new("refresh_fraction", "is no fraction")),
    };
    Ok(RenewalPolicy {
        lifetime: lifetime.unwrap_or(default.lifetime),
        refresh_fraction,
    })
}
