mod again;
mod files;
mod passwords;
mod separate;

use std::time::Duration;

use kc_core::kem::EncapsulationKey;
use kc_core::keys::KeyType;
use kc_core::provision::{NewKey, NewNode, Provisioner, Role, provision_node};
use kc_core::types::TopicScheme;

use super::convert::{CA_FILE, time};
use crate::vectors::{CaseInput, Draws, Family, InputError, Op, Outcome, Source};

pub(super) const FAMILY: Family = Family {
    name: "provisioning",
    ops: &[
        Op::new(
            "password_rot",
            &["password", "keytype", "scrypt_opslimit", "scrypt_memlimit"],
            passwords::password_rot,
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
            passwords::password_provisioner,
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
        Op::new(
            "generate_chains",
            &["password", "root_public", "keytype", "time"],
            separate::generate_chains,
        ),
        Op::new(
            "provision",
            &[
                "node_id",
                "keytype",
                "provisioning_password",
                "root_public",
                "signed_provisioners.*",
                "choice",
                "limited",
                "topics",
                "pathlen",
                "escrow_public",
                "escrow_secret",
                "time",
                "answers",
            ],
            separate::provision,
        ),
        Op::new(
            "controller_provision",
            BY_HAND,
            separate::controller_provision,
        ),
        Op::new(
            "chain_server_provision",
            BY_HAND,
            separate::chain_server_provision,
        ),
    ],
};

/// The input of the tools for nodes that the root certifies by hand.
const BY_HAND: &[&str] = &[
    "node_id",
    "topics",
    "pathlen",
    "lifetime",
    "root_public",
    "root_secret",
    "time",
];

fn key_type(case: &CaseInput<'_>) -> Result<Option<KeyType>, InputError> {
    let version = case.fields.integer("keytype")?;
    Ok(KeyType::from_version(version.into()))
}

fn simple_provision(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let fields = &case.fields;
    let now = time(fields)?;
    let Some(key_type) = key_type(case)? else {
        return Ok(Outcome::reject("no such type of signing keys"));
    };
    let role = role(case, Limited::OnRequest)?;
    let asked = Asked::read(case, role, Some(role.default_lifetime()))?;
    let before = fields.object("files_before")?;
    if before.entries().next().is_some() {
        return again::provision(case, &before, &asked, key_type);
    }
    // The ratchet's secret and the opaque key.
    let draws = without_exchange_keys(case.draws(), 2);
    let provisioned = provision_node(
        &asked.node(key_type, None),
        fields.text("rot_password")?.as_bytes(),
        fields.text("provisioning_password")?.as_bytes(),
        now,
        &mut without_other_provisioners(draws, role),
    );
    match provisioned {
        Ok(provisioned) => files::outcome(&provisioned, now, None),
        Err(error) => Ok(Outcome::reject(error)),
    }
}

/// The reference draws a throw-away ephemeral key for each key exchange after the opaque key, up to which it draws
/// 32 bytes `before` times.
fn without_exchange_keys(draws: Draws, before: usize) -> Draws {
    draws.keep(|source, len, count| {
        (source, len) != (Source::Sodium, 32) || !(before..before + 3).contains(&count)
    })
}

/// The reference signs the certificates of all three provisioners.
fn without_other_provisioners(draws: Draws, role: Role) -> Draws {
    let provisioners = Provisioner::ALL;
    let ours = provisioners
        .iter()
        .position(|known| Some(*known) == role.provisioner());
    draws.keep(|source, len, before| {
        (source, len) != (Source::Oqs, 16) || Some(before) == ours || before >= provisioners.len()
    })
}

/// What a tool makes of no answer to whether a node is limited.
#[derive(PartialEq)]
enum Limited {
    ByDefault,
    OnRequest,
}

/// The role that a person chose.
fn role(case: &CaseInput<'_>, default: Limited) -> Result<Role, InputError> {
    let limited = match case.fields.opt_text("limited")? {
        None | Some("n") => false,
        Some("") => default == Limited::ByDefault,
        Some("y" | "Y") => true,
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

/// The node that a person asked for.
struct Asked<'a> {
    id: &'a str,
    role: Role,
    topics: Vec<String>,
    scheme: TopicScheme,
    path_length: Option<u32>,
    lifetime: Option<Duration>,
}

impl<'a> Asked<'a> {
    fn read(
        case: &CaseInput<'a>,
        role: Role,
        lifetime: Option<Duration>,
    ) -> Result<Self, InputError> {
        let topics = case.fields.text("topics")?.split_whitespace();
        Ok(Self {
            id: case.fields.text("node_id")?,
            role,
            topics: topics.map(str::to_owned).collect(),
            scheme: TopicScheme::default(),
            path_length: path_length(case, role)?,
            lifetime,
        })
    }

    fn node<'n>(&'n self, key_type: KeyType, escrow: Option<&'n EncapsulationKey>) -> NewNode<'n> {
        NewNode {
            id: self.id,
            role: self.role,
            topics: &self.topics,
            scheme: &self.scheme,
            path_length: self.path_length,
            lifetime: self.lifetime,
            key: NewKey::Drawn(key_type),
            first_index: 0,
            escrow,
            ssl_cafile: CA_FILE,
        }
    }
}

/// What a person typed: nothing for the default, -1 for no limit.
fn path_length(case: &CaseInput<'_>, role: Role) -> Result<Option<u32>, InputError> {
    match case.fields.text("pathlen")? {
        "" => Ok(Some(role.default_path_length())),
        "-1" => Ok(None),
        typed => match typed.parse() {
            Ok(path_length) => Ok(Some(path_length)),
            Err(_) => Err(case.fields.error("pathlen", "is no number")),
        },
    }
}
