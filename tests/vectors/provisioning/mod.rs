mod again;
mod files;
mod passwords;
mod tools;

use std::time::Duration;

use kc_core::kem::EncapsulationKey;
use kc_core::keys::KeyType;
use kc_core::provision::{NewKey, NewNode, Provisioner, Role};
use kc_core::types::TopicScheme;

use crate::draws::{Draws, Source};
use crate::load::Case;
use crate::nodes::CA_FILE;
use crate::operation::{self, Invalid, Outcome, Run, refuse};

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "password_rot" => case.run(passwords::Root::run),
        "password_provisioner" => case.run(passwords::Provisioners::run),
        "simple_provision" => case.run(tools::Simple::run),
        "generate_chains" => case.run(tools::GenerateChains::run),
        "provision" => case.run(tools::Provision::run),
        "controller_provision" => case.run(tools::ByHand::controller),
        "chain_server_provision" => case.run(tools::ByHand::chain_server),
        op => Err(Invalid::unknown_op(op)),
    }
}

fn key_type<S: Default>(version: i64) -> Outcome<KeyType, S> {
    let key_type = KeyType::from_version(version.into());
    key_type.ok_or_else(|| refuse("no such type of signing keys"))
}

/// Removes the draws of ephemeral keys: the reference draws an unused ephemeral key for each key exchange after the
/// opaque key. Up to the opaque key it draws 32 bytes `before` times.
fn without_exchange_keys(draws: Draws, before: usize) -> Draws {
    draws.keep(|source, len, count| {
        (source, len) != (Source::Sodium, 32) || !(before..before + 3).contains(&count)
    })
}

/// Removes the draws for the certificates of other provisioners: the reference signs those of all three.
fn without_other_provisioners(draws: Draws, role: Role) -> Draws {
    let provisioners = Provisioner::ALL;
    let ours = provisioners
        .iter()
        .position(|known| Some(*known) == role.provisioner());
    draws.keep(|source, len, before| {
        (source, len) != (Source::Oqs, 16) || Some(before) == ours || before >= provisioners.len()
    })
}

/// The node that a person requested.
struct Asked<'a> {
    id: &'a str,
    role: Role,
    topics: Vec<String>,
    scheme: TopicScheme,
    path_length: Option<u32>,
    lifetime: Option<Duration>,
}

impl<'a> Asked<'a> {
    /// Returns the request. `path_length` is the typed text: empty for the default, -1 for no limit.
    fn new(
        id: &'a str,
        role: Role,
        topics: &str,
        path_length: &str,
        lifetime: Option<Duration>,
    ) -> Result<Self, Invalid> {
        let path_length = match path_length {
            "" => Some(role.default_path_length()),
            "-1" => None,
            typed => Some(typed.parse().map_err(operation::invalid("pathlen"))?),
        };
        Ok(Self {
            id,
            role,
            topics: topics.split_whitespace().map(str::to_owned).collect(),
            scheme: TopicScheme::default(),
            path_length,
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

/// Returns the role that a person chose. `by_default` is the tool's choice if the question whether the node is limited
/// was not answered.
fn role(choice: u8, limited: Option<&str>, by_default: bool) -> Result<Role, Invalid> {
    let limited = match limited.map(str::to_lowercase).as_deref() {
        None => false,
        Some("") => by_default,
        Some("y" | "yes") => true,
        Some("n" | "no") => false,
        Some(_) => return Err(Invalid::new("`limited` is neither y nor n")),
    };
    Ok(match (choice, limited) {
        (1, _) => Role::Controller,
        (2, _) => Role::Producer,
        (3, false) => Role::Consumer,
        (3, true) => Role::ConsumerLimited,
        (4, false) => Role::Prodcon,
        (4, true) => Role::ProdconLimited,
        _ => return Err(Invalid::new("no choice known")),
    })
}
