//! A token: found, logged in to, and found again after it went away.

mod login;
mod session;

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::module::locate;
use crate::patience::Asking;
use crate::refused::RefusedPins;
use crate::{Capabilities, HsmError, PinSource, Pkcs11Uri};

use login::Login;
use session::Connection;

pub(crate) use session::{Class, LoggedIn, Wanted};

/// A token that a node has logged in to. Clones share its sessions.
///
/// A lost session, login, handle or token is noticed at the next call, which connects once more: it finds the token by
/// its label again, logs in, and tries again. If that fails too, the call fails, and the one after it begins anew: a
/// node recovers when its token returns. A PIN that the token has refused is never tried twice in a process, because
/// tokens lock, nor by the next one, if [a file remembers it](Self::open_remembering); a changed PIN file is. The last try
/// before the token locks is made only with a PIN that a person was just asked for.
///
/// The login is the process's, not the session's. If another part of the process has logged in to the same token,
/// [`open`](Self::open) succeeds whatever the PIN is.
///
/// Every call blocks for as long as the token takes.
#[derive(Clone)]
pub struct Token {
    shared: Arc<Shared>,
}

struct Shared {
    uri: Pkcs11Uri,
    pin: PinSource,
    /// Where refused PINs are remembered, if they are.
    refused: Option<RefusedPins>,
    state: Mutex<State>,
    /// Held by who connects.
    connecting: Mutex<()>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// How often the token has been connected to.
    generation: u64,
}

/// Why a piece of work was not done.
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
    /// Finds the token that `uri` names, logs in to it, and makes sure that it can do what a node needs.
    ///
    /// # Errors
    /// No module, or a file that is none; no token or several; a PIN that is missing, wrong or locked;
    /// [`HsmError::Lacks`].
    pub fn open(uri: &Pkcs11Uri, pin: PinSource) -> Result<Self, HsmError> {
        Self::new(uri, pin, None).opened()
    }

    /// As [`open`](Self::open), for a node: this file remembers the PINs that the token refuses, by salted hashes, until a
    /// login succeeds. None of them is tried again by a program, and after two of them, or one if the token had refused
    /// somebody else's before, no other. A PIN that a person was just asked for is tried all the same.
    ///
    /// # Errors
    /// Those of `open`, [`HsmError::PinRefused`], [`HsmError::PinTriesSpent`].
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

    /// What the token can do, without a login.
    ///
    /// # Errors
    /// The token is gone.
    pub fn capabilities(&self) -> Result<Capabilities, HsmError> {
        Capabilities::of(&self.shared.uri)
    }

    /// What names it.
    #[must_use]
    pub fn uri(&self) -> &Pkcs11Uri {
        &self.shared.uri
    }

    /// Does `work` in a session, and once more after connecting anew if the first try shows that something was lost.
    /// `work` may therefore run twice.
    pub(crate) fn with_session<T>(
        &self,
        work: impl Fn(&LoggedIn<'_>) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        match self.attempt(&work) {
            Err(Failed::Lost(error)) => {
                let cause = error.source().map(tracing::field::display);
                tracing::info!(token = %self, %error, cause, "connecting to the token anew");
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
            // The session closes with it: half an operation may still be active there.
            Err(error) if error.is_lost() || !logged_in.holds() => {
                self.disconnect(logged_in.generation());
                Err(Failed::Lost(error))
            }
            Err(error) => Err(Failed::Otherwise(error)),
        }
    }

    /// A session of the connection, which is made if there is none. Meanwhile the state is not locked: a token that does
    /// not answer holds nobody up who has a session.
    fn lease(&self) -> Result<LoggedIn<'_>, HsmError> {
        if let Some(leased) = self.lease_of_connection()? {
            return Ok(leased);
        }
        let connecting = self.shared.connecting.lock();
        let _connecting = connecting.unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have connected.
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

    /// A session of the connection; `None` if there is no connection.
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
        // One that gives no session is dropped: the next try connects anew.
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

    /// Forgets the connection that a call found lost, unless another call has made a new one since.
    fn disconnect(&self, generation: u64) {
        let lost = {
            let mut state = self.state();
            let is_it = state.generation == generation;
            state.connection.take_if(|_| is_it)
        };
        // Not while the state is locked: that closes its sessions.
        drop(lost);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token's label or serial number, for messages.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = &self.shared.uri;
        match (&uri.token, &uri.serial) {
            (Some(label), _) => write!(f, "token {label:?}"),
            (None, Some(serial)) => write!(f, "token of serial number {serial:?}"),
            (None, None) => f.write_str("token"),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.shared.uri)
    }
}
