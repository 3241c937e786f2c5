use std::fmt;

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};

use crate::HsmError;
use crate::labels::is_ours;
use crate::token::{Class, LoggedIn, Token};

/// An object of ours on a token. `Display` is a line for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ListedObject {
    /// `kc:<node>:<instance>:<role>`, `kc-root:<name>:<role>`, `kc-provisioner:<name>:<role>`.
    pub label: String,
    /// "public key", "private key" or "secret key".
    pub class: &'static str,
    /// Its id (`CKA_ID`): of a ratchet's key, its step.
    pub id: Vec<u8>,
    /// Whether its value can be read; `None` for a public key, or if the token does not say.
    pub sensitive: Option<bool>,
    /// Whether it can leave the token wrapped; `None` as before.
    pub extractable: Option<bool>,
}

/// The objects on a token whose [labels](crate::NodeLabels) are ours, in order of their labels.
///
/// # Errors
/// The token is gone.
pub fn list_objects(token: &Token) -> Result<Vec<ListedObject>, HsmError> {
    token.with_session(|token| {
        let mut listed = Vec::new();
        for class in Class::ALL {
            for object in token.search(&[Attribute::Token(true), class.attribute()])? {
                let label = label(token, object)?;
                if is_ours(&label) {
                    listed.push(describe(token, object, class, label)?);
                }
            }
        }
        listed.sort();
        Ok(listed)
    })
}

fn label(token: &LoggedIn<'_>, object: ObjectHandle) -> Result<String, HsmError> {
    let found = token.attributes(object, &[AttributeType::Label])?;
    Ok(match found.first() {
        Some(Attribute::Label(label)) => String::from_utf8_lossy(label).into_owned(),
        _ => String::new(),
    })
}

fn describe(
    token: &LoggedIn<'_>,
    object: ObjectHandle,
    class: Class,
    label: String,
) -> Result<ListedObject, HsmError> {
    let (sensitive, extractable) = match class {
        Class::Public => (None, None),
        Class::Private | Class::Secret => token.exposure(object)?,
    };
    Ok(ListedObject {
        label,
        class: class.name(),
        id: token.id(object)?,
        sensitive,
        extractable,
    })
}

impl fmt::Display for ListedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<34} {:<11} ", self.label, self.class)?;
        self.id
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        let state = |known: Option<bool>, yes, no| known.map(|known| if known { yes } else { no });
        for state in [
            state(self.sensitive, " sensitive", " READABLE"),
            state(self.extractable, " EXTRACTABLE", " non-extractable"),
        ] {
            f.write_str(state.unwrap_or_default())?;
        }
        Ok(())
    }
}
