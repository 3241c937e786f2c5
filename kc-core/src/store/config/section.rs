/// One of a node's sections: its own, named after the node, or `<node>-<suffix>` (protocol §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Section<'a>(Option<&'a str>);

impl<'a> Section<'a> {
    /// `<node>`: the node's own settings.
    pub const NODE: Section<'static> = Section(None);
    /// `<node>-crypto`: `maxage`, `oldkeys`.
    pub const CRYPTO: Section<'static> = Section(Some("crypto"));
    /// `<node>-chains`: `chain0`, `chain1`, … by signing key order.
    pub const CHAINS: Section<'static> = Section(Some("chains"));
    /// `<node>-allowlist`: the roots of trust.
    pub const ALLOWLIST: Section<'static> = Section(Some("allowlist"));
    /// `<node>-denylist`: revoked keys.
    pub const DENYLIST: Section<'static> = Section(Some("denylist"));
    /// `<node>-chainkeys`: the keys a chain server renews.
    pub const CHAIN_KEYS: Section<'static> = Section(Some("chainkeys"));
    /// `<node>-provisioners`: a list of old versions, see [`NodeConfig::migrate`](super::NodeConfig::migrate).
    pub const PROVISIONERS: Section<'static> = Section(Some("provisioners"));
    /// `<node>-kafka`: Kafka settings of every client.
    pub const KAFKA: Section<'static> = Section(Some("kafka"));

    /// `<node>-<suffix>`.
    pub const fn named(suffix: &'a str) -> Self {
        Self(Some(suffix))
    }

    /// The part after `<node>-`; `None` for the node's own section.
    pub const fn suffix(self) -> Option<&'a str> {
        self.0
    }

    /// The name in the file.
    pub fn name(self, node_id: &str) -> String {
        match self.0 {
            None => node_id.to_owned(),
            Some(suffix) => format!("{node_id}-{suffix}"),
        }
    }

    /// Whether the names in this section are labels of list entries rather than settings. KafkaCrypto finds a
    /// label by name only if the file has it in lower case; settings we find in any case.
    pub(super) fn holds_labels(self) -> bool {
        [
            Self::ALLOWLIST,
            Self::DENYLIST,
            Self::CHAIN_KEYS,
            Self::PROVISIONERS,
        ]
        .contains(&self)
    }
}
