//! The provisioning tools of the reference.

use std::time::Duration;

use kc_core::kem::{EncapsulationKey, PublicKey, SecretKey, sealed};
use kc_core::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use kc_core::provision::{
    ProvisionError, ProvisionedNode, Role, derive_provisioner, provision_node,
    provision_node_under, request_node, request_provisioner, self_revocation_without_entry,
    sign_request,
};
use serde::de::IgnoredAny;

use super::files::{Files, Provisioned};
use super::passwords::ByProvisioner;
use super::{Asked, again, key_type, role, without_exchange_keys, without_other_provisioners};
use crate::operation::{Context, Invalid, Outcome, invalid, refuse};
use crate::values::Hex;

input! {
    /// A complete run of the simple tool.
    struct Simple {
        node_id: String, keytype: i64, rot_password: String, provisioning_password: String,
        choice: u8, limited: Option<String>, topics: String, pathlen: String, time: Option<f64>,
        /// The typed answers, whose content is also in the other fields.
        #[serde(rename = "answers")]
        _answers: Option<IgnoredAny>,
        files_before: Option<Files>,
    }
}

impl Simple {
    pub(super) fn run(&self, case: &Context) -> Outcome<Provisioned> {
        let now = case.now(self.time)?;
        let key_type = key_type(self.keytype)?;
        let role = role(self.choice, self.limited.as_deref(), false)?;
        let lifetime = Some(role.default_lifetime());
        let asked = Asked::new(&self.node_id, role, &self.topics, &self.pathlen, lifetime)?;
        let passwords = [&self.rot_password, &self.provisioning_password];
        let [root_password, password] = passwords.map(String::as_bytes);
        if let Some(before) = self
            .files_before
            .as_ref()
            .filter(|files| files.config.is_some())
        {
            let passwords = [root_password, password];
            return again::provision(before, &asked, key_type, passwords, now, case.draws());
        }
        // The secret of the ratchet, and the opaque key.
        let draws = without_exchange_keys(case.draws(), 2);
        let mut rng = without_other_provisioners(draws, role);
        let node = asked.node(key_type, None);
        let provisioned = provision_node(&node, root_password, password, now, &mut rng);
        Provisioned::new(&provisioned.map_err(refuse)?, now)
    }
}

input! {
    /// The tool for provisioners: it makes certificates to be signed, and self-revocations.
    struct GenerateChains {
        password: String, root_public: Hex, keytype: i64,
        /// The time, which has no effect because no certificate of this tool ends.
        #[serde(rename = "time")]
        _time: Option<f64>,
    }
}

output! {
    struct Generated { public: Hex, secret: Hex, to_sign: Hex, self_signed_revocation: Hex }
}

impl GenerateChains {
    pub(super) fn run(&self, case: &Context) -> Outcome<ByProvisioner<Generated>> {
        let key_type = key_type(self.keytype)?;
        let root = VerifyingKey::from_bytes(&self.root_public).map_err(invalid("root_public"))?;
        let mut rng = case.draws();
        let generated = ByProvisioner::each(|provisioner| -> Result<_, ProvisionError> {
            let password = self.password.as_bytes();
            let key = derive_provisioner(password, provisioner, &root, key_type)?.key;
            // The self-revocation of this tool lacks the entry without which the peers ignore it.
            let revocation = self_revocation_without_entry(&key, &mut rng)?;
            Ok(Generated {
                public: key.verifying_key().to_bytes().into(),
                secret: key.expose_bytes().expose().into(),
                to_sign: request_provisioner(provisioner, &key, &mut rng)?
                    .to_sign
                    .into(),
                self_signed_revocation: revocation.into(),
            })
        });
        generated.map_err(refuse)
    }
}

input! {
    /// The tool for nodes under provisioners that the root has certified.
    struct Provision {
        node_id: String, keytype: i64, provisioning_password: String, root_public: Hex,
        signed_provisioners: ByProvisioner<Hex>, choice: u8, limited: Option<String>,
        topics: String, pathlen: String, escrow_public: Option<Hex>, escrow_secret: Option<Hex>,
        time: Option<f64>,
        /// The typed answers, whose content is also in the other fields.
        #[serde(rename = "answers")]
        _answers: Option<IgnoredAny>,
    }
}

impl Provision {
    pub(super) fn run(&self, case: &Context) -> Outcome<Provisioned> {
        let now = case.now(self.time)?;
        let key_type = key_type(self.keytype)?;
        let role = role(self.choice, self.limited.as_deref(), true)?;
        let provisioner = role.provisioner();
        let provisioner = provisioner.ok_or_else(|| Invalid::new("a role without provisioner"))?;
        let escrow = self.escrow_key()?;
        let lifetime = Some(role.default_lifetime_without_root());
        let asked = Asked::new(&self.node_id, role, &self.topics, &self.pathlen, lifetime)?;
        let root = VerifyingKey::from_bytes(&self.root_public).map_err(invalid("root_public"))?;
        let password = self.provisioning_password.as_bytes();
        let key = derive_provisioner(password, provisioner, &root, key_type)
            .map_err(refuse)?
            .key;
        // The secret of the ratchet, that of the escrow's ephemeral key, and the opaque key.
        let before = if escrow.is_some() { 3 } else { 2 };
        let node = provision_node_under(
            &root,
            self.signed_provisioners.of(provisioner),
            &asked.node(key_type, escrow.as_ref()),
            &key,
            now,
            &mut without_exchange_keys(case.draws(), before),
        );
        let node = node.map_err(refuse)?;
        if !self.escrow_opens(&node)? {
            return Err(refuse("the escrow does not open to the seed"));
        }
        Provisioned::new(&node, now)
    }
}

impl Provision {
    fn escrow_key(&self) -> Result<Option<EncapsulationKey>, Invalid> {
        let Some(bytes) = &self.escrow_public else {
            return Ok(None);
        };
        let key = PublicKey::from_bytes(bytes).map_err(invalid("escrow_public"))?;
        let offer = key.into_offer();
        offer
            .map(Some)
            .ok_or_else(|| Invalid::new("`escrow_public` is no key to seal to"))
    }

    /// Returns whether the secret key of the escrow opens the sealed secret of the seed, its last 32 bytes.
    fn escrow_opens(&self, node: &ProvisionedNode) -> Result<bool, Invalid> {
        let Some(secret) = &self.escrow_secret else {
            return Ok(true);
        };
        let Ok(SecretKey::Fresh(key)) = SecretKey::from_bytes(secret) else {
            return Err(Invalid::new("`escrow_secret` is no secret key"));
        };
        let (Some(sealed), Some(seed)) = (&node.escrow, &node.seed) else {
            return Ok(false);
        };
        let opened = sealed::open(sealed, &key);
        Ok(opened.is_ok_and(|secret| seed.encode().expose().ends_with(secret.expose())))
    }
}

input! {
    /// The tools for nodes whose request a person carries to the root.
    struct ByHand {
        node_id: String, topics: String, pathlen: String, lifetime: String, root_public: Hex,
        root_secret: Hex, time: Option<f64>,
    }
}

impl ByHand {
    pub(super) fn controller(&self, case: &Context) -> Outcome<Provisioned> {
        self.provision(case, Role::Controller)
    }

    pub(super) fn chain_server(&self, case: &Context) -> Outcome<Provisioned> {
        self.provision(case, Role::ChainServer)
    }

    fn provision(&self, case: &Context, role: Role) -> Outcome<Provisioned> {
        let now = case.now(self.time)?;
        let lifetime = match self.lifetime.as_str() {
            "" => Some(role.default_lifetime_without_root()),
            "-1" => None,
            secs => {
                let secs: f64 = secs.parse().map_err(invalid("lifetime"))?;
                Some(Duration::try_from_secs_f64(secs).map_err(invalid("lifetime"))?)
            }
        };
        let asked = Asked::new(&self.node_id, role, &self.topics, &self.pathlen, lifetime)?;
        let node = asked.node(KeyType::Ed25519, None);
        let root_key = SigningKey::from_bytes(&self.root_secret).map_err(invalid("root_secret"))?;
        let root = VerifyingKey::from_bytes(&self.root_public).map_err(invalid("root_public"))?;

        let mut rng = without_exchange_keys(case.draws(), 1);
        let requested = request_node(&node, now, &mut rng).map_err(refuse)?;
        let to_sign = requested.to_sign.clone();
        let signed = sign_request(&root_key, &to_sign, &mut rng).map_err(refuse)?;
        let node = requested.complete(&root, &signed, now).map_err(refuse)?;
        let mut provisioned = Provisioned::new(&node, now)?;
        provisioned.to_sign = Some(to_sign.into());
        Ok(provisioned)
    }
}
