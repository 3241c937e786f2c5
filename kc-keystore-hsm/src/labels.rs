use kc_core::keys::KeyType;

use crate::random::random;
use crate::{HsmError, Pkcs11Uri, UriError};

/// The purpose of an object. Its name is the last part of the object's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// The Ed25519 pair of a version-1 key.
    Identity,
    /// The Ed25519 half of a version-4 key.
    HybridIdentity,
    /// The SLH-DSA half of a version-4 key.
    SlhDsa,
    /// The AES key that seals values of the configuration.
    Opaque,
    /// The previous opaque key. It exists until all values are re-wrapped.
    RetiredOpaque,
    /// The AES keys of the ratchet, one for each step.
    Ratchet,
}

impl Role {
    pub(crate) const ALL: [Self; 6] = [
        Self::Identity,
        Self::HybridIdentity,
        Self::SlhDsa,
        Self::Opaque,
        Self::RetiredOpaque,
        Self::Ratchet,
    ];

    /// Returns the role of the Ed25519 pair that belongs to a signing key of this type.
    pub(crate) fn of_ed25519(key_type: KeyType) -> Self {
        match key_type {
            KeyType::Ed25519 => Self::Identity,
            KeyType::Hybrid => Self::HybridIdentity,
        }
    }

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

/// The kind of owner that keys have. Each kind has a prefix of its own in the labels that kc gives to new keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Node,
    Root,
    Provisioner,
}

impl Owner {
    const ALL: [Self; 3] = [Self::Node, Self::Root, Self::Provisioner];

    fn prefix(self) -> &'static str {
        match self {
            Self::Node => "kc:",
            Self::Root => "kc-root:",
            Self::Provisioner => "kc-provisioner:",
        }
    }
}

/// The default name of the root of trust.
pub const ROOT_NAME: &str = "root";
/// The prefix that earlier versions put before the name of a provisioner. These versions labelled the keys of a
/// provisioner like the keys of a node.
const OLD_PROVISIONER: &str = "provisioner-";

/// The length of the random part of a label, in bytes. The label contains it in hexadecimal.
const INSTANCE_LEN: usize = 8;

/// Labels of a node's objects on a token: `kc:<node>:<instance>:<role>`.
///
/// The instance is random and is generated with the node's keys, so that two nodes with the same id never have the same
/// labels. The labels of nodes that earlier versions made have no instance: `kc:<node>:<role>`.
///
/// | role | object |
/// |---|---|
/// | `id` | Ed25519 pair of a version-1 key |
/// | `id4` | Ed25519 half of a version-4 key |
/// | `slh` | SLH-DSA half of a version-4 key, if the token can hold it |
/// | `opaque` | AES key that seals values of the configuration |
/// | `opaque-old` | the previous AES key of the role `opaque`, during a [rotation](crate::OpaqueRotation) |
/// | `ratchet` | AES key of the ratchet's current step |
///
/// Labels of a root of trust begin with `kc-root:`, and labels of a provisioner with `kc-provisioner:`. Therefore a
/// node never takes their keys for its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLabels {
    owner: Owner,
    name: String,
    instance: Option<String>,
}

impl NodeLabels {
    /// Returns labels for a new node with this id. No other node has the same labels.
    ///
    /// # Errors
    /// Returns [`HsmError::ReservedId`] for ids that earlier versions used for roots of trust and provisioners, and
    /// [`HsmError::Random`] if the operating system yields no random numbers.
    pub fn fresh(node_id: &str) -> Result<Self, HsmError> {
        let labels = Self::of(Owner::Node, node_id);
        if labels.renamed().is_some() {
            return Err(HsmError::ReservedId(node_id.to_owned()));
        }
        let instance = random::<INSTANCE_LEN>()?;
        let instance = hex::encode(instance);
        Ok(Self {
            instance: Some(instance),
            ..labels
        })
    }

    /// Returns the labels of a root of trust.
    #[must_use]
    pub fn root(name: &str) -> Self {
        Self::of(Owner::Root, name)
    }

    /// Returns the labels of a provisioner. `name` is the kind of node that the provisioner certifies, such as
    /// `producer` or `consumer`.
    #[must_use]
    pub fn provisioner(name: &str) -> Self {
        Self::of(Owner::Provisioner, name)
    }

    /// Returns the labels of the node that an object belongs to. `label` is the label of this object. For example, the
    /// setting `cryptokey : pkcs11:...;object=kc:n1:5c8e91d2a7034bf6:id` contains the label
    /// `kc:n1:5c8e91d2a7034bf6:id`.
    ///
    /// # Errors
    /// Returns [`HsmError::NotALabel`] if `label` is not the label of a node's object.
    pub fn of_object(label: &str) -> Result<Self, HsmError> {
        let labels = Self::parse(label)?;
        if labels.owner == Owner::Node {
            Ok(labels)
        } else {
            Err(HsmError::NotALabel(label.to_owned()))
        }
    }

    /// Returns the labels of the node whose object the URI names.
    ///
    /// # Errors
    /// Returns [`UriError::NoObject`] if the URI names no object, and [`HsmError::NotALabel`] if the object belongs to
    /// no node.
    pub fn of_uri(uri: &Pkcs11Uri) -> Result<Self, HsmError> {
        Self::of_object(object(uri)?)
    }

    /// Returns the labels of the root of trust, the provisioner, or the node whose object the URI names.
    ///
    /// # Errors
    /// Returns [`UriError::NoObject`] if the URI names no object, and [`HsmError::NotALabel`] if the object's label
    /// does not have the form of a label of kc.
    pub fn of_signer(uri: &Pkcs11Uri) -> Result<Self, HsmError> {
        Self::parse(object(uri)?)
    }

    /// Returns the node's id, or the name of the root of trust or the provisioner.
    #[must_use]
    pub fn node_id(&self) -> &str {
        &self.name
    }

    /// Returns the label with the role `id`. In the setting `cryptokey`, this label stands for all keys of the node.
    #[must_use]
    pub fn identity(&self) -> String {
        self.label(Role::Identity)
    }

    /// Returns the label with the role `ratchet`. In the setting `ratchet`, this label stands for the node's ratchet.
    #[must_use]
    pub fn ratchet(&self) -> String {
        self.label(Role::Ratchet)
    }

    pub(crate) fn label(&self, role: Role) -> String {
        let instance = self.instance.iter().map(|drawn| format!("{drawn}:"));
        let instance = instance.collect::<String>();
        format!(
            "{}{}:{instance}{}",
            self.owner.prefix(),
            self.name,
            role.name()
        )
    }

    /// Returns the labels that an earlier version gave this root of trust or provisioner. They look like labels of a
    /// node. Returns `None` for the labels of a node.
    pub(crate) fn old(&self) -> Option<Self> {
        match self.owner {
            Owner::Node => None,
            Owner::Root => Some(Self::of(Owner::Node, &self.name)),
            Owner::Provisioner => {
                let name = format!("{OLD_PROVISIONER}{}", self.name);
                Some(Self::of(Owner::Node, &name))
            }
        }
    }

    /// Returns the current labels of a root of trust or a provisioner, if an earlier version labelled its keys with
    /// `self`. Returns `None` for all other labels. New nodes never get labels for which this function returns `Some`.
    #[must_use]
    pub fn renamed(&self) -> Option<Self> {
        if self.instance.is_some() {
            return None;
        }
        match (self.owner, self.name.strip_prefix(OLD_PROVISIONER)) {
            (Owner::Node, Some(provisioner)) => Some(Self::provisioner(provisioner)),
            (Owner::Node, None) if self.name == ROOT_NAME => Some(Self::root(ROOT_NAME)),
            _ => None,
        }
    }

    /// Returns whether the labels contain an instance. If they do, no other node has the same labels. Earlier versions
    /// made labels without an instance: all nodes with the same id then have the same labels.
    #[must_use]
    pub fn has_instance(&self) -> bool {
        self.instance.is_some()
    }

    fn of(owner: Owner, name: &str) -> Self {
        Self {
            owner,
            name: name.to_owned(),
            instance: None,
        }
    }

    /// Parses the part of a label between the prefix and the role.
    fn of_node(owner: Owner, name: &str) -> Self {
        let drawn = |text: &str| {
            let mut bytes = text.bytes();
            text.len() == 2 * INSTANCE_LEN && bytes.all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        match name.rsplit_once(':') {
            Some((node, instance)) if owner == Owner::Node && drawn(instance) => Self {
                instance: Some(instance.to_owned()),
                ..Self::of(owner, node)
            },
            _ => Self::of(owner, name),
        }
    }

    fn parse(label: &str) -> Result<Self, HsmError> {
        let mut owners = Owner::ALL.into_iter();
        owners
            .find_map(|owner| Some((owner, label.strip_prefix(owner.prefix())?)))
            .and_then(|(owner, rest)| Some((owner, rest.rsplit_once(':')?)))
            .filter(|(_, (_, role))| Role::ALL.iter().any(|known| known.name() == *role))
            .map(|(owner, (name, _))| Self::of_node(owner, name))
            .filter(|labels| !labels.name.is_empty())
            .ok_or_else(|| HsmError::NotALabel(label.to_owned()))
    }
}

fn object(uri: &Pkcs11Uri) -> Result<&str, HsmError> {
    Ok(uri.object.as_deref().ok_or(UriError::NoObject)?)
}

/// Returns whether a label belongs to kc.
pub(crate) fn is_ours(label: &str) -> bool {
    let mut owners = Owner::ALL.into_iter();
    owners.any(|owner| label.starts_with(owner.prefix()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_by_each_of_its_labels() {
        for node in ["n1", "a:b", "a:id", "a:0123456789abcdef"] {
            let old = NodeLabels::of_object(&format!("kc:{node}:id")).unwrap();
            let fresh = NodeLabels::fresh(node).unwrap();
            assert_eq!(fresh.node_id(), node);
            for (labels, role) in [old, fresh]
                .iter()
                .flat_map(|labels| Role::ALL.map(|role| (labels, role)))
            {
                let label = labels.label(role);
                assert_eq!(NodeLabels::of_object(&label).unwrap(), *labels, "{label}");
            }
        }
    }

    #[test]
    fn no_two_nodes_have_the_same_labels() {
        let [one, other] = [(); 2].map(|()| NodeLabels::fresh("n1").unwrap());
        assert_ne!(one.identity(), other.identity());
        let old = NodeLabels::of_object("kc:n1:id").unwrap();
        assert_eq!(old.identity(), "kc:n1:id");
        assert_eq!(old.node_id(), one.node_id());
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
        for label in [
            "",
            "kc:",
            "kc:n1",
            "kc:n1:",
            "kc:n1:key",
            "kc::id",
            "n1:id",
            "kc::0123456789abcdef:id",
        ] {
            assert!(NodeLabels::of_object(label).is_err(), "{label}");
        }
    }

    #[test]
    fn a_node_never_has_the_labels_of_a_root_or_a_provisioner() {
        let root = NodeLabels::root("corp");
        assert_eq!(root.identity(), "kc-root:corp:id");
        let provisioner = NodeLabels::provisioner("producer");
        assert_eq!(provisioner.identity(), "kc-provisioner:producer:id");
        for labels in [root, provisioner] {
            let label = labels.identity();
            assert_eq!(NodeLabels::parse(&label).unwrap(), labels);
            assert!(NodeLabels::of_object(&label).is_err(), "{label}");
        }
        // No node gets one of their former labels.
        for (node, renamed) in [
            ("root", NodeLabels::root("root")),
            ("provisioner-producer", NodeLabels::provisioner("producer")),
        ] {
            assert_eq!(renamed.old().unwrap().node_id(), node);
            let error = NodeLabels::fresh(node).unwrap_err();
            assert!(matches!(error, HsmError::ReservedId(id) if id == node));
            let old = NodeLabels::of_object(&format!("kc:{node}:id")).unwrap();
            assert_eq!(old.renamed(), Some(renamed));
        }
        assert_eq!(
            NodeLabels::of_object("kc:roots:id").unwrap().renamed(),
            None
        );
    }
}
