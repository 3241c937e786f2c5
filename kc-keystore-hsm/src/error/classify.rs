use super::HsmError;

impl HsmError {
    /// Makes the error of a call of the module.
    pub(crate) fn call(action: &'static str) -> impl Fn(cryptoki::error::Error) -> Self {
        move |source| Self::Token {
            action,
            source: source.into(),
        }
    }

    /// Whether the session, the login, a handle or the token itself went away: worth connecting anew.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Token { source, .. } if source.is_lost())
    }

    /// What a lost token is when it is not found again.
    pub(crate) fn given_up(self) -> Self {
        match self {
            Self::Token { action, source } => Self::Gone { action, source },
            error => error,
        }
    }

    /// The same of an answer that says that something is lost.
    pub(crate) fn given_up_if_lost(self) -> Self {
        if self.is_lost() {
            self.given_up()
        } else {
            self
        }
    }
}
