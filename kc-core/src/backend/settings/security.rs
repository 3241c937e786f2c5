use crate::secret::SecretText;

/// TLS. The files are read when connecting.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tls {
    /// Who may have certified the brokers.
    pub authorities: Authorities,
    /// The client's own certificate, for brokers that ask for one (mTLS).
    pub certificate: Option<ClientCertificate>,
    /// Whether a broker's certificate must name the host that was connected to.
    pub check_hostname: bool,
}

/// Who may have certified the brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authorities {
    /// The public authorities that the backend brings or finds.
    Public,
    /// Those that this system trusts (`<SYSTEM-CA>`).
    System,
    /// Only those in this PEM file.
    File(String),
}

/// A client's certificate, with the key that proves it.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientCertificate {
    /// The PEM file of the certificate, and of those that certified it.
    pub certificate: String,
    /// The PEM file of the private key.
    pub key: String,
    /// The password of an encrypted key.
    pub password: Option<SecretText>,
}

/// How to authenticate by SASL.
#[derive(Debug)]
#[non_exhaustive]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: SecretText,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// The password itself (RFC 4616): for connections over TLS.
    Plain,
    /// A proof of the password by SHA-256 (RFC 7677).
    ScramSha256,
    /// A proof of the password by SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// The name that settings and brokers give it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}
