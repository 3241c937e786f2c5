/// The topics by which trust changes at run time (protocol §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ManagementTopic {
    /// New chains for nodes, each under the byte form of the key that it certifies.
    Chains,
    /// Entries for the allowlist.
    Allowlist,
    /// Entries for the denylist.
    Denylist,
}

/// How the management topics are named (protocol §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementTopics {
    /// The topic of chains; `chains` by default.
    pub chains: String,
    /// The topic of the allowlist; `allowlist` by default.
    pub allowlist: String,
    /// The topic of the denylist; `denylist` by default.
    pub denylist: String,
}

impl ManagementTopic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chains, Self::Allowlist, Self::Denylist];
}

impl Default for ManagementTopics {
    fn default() -> Self {
        Self {
            chains: "chains".into(),
            allowlist: "allowlist".into(),
            denylist: "denylist".into(),
        }
    }
}

impl ManagementTopics {
    /// The names of all of them.
    #[must_use]
    pub fn names(&self) -> [&str; 3] {
        ManagementTopic::ALL.map(|topic| self.name(topic))
    }

    /// The name of a topic.
    #[must_use]
    pub fn name(&self, topic: ManagementTopic) -> &str {
        match topic {
            ManagementTopic::Chains => &self.chains,
            ManagementTopic::Allowlist => &self.allowlist,
            ManagementTopic::Denylist => &self.denylist,
        }
    }
}
