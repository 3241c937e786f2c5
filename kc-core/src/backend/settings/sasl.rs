//! The settings of SASL authentication.

use super::values::authorities;
use super::{Authorities, invalid};
use crate::backend::{BackendError, BackendErrorKind};
use crate::secret::SecretText;

/// The prefix of a URL that names a file.
const FILE_URL: &str = "file://";

/// The domain of Amazon MSK's brokers, after `<cluster>.kafka.<region>`.
const AWS_DOMAINS: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

/// The settings of SASL authentication.
#[derive(Debug)]
#[non_exhaustive]
pub enum Sasl {
    /// A user name and a password.
    Password {
        /// PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
        mechanism: SaslMechanism,
        /// The user's name.
        username: String,
        /// The user's password.
        password: SecretText,
    },
    /// OAUTHBEARER (RFC 7628): a token of an identity provider.
    OAuthBearer(OAuthBearer),
    /// AWS_MSK_IAM: a request that is signed with credentials of Amazon Web Services.
    AwsMskIam {
        /// The region of the cluster, for example `eu-west-1`; `None` if neither the settings nor the names of the
        /// bootstrap servers contain it.
        region: Option<String>,
    },
}

impl Sasl {
    /// Returns the mechanism.
    #[must_use]
    pub fn mechanism(&self) -> SaslMechanism {
        match self {
            Self::Password { mechanism, .. } => *mechanism,
            Self::OAuthBearer(_) => SaslMechanism::OAuthBearer,
            Self::AwsMskIam { .. } => SaslMechanism::AwsMskIam,
        }
    }
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// PLAIN (RFC 4616): the client sends the password itself, so this mechanism is safe only with TLS.
    Plain,
    /// SCRAM-SHA-256 (RFC 7677): the client proves that it knows the password.
    ScramSha256,
    /// SCRAM-SHA-512: the client proves that it knows the password.
    ScramSha512,
    /// OAUTHBEARER (RFC 7628): the client sends a token of an identity provider, so this mechanism is safe only with
    /// TLS.
    OAuthBearer,
    /// AWS_MSK_IAM: the client proves its identity to Amazon MSK. It requires TLS.
    AwsMskIam,
}

impl SaslMechanism {
    /// All mechanisms.
    const ALL: [Self; 5] = [
        Self::Plain,
        Self::ScramSha256,
        Self::ScramSha512,
        Self::OAuthBearer,
        Self::AwsMskIam,
    ];

    /// Returns the name of the mechanism, as settings and the SASL protocol use it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::AwsMskIam => "AWS_MSK_IAM",
        }
    }

    pub(super) fn parse(value: &str) -> Result<Self, BackendError> {
        if value.eq_ignore_ascii_case("GSSAPI") {
            return Err(BackendError::new(
                BackendErrorKind::Unsupported,
                "the value GSSAPI (Kerberos) of `sasl_mechanism`",
            )
            .with_advice(
                "no backend supports Kerberos: use a listener of the brokers with SCRAM, OAUTHBEARER or TLS \
                 certificates",
            ));
        }
        let mut all = Self::ALL.into_iter();
        let named = all.find(|mechanism| mechanism.name().eq_ignore_ascii_case(value));
        named.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            invalid(format!("`sasl_mechanism`: {value:?} is none of {names}"))
        })
    }
}

/// The settings of OAUTHBEARER.
#[derive(Debug)]
#[non_exhaustive]
pub struct OAuthBearer {
    /// The source of tokens.
    pub source: TokenSource,
    /// The SASL extensions (KIP-342) that the client sends with the token, for example `logicalCluster`.
    pub extensions: Vec<(String, String)>,
}

/// The source of tokens. The client gets a new token from it for each connection, and before a token expires.
#[derive(Debug)]
#[non_exhaustive]
pub enum TokenSource {
    /// A file that contains a token. Another program replaces the file before the token expires.
    File(String),
    /// A command for the shell `sh` that prints a token.
    Command(String),
    /// The token endpoint of an identity provider.
    Endpoint(TokenEndpoint),
}

/// The token endpoint of an identity provider, with the credentials of the client (OAuth 2.0, RFC 6749 section 4.4).
#[derive(Debug)]
#[non_exhaustive]
pub struct TokenEndpoint {
    /// The URL, which begins with `https://`.
    pub url: String,
    /// The client's id.
    pub client_id: Option<String>,
    /// The proof of the client's identity.
    pub credential: ClientCredential,
    /// The requested scope.
    pub scope: Option<String>,
    /// The authorities that the client trusts to certify the endpoint.
    pub authorities: Authorities,
}

/// The proof of a client's identity for a token endpoint.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientCredential {
    /// A secret that the client and the identity provider share.
    Secret(SecretText),
    /// A file that contains a signed JWT (RFC 7523), for example the token of a Kubernetes service account.
    AssertionFile(String),
}

/// The given settings of SASL.
#[derive(Debug, Default)]
pub(super) struct Given {
    mechanism: Option<SaslMechanism>,
    extensions: Vec<(String, String)>,
    /// The names and texts of all other settings.
    texts: Vec<(&'static str, SecretText)>,
}

impl Given {
    /// Sets a setting, by its canonical name. Returns whether it is one of SASL.
    pub(super) fn set(&mut self, setting: &'static str, value: &str) -> Result<bool, BackendError> {
        match (setting, value.strip_prefix(FILE_URL)) {
            ("sasl_mechanism", _) => self.mechanism = Some(SaslMechanism::parse(value)?),
            ("sasl_oauth_extensions", _) => self.extensions = extensions(value)?,
            ("sasl_oauth_token_endpoint", Some(path)) => self.keep("sasl_oauth_token_file", path),
            _ if setting.starts_with("sasl_") => self.keep(setting, value),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn keep(&mut self, setting: &'static str, value: &str) {
        self.texts.retain(|(name, _)| *name != setting);
        self.texts.push((setting, value.to_owned().into()));
    }

    /// Takes out the text of a setting.
    fn secret(&mut self, setting: &str) -> Option<SecretText> {
        let at = self.texts.iter().position(|(name, _)| *name == setting)?;
        Some(self.texts.remove(at).1)
    }

    /// Takes out the text of a setting that is not secret.
    fn text(&mut self, setting: &str) -> Option<String> {
        self.secret(setting).map(|text| text.expose().to_owned())
    }

    /// Returns the settings that the mechanism uses, and the names of the given settings that it does not use.
    pub(super) fn finish(
        mut self,
        servers: &str,
        has_tls: bool,
    ) -> Result<(Sasl, Vec<&'static str>), BackendError> {
        let mechanism = self.mechanism.take().ok_or_else(|| {
            invalid(
                "`sasl_mechanism` is required if `security_protocol` is SASL_PLAINTEXT or SASL_SSL",
            )
        })?;
        let required = |name: &str| {
            invalid(format!(
                "`{name}` is required if `sasl_mechanism` is {}",
                mechanism.name()
            ))
        };
        let sasl = match mechanism {
            SaslMechanism::OAuthBearer => Sasl::OAuthBearer(self.oauth_bearer()?),
            SaslMechanism::AwsMskIam => {
                if !has_tls {
                    return Err(invalid(
                        "`security_protocol` must be SASL_SSL if `sasl_mechanism` is AWS_MSK_IAM",
                    ));
                }
                let region = self.text("sasl_aws_region").or_else(|| aws_region(servers));
                Sasl::AwsMskIam { region }
            }
            mechanism => {
                let username = self.text("sasl_plain_username");
                let password = self.secret("sasl_plain_password");
                Sasl::Password {
                    mechanism,
                    username: username.ok_or_else(|| required("sasl_plain_username"))?,
                    password: password.ok_or_else(|| required("sasl_plain_password"))?,
                }
            }
        };
        Ok((sasl, self.names()))
    }

    fn oauth_bearer(&mut self) -> Result<OAuthBearer, BackendError> {
        let sources = (
            self.text("sasl_oauth_token_file"),
            self.text("sasl_oauth_token_command"),
            self.text("sasl_oauth_token_endpoint"),
        );
        let source = match sources {
            (Some(file), None, None) => TokenSource::File(file),
            (None, Some(command), None) => TokenSource::Command(command),
            (None, None, Some(url)) => TokenSource::Endpoint(self.token_endpoint(url)?),
            _ => {
                return Err(invalid(
                    "`sasl_mechanism` OAUTHBEARER requires one of `sasl_oauth_token_file`, \
                     `sasl_oauth_token_command` and `sasl_oauth_token_endpoint`",
                ));
            }
        };
        Ok(OAuthBearer {
            source,
            extensions: std::mem::take(&mut self.extensions),
        })
    }

    fn token_endpoint(&mut self, url: String) -> Result<TokenEndpoint, BackendError> {
        if !url.starts_with("https://") {
            return Err(invalid(
                "`sasl_oauth_token_endpoint` must begin with https://, because the client sends its credentials there",
            ));
        }
        let client_id = self.text("sasl_oauth_client_id");
        let proofs = (
            self.secret("sasl_oauth_client_secret"),
            self.text("sasl_oauth_assertion_file"),
        );
        let credential = match proofs {
            (Some(secret), None) if client_id.is_some() => ClientCredential::Secret(secret),
            (None, Some(file)) => ClientCredential::AssertionFile(file),
            _ => {
                return Err(invalid(
                    "`sasl_oauth_token_endpoint` requires either `sasl_oauth_client_id` with \
                     `sasl_oauth_client_secret`, or `sasl_oauth_assertion_file`",
                ));
            }
        };
        let cafile = self.text("sasl_oauth_cafile");
        Ok(TokenEndpoint {
            url,
            client_id,
            credential,
            scope: self.text("sasl_oauth_scope"),
            authorities: cafile.map_or(Authorities::Public, |file| authorities(&file)),
        })
    }

    /// Returns the names of the settings that are given.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let mechanism = self.mechanism.map(|_| "sasl_mechanism");
        let extensions = (!self.extensions.is_empty()).then_some("sasl_oauth_extensions");
        let texts = self.texts.iter().map(|(name, _)| *name);
        mechanism
            .into_iter()
            .chain(texts)
            .chain(extensions)
            .collect()
    }
}

/// Parses `name=value,...`. The names consist of letters (RFC 7628 section 3.1), and `auth` is reserved for the token.
fn extensions(value: &str) -> Result<Vec<(String, String)>, BackendError> {
    let parse = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let is_name = !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphabetic());
        let is_value = value.bytes().all(|it| (b' '..=b'~').contains(&it));
        (is_name && is_value && name != "auth").then(|| (name.to_owned(), value.to_owned()))
    };
    let parts = value.split(',').map(|part| {
        parse(part).ok_or_else(|| {
            invalid(format!(
                "`sasl_oauth_extensions`: {part:?} is not name=value with a name of letters"
            ))
        })
    });
    parts.collect()
}

/// Returns the region in the name of the first bootstrap server, if it is a broker of Amazon MSK.
fn aws_region(servers: &str) -> Option<String> {
    let (host, _) = servers.split(',').next()?.rsplit_once(':')?;
    let mut domains = AWS_DOMAINS.into_iter();
    let name = domains.find_map(|domain| host.strip_suffix(domain))?;
    let (cluster, region) = name.rsplit_once('.')?;
    let is_msk = cluster.ends_with(".kafka") || cluster.ends_with(".kafka-serverless");
    is_msk.then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(
        settings: &[(&'static str, &str)],
    ) -> Result<(Sasl, Vec<&'static str>), BackendError> {
        let mut given = Given::default();
        for (name, value) in settings {
            assert!(given.set(name, value).unwrap(), "{name}");
        }
        given.finish(
            "b-1.c.x.c2.kafka.eu-west-1.amazonaws.com:9098,other:1",
            true,
        )
    }

    fn refused(settings: &[(&'static str, &str)]) -> String {
        finished(settings).unwrap_err().to_string()
    }

    const BEARER: (&str, &str) = ("sasl_mechanism", "oauthbearer");
    const ENDPOINT: (&str, &str) = ("sasl_oauth_token_endpoint", "https://idp/token");

    #[test]
    fn a_token_comes_from_one_source() {
        let (sasl, idle) = finished(&[
            BEARER,
            ("sasl_oauth_token_endpoint", "file:///run/token"),
            (
                "sasl_oauth_extensions",
                "logicalCluster=lkc-1, identityPoolId=pool-2",
            ),
            ("sasl_plain_username", "u"),
        ])
        .unwrap();
        let Sasl::OAuthBearer(OAuthBearer {
            source: TokenSource::File(file),
            extensions,
        }) = sasl
        else {
            panic!("{sasl:?}");
        };
        assert_eq!(file, "/run/token");
        assert_eq!(
            extensions[1],
            ("identityPoolId".to_owned(), "pool-2".to_owned())
        );
        assert_eq!(idle, ["sasl_plain_username"]);
        assert!(refused(&[BEARER]).contains("`sasl_oauth_token_file`"));
        let two = [BEARER, ENDPOINT, ("sasl_oauth_token_command", "x")];
        assert!(refused(&two).contains("one of"));
    }

    #[test]
    fn an_endpoint_needs_tls_and_a_credential() {
        let secret = ("sasl_oauth_client_secret", "hush");
        let id = ("sasl_oauth_client_id", "kc");
        assert!(finished(&[BEARER, ENDPOINT, id, secret]).is_ok());
        assert!(finished(&[BEARER, ENDPOINT, ("sasl_oauth_assertion_file", "f")]).is_ok());
        assert!(refused(&[BEARER, ENDPOINT, secret]).contains("`sasl_oauth_client_id`"));
        let plain = ("sasl_oauth_token_endpoint", "http://idp/token");
        let error = refused(&[BEARER, plain, id, secret]);
        assert!(
            error.contains("https://") && !error.contains("hush"),
            "{error}"
        );
    }

    #[test]
    fn the_region_comes_from_the_setting_or_the_first_server() {
        let msk = ("sasl_mechanism", "AWS_MSK_IAM");
        for (settings, region) in [
            (&[msk][..], "eu-west-1"),
            (&[msk, ("sasl_aws_region", "us-east-1")], "us-east-1"),
        ] {
            let (sasl, _) = finished(settings).unwrap();
            assert!(matches!(sasl, Sasl::AwsMskIam { region: Some(it) } if it == region));
        }
        assert_eq!(aws_region("kafka.example.com:9092"), None);
        assert_eq!(aws_region("x.amazonaws.com:9092"), None);
        let mut given = Given::default();
        given.set("sasl_mechanism", "AWS_MSK_IAM").unwrap();
        assert!(given.finish("a:1", false).is_err());
    }

    #[test]
    fn kerberos_is_refused_with_the_alternatives() {
        let error = SaslMechanism::parse("GSSAPI").unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Unsupported);
        assert!(error.advice().unwrap_or_default().contains("SCRAM"));
    }

    #[test]
    fn extensions_cannot_replace_the_token() {
        for bad in ["auth=x", "a", "a1=x", "a=\u{1}", ""] {
            let error = Given::default().set("sasl_oauth_extensions", bad);
            assert!(error.is_err(), "{bad:?}");
        }
    }
}
