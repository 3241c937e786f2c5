//! Sessions of a token, and the objects found in them.

use std::collections::HashMap;

use cryptoki::context::{Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState};
use cryptoki::slot::Slot;

use super::Token;
use crate::HsmError;
use crate::patience::Asking;

/// The maximum number of idle sessions that are kept open for later calls. Further calls at the same time open further
/// sessions, and close them at their end.
const MAX_IDLE: usize = 4;

/// A token that the process is logged in to.
pub(super) struct Connection {
    opener: Opener,
    idle: Vec<Session>,
    handles: HashMap<Wanted, ObjectHandle>,
    /// A session that stays open, because closing the last session of a process logs the user out.
    _anchor: Session,
}

impl Connection {
    pub(super) fn new(module: Pkcs11, slot: Slot, anchor: Session) -> Self {
        Self {
            opener: Opener { module, slot },
            idle: Vec::new(),
            handles: HashMap::new(),
            _anchor: anchor,
        }
    }

    /// Returns an idle session, if there is one.
    pub(super) fn idle(&mut self) -> Option<Session> {
        self.idle.pop()
    }

    pub(super) fn opener(&self) -> Opener {
        self.opener.clone()
    }
}

/// Opens sessions of a connection.
#[derive(Clone)]
pub(super) struct Opener {
    module: Pkcs11,
    slot: Slot,
}

impl Opener {
    pub(super) fn open(&self) -> Result<Session, HsmError> {
        let session = self.module.open_rw_session(self.slot);
        session.map_err(HsmError::call("open a session"))
    }
}

/// A session for one piece of work. It is closed when this value is dropped.
pub(crate) struct LoggedIn<'t> {
    pub(crate) session: Session,
    token: &'t Token,
    generation: u64,
}

impl<'t> LoggedIn<'t> {
    pub(super) fn new(token: &'t Token, session: Session, generation: u64) -> Self {
        Self {
            session,
            token,
            generation,
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns whether the session is open and the user is logged in. With some tokens this is the only way to notice
    /// that a login has ended. For example, kryoptic then answers calls with `GeneralError`, which names no cause.
    pub(super) fn holds(&self) -> bool {
        let info = self.session.get_session_info();
        info.is_ok_and(|info| info.session_state() == SessionState::RwUser)
    }

    /// Returns the only object that matches.
    pub(crate) fn only(&self, wanted: &Wanted) -> Result<ObjectHandle, HsmError> {
        wanted.only(&self.find_all(wanted)?)
    }

    /// Returns the only object that matches, and keeps its handle until the connection is lost. `wanted` has to contain
    /// an id, because after a relabelling another object may have the same label.
    pub(crate) fn find(&self, wanted: &Wanted) -> Result<ObjectHandle, HsmError> {
        if let Some(handle) = self.with_handles(|handles| handles.get(wanted).copied()) {
            return Ok(handle);
        }
        let handle = self.only(wanted)?;
        self.with_handles(|handles| handles.insert(wanted.clone(), handle));
        Ok(handle)
    }

    /// Returns all objects that match.
    pub(crate) fn find_all(&self, wanted: &Wanted) -> Result<Vec<ObjectHandle>, HsmError> {
        self.search(&wanted.template())
    }

    /// Returns all objects with these attributes.
    pub(crate) fn search(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, HsmError> {
        let look = || {
            Asking::again();
            let found = self.session.find_objects(template);
            found.map_err(HsmError::call("look for an object"))
        };
        let found = look()?;
        if !found.is_empty() {
            return Ok(found);
        }
        // If the user is not logged in, a token finds no keys instead of returning an error.
        self.require_login()?;
        look()
    }

    fn require_login(&self) -> Result<(), HsmError> {
        if self.holds() {
            return Ok(());
        }
        let lost = Error::Pkcs11(RvError::UserNotLoggedIn, Function::FindObjects);
        Err(HsmError::call("look for an object")(lost))
    }

    /// Keeps the session for the next call.
    pub(super) fn give_back(self) {
        let mut state = self.token.state();
        let generation = state.generation;
        if let Some(connection) = &mut state.connection
            && generation == self.generation
            && connection.idle.len() < MAX_IDLE
        {
            connection.idle.push(self.session);
        }
    }

    /// Calls `look` with the handles of this session's connection. Returns `None` without a call if this connection was
    /// replaced or lost.
    fn with_handles<T>(
        &self,
        look: impl FnOnce(&mut HashMap<Wanted, ObjectHandle>) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.token.state();
        if state.generation != self.generation {
            return None;
        }
        look(&mut state.connection.as_mut()?.handles)
    }
}

/// The classes of object that a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Public,
    Private,
    Secret,
}

/// The properties of an object to be found.
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

    /// Returns the only object that was found.
    ///
    /// # Errors
    /// Returns [`HsmError::ObjectMissing`] if no object was found, and [`HsmError::ObjectAmbiguous`] if several objects
    /// were found.
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

impl LoggedIn<'_> {
    /// Returns the id of an object (`CKA_ID`); empty if it has none.
    pub(crate) fn id(&self, object: ObjectHandle) -> Result<Vec<u8>, HsmError> {
        let found = self.attributes(object, &[AttributeType::Id])?;
        Ok(match found.into_iter().next() {
            Some(Attribute::Id(id)) => id,
            _ => Vec::new(),
        })
    }

    /// Checks that a key can leave the token neither in plain text nor in wrapped form.
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

    /// Returns the attributes *sensitive* and *extractable* of a key; `None` if the token does not report an attribute.
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
