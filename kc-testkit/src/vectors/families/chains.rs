use kc_core::chain::{
    CertificateKeys, ChainError, Constraints, Demand, MaxAge, TrustEntry, TrustStore,
    UnverifiedChain, Usage, ValidatedChain, grants, intersect,
};
use kc_core::types::Timestamp;
use serde_json::{Value, json};

use super::convert::{pack, public_key, typed};
use crate::vectors::{CaseInput, Family, InputError, Op, Outcome, Typed};

pub(super) const FAMILY: Family = Family {
    name: "chains",
    ops: &[
        Op::new(
            "process_chain",
            &[
                "chain",
                "topic",
                "usage",
                "allowlist",
                "denylist",
                "checktime",
            ],
            process_chain,
        ),
        Op::new(
            "multimatch",
            &["wanted typed", "choices typed"],
            multimatch_op,
        ),
        Op::new(
            "intersect_multimatch",
            &["set1 typed", "set2 typed"],
            intersect_op,
        ),
    ],
};

fn process_chain(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let bytes = case.fields.bytes("chain")?;
    let now = Timestamp::from_secs(case.fields.number("checktime")?);
    let demand = Demand {
        now: now.ok_or_else(|| case.fields.error("checktime", "is not finite"))?,
        topic: case.fields.opt_text("topic")?,
        usage: case.fields.opt_text("usage")?,
    };
    let allowlist = case.fields.opt_bytes_list("allowlist")?;
    let denylist = case.fields.opt_bytes_list("denylist")?;
    let validated = trust(allowlist, denylist).and_then(|trust| {
        let chain = UnverifiedChain::parse(&bytes)?;
        let revocation = chain.self_revocation().filter(|_| {
            trust.allowlist().is_some() && demand.usage == Some(Usage::Denylist.as_str())
        });
        let validated = chain.validate(&trust, &demand);
        validated.or_else(|error| revocation.map_or(Err(error), |revocation| revocation.verify()))
    });
    match validated {
        Ok(chain) => describe(&chain).map(Outcome::Ok),
        Err(error) => Ok(Outcome::reject(format!("{}: {error}", error.check()))),
    }
}

fn trust(
    allowlist: Option<Vec<Vec<u8>>>,
    denylist: Option<Vec<Vec<u8>>>,
) -> Result<TrustStore, ChainError> {
    let parse = |list: Vec<Vec<u8>>| {
        let entries = list.iter().map(|entry| TrustEntry::parse(entry));
        entries.collect::<Result<Vec<_>, _>>()
    };
    let allowlist = allowlist.map(parse).transpose()?;
    let denylist = parse(denylist.unwrap_or_default())?;
    Ok(TrustStore::new(allowlist, denylist))
}

fn describe(chain: &ValidatedChain) -> Result<Value, InputError> {
    let max_age = match chain.max_age() {
        MaxAge::Int(secs) => Typed::Int(secs),
        MaxAge::Float(secs) => Typed::float(secs),
    };
    let extra: Vec<_> = chain
        .extra()
        .iter()
        .map(|value| typed(value).to_value())
        .collect();
    let signers = chain.path().iter().map(|key| hex::encode(key.to_bytes()));
    let signers: Vec<_> = signers.collect();
    let named = |name: fn(&str) -> Typed| {
        let pairs = restrictions(chain.constraints()).into_iter();
        Typed::List(
            pairs
                .map(|(text, value)| Typed::List(vec![name(text), value]))
                .collect(),
        )
    };
    Ok(json!({
        "max_age": max_age.to_value(),
        "poison": hex::encode(pack(&named(|name| Typed::Str(name.to_owned())))?),
        "poison_decoded": named(|name| Typed::Bytes(name.into())).to_value(),
        "key": keys(chain.keys()),
        "extra": extra,
        "signers": signers,
    }))
}

/// The restrictions as the reference writes them: names as text, entries as bytes.
fn restrictions(constraints: &Constraints) -> Vec<(&'static str, Typed)> {
    let list = |list: &Option<Vec<String>>| list.clone().map(|list| typed_set(&list));
    let path_length = constraints.path_length.map(|left| Typed::Int(left.into()));
    [
        ("topics", list(&constraints.topics)),
        ("usages", list(&constraints.usages)),
        ("pathlen", path_length),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn keys(keys: &CertificateKeys) -> Value {
    let one = |key| {
        let (kind, version, bytes) = public_key(key);
        json!({"kind": kind, "version": version, "bytes": hex::encode(bytes)})
    };
    match keys {
        CertificateKeys::Single(key) => one(key),
        CertificateKeys::List(keys) => {
            json!({"multi": keys.iter().map(one).collect::<Vec<_>>()})
        }
    }
}

fn multimatch_op(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let choices = set(&case.fields.typed("choices")?);
    let wanted = text(&case.fields.typed("wanted")?);
    let (Some(choices), Some(wanted)) = (choices, wanted) else {
        return Ok(Outcome::reject("neither text nor nothing"));
    };
    Ok(match grants(choices.as_deref(), wanted.as_deref()) {
        Ok(matches) => Outcome::Ok(json!({"match": matches})),
        Err(error) => Outcome::reject(error),
    })
}

fn intersect_op(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let (parent, child) = (
        set(&case.fields.typed("set1")?),
        set(&case.fields.typed("set2")?),
    );
    let (Some(parent), Some(child)) = (parent, child) else {
        return Ok(Outcome::reject("neither a list of texts nor nothing"));
    };
    Ok(match intersect(parent, child) {
        Ok(set) => {
            let set = set.map_or(Typed::Nil, |set| typed_set(&set));
            Outcome::Ok(json!({"set": set.to_value()}))
        }
        Err(error) => Outcome::reject(error),
    })
}

/// Text of either family, or nothing; `None` for anything else, which our types cannot express.
fn text(value: &Typed) -> Option<Option<String>> {
    match value {
        Typed::Nil => Some(None),
        Typed::Str(text) => Some(Some(text.clone())),
        Typed::Bytes(bytes) => String::from_utf8(bytes.clone()).ok().map(Some),
        _ => None,
    }
}

/// A list of texts, or nothing; `None` for anything else.
fn set(value: &Typed) -> Option<Option<Vec<String>>> {
    match value {
        Typed::Nil => Some(None),
        Typed::List(items) => {
            let texts = items.iter().map(|item| text(item)?);
            texts.collect::<Option<_>>().map(Some)
        }
        _ => None,
    }
}

fn typed_set(set: &[String]) -> Typed {
    let entries = set
        .iter()
        .map(|entry| Typed::Bytes(entry.as_bytes().to_vec()));
    Typed::List(entries.collect())
}
