use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};

use crate::HsmError;
use crate::patience::Asking;

/// The kinds of object that a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Public,
    Private,
    Secret,
}

/// What an object must be to be found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) class: Class,
    pub(crate) label: String,
    pub(crate) id: Option<Vec<u8>>,
}

impl Class {
    pub(crate) const ALL: [Self; 3] = [Self::Public, Self::Private, Self::Secret];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Public => "public key",
            Self::Private => "private key",
            Self::Secret => "secret key",
        }
    }

    pub(crate) fn attribute(self) -> Attribute {
        Attribute::Class(match self {
            Self::Public => ObjectClass::PUBLIC_KEY,
            Self::Private => ObjectClass::PRIVATE_KEY,
            Self::Secret => ObjectClass::SECRET_KEY,
        })
    }
}

impl Wanted {
    pub(crate) fn new(class: Class, label: String) -> Self {
        Self {
            class,
            label,
            id: None,
        }
    }

    pub(crate) fn with_id(self, id: &[u8]) -> Self {
        Self {
            id: Some(id.to_vec()),
            ..self
        }
    }

    pub(super) fn template(&self) -> Vec<Attribute> {
        let mut template = vec![
            Attribute::Token(true),
            self.class.attribute(),
            Attribute::Label(self.label.clone().into_bytes()),
        ];
        template.extend(self.id.clone().map(Attribute::Id));
        template
    }

    /// The only one that was found. None, or several, is an error: which one is meant cannot be known.
    pub(super) fn only(&self, found: &[ObjectHandle]) -> Result<ObjectHandle, HsmError> {
        let (what, label) = (self.class.name(), self.label.clone());
        match found {
            [handle] => Ok(*handle),
            [] => Err(HsmError::ObjectMissing { what, label }),
            several => Err(HsmError::ObjectAmbiguous {
                what,
                label,
                count: several.len(),
            }),
        }
    }
}

impl super::LoggedIn<'_> {
    /// An object's id (`CKA_ID`); empty if it has none.
    pub(crate) fn id(&self, object: ObjectHandle) -> Result<Vec<u8>, HsmError> {
        let found = self.attributes(object, &[AttributeType::Id])?;
        Ok(match found.into_iter().next() {
            Some(Attribute::Id(id)) => id,
            _ => Vec::new(),
        })
    }

    /// Fails unless a key can never leave the token in plain text.
    pub(crate) fn require_hidden(&self, key: ObjectHandle, label: &str) -> Result<(), HsmError> {
        let (sensitive, extractable) = self.exposure(key)?;
        let attribute = if sensitive != Some(true) {
            "sensitive"
        } else if extractable != Some(false) {
            "non-extractable"
        } else {
            return Ok(());
        };
        Err(HsmError::Exposed {
            label: label.to_owned(),
            attribute,
        })
    }

    /// Whether a key is sensitive and whether it is extractable; `None` if the token does not say.
    pub(crate) fn exposure(
        &self,
        key: ObjectHandle,
    ) -> Result<(Option<bool>, Option<bool>), HsmError> {
        let wanted = [AttributeType::Sensitive, AttributeType::Extractable];
        let (mut sensitive, mut extractable) = (None, None);
        for attribute in self.attributes(key, &wanted)? {
            match attribute {
                Attribute::Sensitive(yes) => sensitive = Some(yes),
                Attribute::Extractable(yes) => extractable = Some(yes),
                _ => {}
            }
        }
        Ok((sensitive, extractable))
    }

    pub(crate) fn attributes(
        &self,
        object: ObjectHandle,
        wanted: &[AttributeType],
    ) -> Result<Vec<Attribute>, HsmError> {
        Asking::again();
        self.session
            .get_attributes(object, wanted)
            .map_err(HsmError::call("read an object's attributes"))
    }

    pub(crate) fn destroy(&self, object: ObjectHandle) -> Result<(), HsmError> {
        Asking::again();
        self.session
            .destroy_object(object)
            .map_err(HsmError::call("destroy an object"))
    }
}
