use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::chain::Usage;

/// The longest calendar year: 366 days.
const YEAR: Duration = Duration::from_secs(31_622_400);

/// The role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Seals messages, and sends data keys to consumers that request them.
    Producer,
    /// Opens messages, and asks producers or controllers for keys.
    Consumer,
    /// A producer and consumer.
    Prodcon,
    /// A producer and consumer that asks only controllers for keys.
    ProdconLimited,
    /// A consumer that asks only controllers for keys.
    ConsumerLimited,
    /// Forwards the requests of limited nodes to producers, and vouches for these requests.
    Controller,
    /// Renews the chains of other nodes.
    ChainServer,
    /// Signs entries for the allowlists and denylists of all nodes. It takes no part in the key exchange.
    Administrator,
}

/// A provisioner, which certifies nodes of one kind. Its key is derived from the provisioning password and certified by
/// the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provisioner {
    /// Certifies producers.
    Producer,
    /// Certifies consumers and controllers.
    Consumer,
    /// Certifies nodes that are both producer and consumer.
    Prodcon,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 8] = [
        Self::Producer,
        Self::Consumer,
        Self::Prodcon,
        Self::ProdconLimited,
        Self::ConsumerLimited,
        Self::Controller,
        Self::ChainServer,
        Self::Administrator,
    ];

    /// Returns the role's name, as messages and command lines contain it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Prodcon => "prodcon",
            Self::ProdconLimited => "prodcon-limited",
            Self::ConsumerLimited => "consumer-limited",
            Self::Controller => "controller",
            Self::ChainServer => "chain-server",
            Self::Administrator => "administrator",
        }
    }

    /// Returns the usages that the role's certificate grants.
    #[must_use]
    pub fn usages(self) -> &'static [Usage] {
        use Usage::{Allowlist, Denylist, Encrypt, EncryptRequest, EncryptSubscribe};
        match self {
            Self::Producer => &[Encrypt],
            Self::Consumer => &[EncryptRequest, EncryptSubscribe],
            Self::Prodcon => &[Encrypt, EncryptRequest, EncryptSubscribe],
            Self::ProdconLimited | Self::ChainServer => &[Encrypt, EncryptSubscribe],
            Self::ConsumerLimited => &[EncryptSubscribe],
            Self::Controller => &[EncryptRequest],
            Self::Administrator => &[Allowlist, Denylist],
        }
    }

    /// Returns the provisioner that certifies nodes of this role, or `None` if the root of trust itself certifies
    /// them.
    #[must_use]
    pub fn provisioner(self) -> Option<Provisioner> {
        match self {
            Self::Producer => Some(Provisioner::Producer),
            Self::Prodcon | Self::ProdconLimited => Some(Provisioner::Prodcon),
            Self::Consumer | Self::ConsumerLimited | Self::Controller => {
                Some(Provisioner::Consumer)
            }
            Self::ChainServer | Self::Administrator => None,
        }
    }

    /// Returns whether the role signs requests or replies.
    #[must_use]
    pub(super) fn exchanges_keys(self) -> bool {
        !matches!(self, Self::ChainServer | Self::Administrator)
    }

    /// Returns the default number of certificates that may follow a node's own certificate. It is 1, because the
    /// certificate of a request, of a reply, or of an administrator's entry for a list may follow. For a chain server
    /// it is 2, because a chain server certifies nodes, whose requests and replies may follow.
    #[must_use]
    pub fn default_path_length(self) -> u32 {
        match self {
            Self::ChainServer => 2,
            _ => 1,
        }
    }

    /// Returns the default validity of a certificate if both passwords are available. It is 366 days for roles that the
    /// root itself certifies, and 3,660 days for all others.
    #[must_use]
    pub fn default_lifetime(self) -> Duration {
        match self {
            Self::ChainServer | Self::Administrator => YEAR,
            _ => Duration::from_secs(316_224_000),
        }
    }

    /// Returns the default validity of a certificate if the root password is not available. It is 366 days for
    /// controllers, chain servers and administrators. For all other roles it is one week. A chain server can renew
    /// the node's chain before that week is over.
    #[must_use]
    pub fn default_lifetime_without_root(self) -> Duration {
        match self {
            Self::Controller | Self::ChainServer | Self::Administrator => YEAR,
            _ => Duration::from_secs(604_800),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let role = Self::ALL.into_iter().find(|role| role.name() == name);
        role.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown role {name:?}; the roles are {names}")
        })
    }
}

impl Provisioner {
    /// All provisioners.
    pub const ALL: [Self; 3] = [Self::Producer, Self::Consumer, Self::Prodcon];

    /// Returns the name that is part of the derivation of the provisioner's key.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Prodcon => "prodcon",
        }
    }

    /// Returns the usages that the provisioner may grant to nodes.
    #[must_use]
    pub fn usages(self) -> &'static [Usage] {
        match self {
            Self::Producer => Role::Producer.usages(),
            Self::Consumer => Role::Consumer.usages(),
            Self::Prodcon => Role::Prodcon.usages(),
        }
    }
}
