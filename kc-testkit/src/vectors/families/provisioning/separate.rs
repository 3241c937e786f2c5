//! The separate tools: provisioners and nodes whose root of trust is elsewhere.

use kc_core::kem::{EncapsulationKey, PublicKey, SecretKey, sealed};
use kc_core::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use kc_core::provision::{
    ProvisionError, ProvisionedNode, Provisioner, Role, derive_provisioner, provision_node_under,
    request_node, request_provisioner, self_revocation_without_entry, sign_request,
};
use serde_json::{Map, Value, json};

use super::files::outcome;
use super::{Asked, Limited, key_type, role, without_exchange_keys};
use crate::vectors::families::convert::time;
use crate::vectors::{CaseInput, Fields, InputError, Outcome};

pub(super) fn generate_chains(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let Some(key_type) = key_type(case)? else {
        return Ok(Outcome::reject("no such type of signing keys"));
    };
    let root = root(&case.fields)?;
    let password = case.fields.text("password")?.as_bytes();
    let mut rng = case.draws();
    let mut describe = |provisioner| -> Result<Value, ProvisionError> {
        let key = derive_provisioner(password, provisioner, &root, key_type)?.key;
        // That of the request has the entry without which the peers pass it over.
        let revocation = self_revocation_without_entry(&key, &mut rng)?;
        Ok(json!({
            "public": hex::encode(key.verifying_key().to_bytes()),
            "secret": hex::encode(key.expose_bytes().expose()),
            "to_sign": hex::encode(request_provisioner(provisioner, &key, &mut rng)?.to_sign),
            "self_signed_revocation": hex::encode(revocation),
        }))
    };
    let mut out = Map::new();
    for provisioner in Provisioner::ALL {
        match describe(provisioner) {
            Ok(described) => out.insert(provisioner.name().to_owned(), described),
            Err(error) => return Ok(Outcome::reject(error)),
        };
    }
    Ok(Outcome::Ok(Value::Object(out)))
}

pub(super) fn provision(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let fields = &case.fields;
    let Some(key_type) = key_type(case)? else {
        return Ok(Outcome::reject("no such type of signing keys"));
    };
    let role = role(case, Limited::ByDefault)?;
    let Some(provisioner) = role.provisioner() else {
        return Err(fields.error("choice", "has no provisioner"));
    };
    let now = time(fields)?;
    let escrow = escrow_key(fields)?;
    let asked = Asked::read(case, role, Some(role.default_lifetime_without_root()))?;
    let node = asked.node(key_type, escrow.as_ref());
    // The secret of the ratchet, that of the escrow's ephemeral key, the opaque key.
    let before = if escrow.is_some() { 3 } else { 2 };
    let root = root(fields)?;
    let password = fields.text("provisioning_password")?.as_bytes();
    let key = match derive_provisioner(password, provisioner, &root, key_type) {
        Ok(derived) => derived.key,
        Err(error) => return Ok(Outcome::reject(error)),
    };
    let provisioned = provision_node_under(
        &root,
        &fields
            .object("signed_provisioners")?
            .bytes(provisioner.name())?,
        &node,
        &key,
        now,
        &mut without_exchange_keys(case.draws(), before),
    );
    match provisioned {
        Ok(node) if !escrow_opens(fields, &node)? => {
            Ok(Outcome::reject("the escrow does not open to the seed"))
        }
        Ok(node) => {
            let escrow = node.escrow.as_deref();
            outcome(&node, now, escrow.map(|sealed| ("escrow_value", sealed)))
        }
        Err(error) => Ok(Outcome::reject(error)),
    }
}

pub(super) fn controller_provision(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    by_hand(case, Role::Controller)
}

pub(super) fn chain_server_provision(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    by_hand(case, Role::ChainServer)
}

fn by_hand(case: &CaseInput<'_>, role: Role) -> Result<Outcome, InputError> {
    let fields = &case.fields;
    let now = time(fields)?;
    let lifetime = match fields.text("lifetime")? {
        "" => Some(role.default_lifetime_without_root()),
        "-1" => None,
        _ => return Err(fields.error("lifetime", "is neither the default nor without end")),
    };
    let asked = Asked::read(case, role, lifetime)?;
    let node = asked.node(KeyType::Ed25519, None);
    let root_key = SigningKey::from_bytes(&fields.bytes("root_secret")?);
    let root_key = root_key.map_err(|error| fields.error("root_secret", &error.to_string()))?;
    let root = root(fields)?;

    let mut rng = without_exchange_keys(case.draws(), 1);
    let mut certified = || -> Result<(ProvisionedNode, Vec<u8>), ProvisionError> {
        let requested = request_node(&node, now, &mut rng)?;
        let to_sign = requested.to_sign.clone();
        let signed = sign_request(&root_key, &to_sign, &mut rng)?;
        Ok((requested.complete(&root, &signed, now)?, to_sign))
    };
    match certified() {
        Ok((node, to_sign)) => outcome(&node, now, Some(("to_sign", &to_sign))),
        Err(error) => Ok(Outcome::reject(error)),
    }
}

fn root(fields: &Fields<'_>) -> Result<VerifyingKey, InputError> {
    let root = VerifyingKey::from_bytes(&fields.bytes("root_public")?);
    root.map_err(|error| fields.error("root_public", &error.to_string()))
}

fn escrow_key(fields: &Fields<'_>) -> Result<Option<EncapsulationKey>, InputError> {
    let Some(bytes) = fields.opt_bytes("escrow_public")? else {
        return Ok(None);
    };
    let key = PublicKey::from_bytes(&bytes).ok();
    match key.and_then(PublicKey::into_offer) {
        Some(key) => Ok(Some(key)),
        None => Err(fields.error("escrow_public", "is no key to seal to")),
    }
}

/// Whether the escrow's secret key opens what was sealed to the secret of the seed, its last 32 bytes.
fn escrow_opens(fields: &Fields<'_>, node: &ProvisionedNode) -> Result<bool, InputError> {
    let Some(secret) = fields.opt_bytes("escrow_secret")? else {
        return Ok(node.escrow.is_none());
    };
    let Ok(SecretKey::Fresh(key)) = SecretKey::from_bytes(&secret) else {
        return Err(fields.error("escrow_secret", "is no secret key"));
    };
    let (Some(sealed), Some(seed)) = (&node.escrow, &node.seed) else {
        return Ok(false);
    };
    let opened = sealed::open(sealed, &key);
    Ok(opened.is_ok_and(|secret| seed.encode().expose().ends_with(secret.expose())))
}
