use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::chain::Usage;

/// 366 days.
const YEAR: Duration = Duration::from_secs(31_622_400);

/// What a node is provisioned to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Seals messages, and hands keys out.
    Producer,
    /// Opens messages, and asks producers or controllers for keys.
    Consumer,
    /// Both.
    Prodcon,
    /// Both, but asks controllers only.
    ProdconLimited,
    /// Opens messages, and asks controllers only.
    ConsumerLimited,
    /// Vouches for limited nodes.
    Controller,
    /// Renews the chains of other nodes.
    ChainServer,
    /// Signs updates of the lists of all nodes. It takes no part in the exchange.
    Administrator,
}

/// Who certifies nodes of a kind. Derived from the provisioning password, certified by the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provisioner {
    /// Of producers.
    Producer,
    /// Of consumers and controllers.
    Consumer,
    /// Of nodes that are both.
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

    /// The name for people and command lines.
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

    /// What its certificate allows.
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

    /// Who certifies it; `None` for the root of trust itself.
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

    /// Whether it signs requests or replies.
    #[must_use]
    pub fn exchanges_keys(self) -> bool {
        !matches!(self, Self::ChainServer | Self::Administrator)
    }

    /// How many certificates may follow its own unless told: one, for requests and replies; two after a
    /// chain server's, which certifies nodes.
    #[must_use]
    pub fn default_path_length(self) -> u32 {
        match self {
            Self::ChainServer => 2,
            _ => 1,
        }
    }

    /// How long its certificate is valid unless told, if both passwords are at hand: ten years and a
    /// little. Who is certified by the root itself gets a year in any case.
    #[must_use]
    pub fn default_lifetime(self) -> Duration {
        match self {
            Self::ChainServer | Self::Administrator => YEAR,
            _ => Duration::from_secs(316_224_000),
        }
    }

    /// How long its certificate is valid unless told, if the root's password is not at hand: a week,
    /// as a chain server renews it; a year for controllers, chain servers and administrators.
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
            format!("no role {name:?}; there are {names}")
        })
    }
}

impl Provisioner {
    /// All provisioners.
    pub const ALL: [Self; 3] = [Self::Producer, Self::Consumer, Self::Prodcon];

    /// The name that goes into the derivation of its key.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Prodcon => "prodcon",
        }
    }

    /// What its certificate allows it to pass on.
    #[must_use]
    pub fn usages(self) -> &'static [Usage] {
        match self {
            Self::Producer => Role::Producer.usages(),
            Self::Consumer => Role::Consumer.usages(),
            Self::Prodcon => Role::Prodcon.usages(),
        }
    }
}
