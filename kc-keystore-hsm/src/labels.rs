use crate::{HsmError, Pkcs11Uri, UriError};

/// What an object is for; the last part of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// The Ed25519 pair of version 1.
    Identity,
    /// The Ed25519 half of version 4.
    HybridIdentity,
    /// The SLH-DSA half of version 4.
    SlhDsa,
    /// The AES key that seals values of the configuration.
    Opaque,
    /// The one before, while values are re-wrapped.
    RetiredOpaque,
    /// The AES keys of the ratchet, one at a time.
    Ratchet,
}

impl Role {
    const ALL: [Self; 6] = [
        Self::Identity,
        Self::HybridIdentity,
        Self::SlhDsa,
        Self::Opaque,
        Self::RetiredOpaque,
        Self::Ratchet,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "id",
            Self::HybridIdentity => "id4",
            Self::SlhDsa => "slh",
            Self::Opaque => "opaque",
            Self::RetiredOpaque => "opaque-old",
            Self::Ratchet => "ratchet",
        }
    }
}

/// The labels of a node's objects on a token: `kc:<node>:<role>`.
///
/// | role | object |
/// |---|---|
/// | `id` | Ed25519 pair of a version-1 key |
/// | `id4` | Ed25519 half of a version-4 key |
/// | `slh` | SLH-DSA half of a version-4 key, if the token can |
/// | `opaque` | AES key that seals values of the configuration |
/// | `opaque-old` | the one before, during a [rotation](crate::OpaqueRotation) |
/// | `ratchet` | AES key of the ratchet's step |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLabels {
    node: String,
}

impl NodeLabels {
    /// Those of the node with this id.
    #[must_use]
    pub fn new(node_id: &str) -> Self {
        Self {
            node: node_id.to_owned(),
        }
    }

    /// Those of the node that an object belongs to, by the object's label, whatever its role: what stands in
    /// `cryptokey : pkcs11:...;object=kc:n1:id`.
    ///
    /// # Errors
    /// [`HsmError::NotALabel`].
    pub fn of_object(label: &str) -> Result<Self, HsmError> {
        label
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.rsplit_once(':'))
            .filter(|(_, role)| Role::ALL.iter().any(|known| known.name() == *role))
            .filter(|(node, _)| !node.is_empty())
            .map(|(node, _)| Self::new(node))
            .ok_or_else(|| HsmError::NotALabel(label.to_owned()))
    }

    /// Those of the node that the object of a URI belongs to.
    ///
    /// # Errors
    /// [`UriError::NoObject`], [`HsmError::NotALabel`].
    pub fn of_uri(uri: &Pkcs11Uri) -> Result<Self, HsmError> {
        let object = uri.object.as_ref().ok_or(UriError::NoObject)?;
        Self::of_object(object)
    }

    /// The node's id.
    #[must_use]
    pub fn node_id(&self) -> &str {
        &self.node
    }

    /// The label that stands for the node's keys in `cryptokey`: `kc:<node>:id`.
    #[must_use]
    pub fn identity(&self) -> String {
        self.label(Role::Identity)
    }

    /// The label that stands for the node's ratchet in `ratchet`: `kc:<node>:ratchet`.
    #[must_use]
    pub fn ratchet(&self) -> String {
        self.label(Role::Ratchet)
    }

    pub(crate) fn label(&self, role: Role) -> String {
        format!("{PREFIX}{}:{}", self.node, role.name())
    }
}

/// What all our labels begin with.
pub(crate) const PREFIX: &str = "kc:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_by_each_of_its_labels() {
        for node in ["n1", "a:b", "a:id"] {
            let labels = NodeLabels::new(node);
            for role in Role::ALL {
                let label = labels.label(role);
                assert_eq!(NodeLabels::of_object(&label).unwrap(), labels, "{label}");
            }
        }
    }

    #[test]
    fn a_node_is_found_by_a_uri() {
        let of = |uri: &str| NodeLabels::of_uri(&uri.parse().unwrap());
        let labels = of("pkcs11:token=kc;object=kc:n1:id").unwrap();
        assert_eq!(labels.node_id(), "n1");
        let error = of("pkcs11:token=kc").unwrap_err();
        assert!(matches!(error, HsmError::Uri(UriError::NoObject)));
    }

    #[test]
    fn other_labels_are_refused() {
        for label in ["", "kc:", "kc:n1", "kc:n1:", "kc:n1:key", "kc::id", "n1:id"] {
            assert!(NodeLabels::of_object(label).is_err(), "{label}");
        }
    }
}
