use kc_core::chain::{Demand, MaxAge, TrustEntry, TrustStore, UnverifiedChain, ValidatedChain};
use kc_core::keys::{KeyType, Signer, VerifyingKey};
use kc_core::provision::{
    DerivedKey, NewNode, ProvisionedNode, Provisioner, Role, derive_provisioner, derive_root,
    provision_node,
};
use kc_core::store::config::{Inherit, NodeConfig, Section, Setting, Value as ConfigValue};
use kc_core::types::Timestamp;
use serde_json::{Map, Value, json};

use super::convert::{CA_FILE, typed, unpack};
use crate::vectors::{CaseInput, Draws, Family, InputError, Op, Outcome, Source, Typed};

pub(super) const FAMILY: Family = Family {
    name: "provisioning",
    ops: &[
        Op::new(
            "password_rot",
            &["password", "keytype", "scrypt_opslimit", "scrypt_memlimit"],
            password_rot,
        ),
        Op::new(
            "password_provisioner",
            &[
                "password",
                "root_public",
                "keytype",
                "scrypt_opslimit",
                "scrypt_memlimit",
            ],
            password_provisioner,
        ),
        Op::new(
            "simple_provision",
            &[
                "node_id",
                "keytype",
                "rot_password",
                "provisioning_password",
                "choice",
                "limited",
                "topics",
                "pathlen",
                "time",
                "answers",
                "files_before any",
            ],
            simple_provision,
        ),
    ],
};

/// libsodium's limits, which ours come down to.
const LIMITS: [(&str, u64); 2] = [
    ("scrypt_opslimit", 524_288),
    ("scrypt_memlimit", 16_777_216),
];

fn password_rot(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let Some(key_type) = key_type(case)? else {
        return Ok(Outcome::reject("no such type of signing keys"));
    };
    check_limits(case)?;
    Ok(
        match derive_root(case.fields.text("password")?.as_bytes(), key_type) {
            Ok(derived) => {
                let entry = TrustEntry::unrestricted(derived.key.verifying_key());
                let mut out = describe(&derived);
                out.insert(
                    "root_entry".to_owned(),
                    json!(hex::encode(entry.as_bytes())),
                );
                Outcome::Ok(Value::Object(out))
            }
            Err(error) => Outcome::reject(error),
        },
    )
}

fn password_provisioner(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let Some(key_type) = key_type(case)? else {
        return Ok(Outcome::reject("no such type of signing keys"));
    };
    check_limits(case)?;
    let password = case.fields.text("password")?.as_bytes();
    let root = match VerifyingKey::from_bytes(&case.fields.bytes("root_public")?) {
        Ok(root) => root,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let mut out = Map::new();
    for provisioner in Provisioner::ALL {
        match derive_provisioner(password, provisioner, &root, key_type) {
            Ok(derived) => {
                let derived = Value::Object(describe(&derived));
                out.insert(provisioner.name().to_owned(), derived);
            }
            Err(error) => return Ok(Outcome::reject(error)),
        }
    }
    Ok(Outcome::Ok(Value::Object(out)))
}

fn describe(derived: &DerivedKey) -> Map<String, Value> {
    let public = derived.key.verifying_key().to_bytes();
    let fields = [
        ("salt", hex::encode(derived.salt)),
        ("seed", hex::encode(derived.seed.expose())),
        ("public", hex::encode(public)),
        ("secret", hex::encode(derived.key.expose_bytes().expose())),
    ];
    let named = fields.map(|(name, text)| (name.to_owned(), json!(text)));
    Map::from_iter(named)
}

fn key_type(case: &CaseInput<'_>) -> Result<Option<KeyType>, InputError> {
    let version = case.fields.integer("keytype")?;
    Ok(KeyType::from_version(version.into()))
}

fn check_limits(case: &CaseInput<'_>) -> Result<(), InputError> {
    for (name, limit) in LIMITS {
        if case.fields.integer(name)? != limit {
            return Err(case.fields.error(name, "is not the interactive limit"));
        }
    }
    Ok(())
}

fn simple_provision(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let fields = &case.fields;
    if fields.object("files_before")?.entries().next().is_some() {
        return Err(fields.error("files_before", "has files of an earlier run"));
    }
    let now = Timestamp::from_secs(fields.number("time")?)
        .ok_or_else(|| fields.error("time", "is not finite"))?;
    let Some(key_type) = key_type(case)? else {
        return Ok(Outcome::reject("no such type of signing keys"));
    };
    let role = role(case)?;
    let topics = fields.text("topics")?.split_whitespace();
    let topics: Vec<_> = topics.map(str::to_owned).collect();
    let node = NewNode {
        id: fields.text("node_id")?,
        role,
        topics: &topics,
        path_length: path_length(case)?,
        lifetime: role.default_lifetime(),
        key_type,
        ssl_cafile: CA_FILE,
    };
    let provisioned = provision_node(
        &node,
        fields.text("rot_password")?.as_bytes(),
        fields.text("provisioning_password")?.as_bytes(),
        now,
        &mut without_side_effects(case.draws(), role),
    );
    match provisioned {
        Ok(provisioned) => outcome(&provisioned, now),
        Err(error) => Ok(Outcome::reject(error)),
    }
}

/// The reference signs the certificates of all three provisioners, and draws a throw-away ephemeral key for each key
/// exchange after the ratchet's secret and the opaque key.
fn without_side_effects(draws: Draws, role: Role) -> Draws {
    let provisioners = Provisioner::ALL;
    let ours = provisioners
        .iter()
        .position(|known| *known == role.provisioner());
    draws.keep(|source, len, before| match (source, len) {
        (Source::Sodium, 32) => !(2..5).contains(&before),
        (Source::Oqs, 16) => Some(before) == ours || before >= provisioners.len(),
        _ => true,
    })
}

/// The role that a person chose.
fn role(case: &CaseInput<'_>) -> Result<Role, InputError> {
    let limited = match case.fields.opt_text("limited")? {
        None | Some("" | "n") => false,
        Some("y") => true,
        Some(_) => return Err(case.fields.error("limited", "is neither y nor n")),
    };
    Ok(match (case.fields.integer("choice")?, limited) {
        (1, false) => Role::Controller,
        (2, false) => Role::Producer,
        (3, false) => Role::Consumer,
        (3, true) => Role::ConsumerLimited,
        (4, false) => Role::Prodcon,
        (4, true) => Role::ProdconLimited,
        _ => return Err(case.fields.error("choice", "is no choice known")),
    })
}

/// What a person typed: nothing for the default of 1, -1 for no limit.
fn path_length(case: &CaseInput<'_>) -> Result<Option<u32>, InputError> {
    match case.fields.text("pathlen")? {
        "" => Ok(Some(1)),
        "-1" => Ok(None),
        typed => match typed.parse() {
            Ok(path_length) => Ok(Some(path_length)),
            Err(_) => Err(case.fields.error("pathlen", "is no number")),
        },
    }
}

fn outcome(node: &ProvisionedNode, now: Timestamp) -> Result<Outcome, InputError> {
    let allowlist = binary_entries(&node.config, Section::ALLOWLIST)?;
    let entries = allowlist.iter().map(|(_, entry)| TrustEntry::parse(entry));
    let trust = match entries.collect() {
        Ok(entries) => TrustStore::new(Some(entries), Vec::new()),
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let mut chains = Map::new();
    for (name, chain) in binary_entries(&node.config, Section::CHAINS)? {
        let checked = UnverifiedChain::parse(&chain).and_then(|chain| {
            let validated = chain.validate(&trust, &Demand::at(now))?;
            Ok((chain.links().iter().map(hex::encode).collect(), validated))
        });
        match checked {
            Ok((links, validated)) => {
                chains.insert(name, describe_chain(links, &validated)?);
            }
            Err(error) => return Ok(Outcome::reject(error)),
        }
    }
    let allowlist = allowlist.iter();
    let allowlist = allowlist.map(|(name, entry)| (name.clone(), json!(hex::encode(entry))));
    Ok(Outcome::Ok(json!({
        "files": {
            "config": node.config.render().as_str(),
            "crypto": hex::encode(node.secrets.encode().expose()),
            "seed": hex::encode(node.seed.encode().expose()),
        },
        "placeholder": CA_FILE,
        "allowlist": Map::from_iter(allowlist),
        "chains_checked": chains,
    })))
}

fn binary_entries(
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

fn describe_chain(links: Vec<String>, chain: &ValidatedChain) -> Result<Value, InputError> {
    let max_age = match chain.max_age() {
        MaxAge::Int(secs) => Typed::Int(secs),
        MaxAge::Float(secs) => Typed::float(secs),
    };
    let key = chain.keys().signer();
    let key = key.ok_or_else(|| InputError::new("a node's chain", "ends with no signing key"))?;
    let constraints = chain.constraints().encode();
    Ok(json!({
        "max_age": max_age.to_value(),
        "poison_decoded": typed(&unpack(&constraints)?).to_value(),
        "key": {"bytes": hex::encode(key.to_bytes()), "version": key.key_type().version()},
        "links": links,
    }))
}
