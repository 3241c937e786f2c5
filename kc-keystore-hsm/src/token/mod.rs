//! Finds a token, logs in to it, and reconnects after it was removed.

mod login;
mod session;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kc_core::text::with_sources;

use crate::module::locate;
use crate::patience::Asking;
use crate::refused::RefusedPins;
use crate::{Capabilities, HsmError, PinSource, Pkcs11Uri};

use login::Login;
use session::Connection;

pub(crate) use session::{Class, LoggedIn, Wanted};

/// A token that a node has logged in to. Clones share its sessions.
///
/// If a session, the login, a handle or the token is lost, the next call notices it and reconnects once: it finds the
/// token again by its URI, logs in, and repeats the work. If this fails, too, the call returns an error:
/// [`HsmError::TokenMissing`] if the module no longer lists the token, else [`HsmError::Gone`] or the error of the
/// login. The next call reconnects again, so that a node recovers when its token returns.
///
/// Tokens lock after some wrong PINs. Therefore a process never tries a PIN again after the token refused it. Later
/// processes do not try this PIN either, if [a file records it](Self::open_remembering), unless it is typed at a
/// prompt. A PIN file is read at each login, so that a changed PIN is used. The last attempt before the token locks is
/// made only with a PIN that was just typed at a prompt.
///
/// A login belongs to the process, not to the session. If another part of the process has logged in to the same token,
/// the token does not check the PIN, so that [`open`](Self::open) can succeed with a wrong one.
///
/// Every call blocks until the token answers.
#[derive(Clone)]
pub struct Token {
    shared: Arc<Shared>,
}

struct Shared {
    uri: Pkcs11Uri,
    pin: PinSource,
    /// The record of refused PINs, if there is one.
    refused: Option<RefusedPins>,
    state: Mutex<State>,
    /// A lock that a thread holds while it connects, so that only one thread connects at a time.
    connecting: Mutex<()>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// The number of connections made to the token so far.
    generation: u64,
}

/// The reason why work failed.
enum Failed {
    /// The session, the login, a handle or the token is lost.
    Lost(HsmError),
    Otherwise(HsmError),
}

impl From<HsmError> for Failed {
    fn from(error: HsmError) -> Self {
        if error.is_lost() {
            Self::Lost(error)
        } else {
            Self::Otherwise(error)
        }
    }
}

impl Token {
    /// Finds the token that `uri` names, logs in to it, and checks that it has the mechanisms that a node needs.
    ///
    /// # Errors
    /// Returns [`HsmError::Uri`] if the URI names no module; [`HsmError::ModuleMissing`], [`HsmError::NotAModule`] or
    /// [`HsmError::ModuleFailed`] if the module cannot be loaded; [`HsmError::TokenMissing`] or
    /// [`HsmError::TokenAmbiguous`] unless exactly one token matches; [`HsmError::PinMissing`],
    /// [`HsmError::PinIncorrect`], [`HsmError::PinLocked`] or another error about the PIN if the login fails; and
    /// [`HsmError::Lacks`] if the token lacks a mechanism that every node needs.
    pub fn open(uri: &Pkcs11Uri, pin: PinSource) -> Result<Self, HsmError> {
        Self::new(uri, pin, None).opened()
    }

    /// Opens the token like [`open`](Self::open), for a node. The file `refused` records the PINs from files and from
    /// the environment that the token refuses, as salted hashes, until a login succeeds. No program that uses this file
    /// tries a recorded PIN again. After two recorded PINs, no other PIN is tried. The same holds after one recorded
    /// PIN, if the token had refused an unrecorded PIN before. PINs that were just typed at a prompt are neither
    /// recorded nor limited by the record.
    ///
    /// # Errors
    /// Returns the same errors as `open`; [`HsmError::PinRefused`] if the token refused this PIN before; and
    /// [`HsmError::PinTriesSpent`] if the token refused so many PINs that no other is tried.
    pub fn open_remembering(
        uri: &Pkcs11Uri,
        pin: PinSource,
        refused: PathBuf,
    ) -> Result<Self, HsmError> {
        Self::new(uri, pin, Some(RefusedPins::new(refused))).opened()
    }

    fn opened(self) -> Result<Self, HsmError> {
        self.capabilities()?.require()?;
        self.with_session(|_| Ok(()))?;
        Ok(self)
    }

    fn new(uri: &Pkcs11Uri, pin: PinSource, refused: Option<RefusedPins>) -> Self {
        Self {
            shared: Arc::new(Shared {
                uri: uri.clone(),
                pin,
                refused,
                state: Mutex::default(),
                connecting: Mutex::default(),
            }),
        }
    }

    /// Returns the mechanisms of the token, without a login.
    ///
    /// # Errors
    /// Returns the same errors as [`Capabilities::of`].
    pub fn capabilities(&self) -> Result<Capabilities, HsmError> {
        Capabilities::of(&self.shared.uri)
    }

    /// Returns the URI that names the token.
    #[must_use]
    pub fn uri(&self) -> &Pkcs11Uri {
        &self.shared.uri
    }

    /// Runs `work` in a session. If this shows that the session, the login, a handle or the token was lost, reconnects
    /// and runs `work` a second time.
    pub(crate) fn with_session<T>(
        &self,
        work: impl Fn(&LoggedIn<'_>) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        match self.attempt(&work) {
            Err(Failed::Lost(error)) => {
                tracing::info!(token = %self, error = %with_sources(&error), "reconnecting to the token");
            }
            Err(Failed::Otherwise(error)) => return Err(error),
            Ok(done) => return Ok(done),
        }
        self.attempt(&work).map_err(|failed| match failed {
            Failed::Lost(error) => error.given_up(),
            Failed::Otherwise(error) => error,
        })
    }

    fn attempt<T>(
        &self,
        work: &impl Fn(&LoggedIn<'_>) -> Result<T, HsmError>,
    ) -> Result<T, Failed> {
        let _asking = Asking::start();
        let logged_in = self.lease()?;
        match work(&logged_in) {
            Ok(done) => {
                logged_in.give_back();
                Ok(done)
            }
            // The session is not used again, because an unfinished operation may still be active in it.
            Err(error) if error.is_lost() || !logged_in.holds() => {
                self.disconnect(logged_in.generation());
                Err(Failed::Lost(error))
            }
            Err(error) => Err(Failed::Otherwise(error)),
        }
    }

    /// Returns a session of the connection. If there is no connection, connects first. The state is not locked
    /// meanwhile: if the token does not answer, threads that have a session are not blocked.
    fn lease(&self) -> Result<LoggedIn<'_>, HsmError> {
        if let Some(leased) = self.lease_of_connection()? {
            return Ok(leased);
        }
        let connecting = self.shared.connecting.lock();
        let _connecting = connecting.unwrap_or_else(PoisonError::into_inner);
        // Another thread may have connected in the meantime.
        if let Some(leased) = self.lease_of_connection()? {
            return Ok(leased);
        }
        let generation = self.state().generation;
        let connection = self.connect(generation)?;
        let session = connection.opener().open()?;
        let mut state = self.state();
        state.connection = Some(connection);
        state.generation += 1;
        Ok(LoggedIn::new(self, session, state.generation))
    }

    /// Returns a session of the connection; `None` if there is no connection.
    fn lease_of_connection(&self) -> Result<Option<LoggedIn<'_>>, HsmError> {
        let (opener, generation) = {
            let mut state = self.state();
            let generation = state.generation;
            let Some(connection) = &mut state.connection else {
                return Ok(None);
            };
            match connection.idle() {
                Some(session) => return Ok(Some(LoggedIn::new(self, session, generation))),
                None => (connection.opener(), generation),
            }
        };
        // Drop a connection in which no session can be opened, so that the next attempt reconnects.
        let session = opener.open().inspect_err(|_| self.disconnect(generation))?;
        Ok(Some(LoggedIn::new(self, session, generation)))
    }

    fn connect(&self, generation: u64) -> Result<Connection, HsmError> {
        let (module, slot, info) = locate(&self.shared.uri)?;
        let anchor = module
            .open_rw_session(slot)
            .map_err(HsmError::call("open a session"))?;
        let pin = &self.shared.pin;
        let asked = generation == 0 && matches!(pin, PinSource::Text(_));
        Login {
            token: self,
            pin: pin.read()?,
            asked,
        }
        .user(&anchor, &info)?;
        Ok(Connection::new(module, slot, anchor))
    }

    /// Drops the connection that a call found lost, unless another call has made a new one.
    fn disconnect(&self, generation: u64) {
        let lost = {
            let mut state = self.state();
            let is_it = state.generation == generation;
            state.connection.take_if(|_| is_it)
        };
        // Dropping the connection closes its sessions. The state must not be locked at this time.
        drop(lost);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints the token's label or serial number.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = &self.shared.uri;
        match (&uri.token, &uri.serial) {
            (Some(label), _) => write!(f, "token {label:?}"),
            (None, Some(serial)) => write!(f, "token with the serial number {serial:?}"),
            (None, None) => f.write_str("token"),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.shared.uri)
    }
}
