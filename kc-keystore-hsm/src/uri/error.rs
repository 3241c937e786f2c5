use thiserror::Error;

/// Why a text is no `pkcs11:` URI that is understood. Values are not shown: one may be a PIN.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// It does not begin with `pkcs11:`.
    #[error("does not begin with pkcs11:")]
    Scheme,
    /// A component is not `name=value`.
    #[error("an attribute without a name or a value")]
    Attribute,
    /// A character that must be percent-encoded, or a broken percent-encoding.
    #[error("{0} has a character that must be percent-encoded")]
    Encoding(&'static str),
    /// A value is not UTF-8 text.
    #[error("{0} is not UTF-8")]
    NotText(&'static str),
    /// An attribute stands twice.
    #[error("{0} stands twice")]
    Duplicate(&'static str),
    /// An attribute that means nothing here.
    #[error("unknown attribute {0:?}")]
    Unknown(String),
    /// A PIN in the URI.
    #[error("pin-value is not accepted")]
    PinValue,
    /// A path that is not absolute.
    #[error("{0} is not an absolute path")]
    NotAbsolute(&'static str),
    /// Neither `token` nor `serial` stands in it.
    #[error("neither token nor serial")]
    NoToken,
    /// An object is needed and none is named.
    #[error("no object")]
    NoObject,
    /// The module is needed and not named.
    #[error("no module-path")]
    NoModule,
}

impl UriError {
    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Scheme | Self::Attribute | Self::NoToken | Self::Duplicate(_) => {
                "write pkcs11:token=<label>;object=kc:<node>:<instance>:id?module-path=/path/to/module.so"
            }
            Self::Encoding(_) | Self::NotText(_) => {
                "write %20 for a space, %25 for a percent sign, %3B for a semicolon, %2F for a slash in a label"
            }
            Self::Unknown(name) if name.starts_with("slot-") => {
                "slots are numbered anew at each start: name the token by token= or serial="
            }
            Self::Unknown(_) => {
                "known are token, manufacturer, model, serial, object; then module-path, pin-source"
            }
            Self::PinValue => {
                "configurations are copied and printed: put the PIN into a file of mode 0600 and name it with pin-source=file:/path, or set KC_HSM_PIN"
            }
            Self::NotAbsolute(_) => "write the whole path, beginning with /",
            Self::NoObject => {
                "add object=kc:<node>:<instance>:id, or ...:ratchet; `kc hsm list` shows them"
            }
            Self::NoModule => "add ?module-path=/path/to/module.so",
        }
    }
}
