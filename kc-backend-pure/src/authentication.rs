//! SASL credentials, and the sources of tokens.

use std::fmt;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use kc_core::backend::{
    Authorities, BackendError, BackendErrorKind, ClientCredential, OAuthBearer, Sasl,
    SaslMechanism, TokenEndpoint, TokenSource, unsupported,
};
use krafka::KrafkaError;
use krafka::auth::oidc::{AssertionSource, ClientCredentials, OidcTokenProvider};
use krafka::auth::{AuthConfig, AwsMskIamCredentials, OAuthBearerToken};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::NAME;
use crate::error::failed;

/// The largest token that a file or a command may give, in bytes.
const MAX_TOKEN_BYTES: u64 = 64 << 10;

/// The time after which a command for a token has failed.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// The time after which a request for a token has failed.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of bytes of a command's error output that an error shows.
const SHOWN_BYTES: u64 = 200;

/// Returns the credentials for SASL, or the source from which krafka gets them for each connection.
pub(crate) fn credentials(sasl: &Sasl) -> Result<AuthConfig, BackendError> {
    match sasl {
        Sasl::Password {
            mechanism,
            username,
            password,
        } => {
            let password = password.expose();
            Ok(match mechanism {
                SaslMechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(username, password),
                SaslMechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(username, password),
                _ => AuthConfig::sasl_plain(username, password),
            })
        }
        Sasl::OAuthBearer(bearer) => tokens(bearer),
        Sasl::AwsMskIam { region } => aws(region.as_deref()),
        _ => Err(unsupported(
            NAME,
            format!("`sasl_mechanism` {}", sasl.mechanism().name()),
            "use another mechanism",
        )),
    }
}

fn tokens(bearer: &OAuthBearer) -> Result<AuthConfig, BackendError> {
    let extensions = bearer.extensions.clone();
    let extended = move |token: Zeroizing<String>| {
        let token = OAuthBearerToken::new(token.trim());
        let extend = |token: OAuthBearerToken, (name, value): &(String, String)| {
            token.with_extension(name, value)
        };
        extensions.iter().fold(token, extend)
    };
    Ok(match &bearer.source {
        TokenSource::File(path) => {
            let path = path.clone();
            AuthConfig::sasl_oauthbearer_provider(move || {
                let (path, extended) = (path.clone(), extended.clone());
                async move { of_file(&path).await.map(extended) }
            })
        }
        TokenSource::Command(command) => {
            let command = command.clone();
            AuthConfig::sasl_oauthbearer_provider(move || {
                let (command, extended) = (command.clone(), extended.clone());
                async move { of_command(&command).await.map(extended) }
            })
        }
        TokenSource::Endpoint(endpoint) => {
            let provider = provider(endpoint, &bearer.extensions)
                .map_err(|error| failed(format!("prepare requests to {}", endpoint.url), error))?;
            AuthConfig::sasl_oauthbearer_provider(provider)
        }
        _ => {
            return Err(unsupported(
                NAME,
                "this source of tokens",
                "use `sasl_oauth_token_command`",
            ));
        }
    })
}

/// Reads the token of a file.
async fn of_file(path: &str) -> Result<Zeroizing<String>, KrafkaError> {
    let refuse = |reason: String| {
        KrafkaError::auth(format!(
            "`sasl_oauth_token_file`: cannot read {path}: {reason}"
        ))
    };
    let file = tokio::fs::File::open(path).await;
    let file = file.map_err(|error| refuse(error.to_string()))?;
    let token = read(file, MAX_TOKEN_BYTES).await;
    token.map_err(|error| refuse(error.to_string()))
}

/// Runs a command, and reads the token that it prints.
async fn of_command(command: &str) -> Result<Zeroizing<String>, KrafkaError> {
    let refuse =
        |reason: String| KrafkaError::auth(format!("`sasl_oauth_token_command`: {reason}"));
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| refuse(error.to_string()))?;
    let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(refuse("the command has no output".to_owned()));
    };
    let running = async {
        let shown = async {
            let shown = read(errors, SHOWN_BYTES).await;
            shown.map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let (token, shown) = tokio::join!(read(output, MAX_TOKEN_BYTES), shown);
        let status = child
            .wait()
            .await
            .map_err(|error| refuse(error.to_string()))?;
        match token {
            // The command may have failed because its output was not read to the end.
            Err(error @ Unreadable::TooLong(_)) => Err(refuse(error.to_string())),
            _ if !status.success() => {
                Err(refuse(format!("the command failed ({status}): {shown}")))
            }
            token => token.map_err(|error| refuse(error.to_string())),
        }
    };
    let ended = timeout(COMMAND_TIMEOUT, running).await;
    ended.unwrap_or_else(|_| {
        Err(refuse(format!(
            "the command did not end within {} s",
            COMMAND_TIMEOUT.as_secs()
        )))
    })
}

/// The reason why a text is refused.
enum Unreadable {
    Empty,
    /// The text is longer than this number of bytes.
    TooLong(u64),
    /// The source failed, or the text is not UTF-8.
    Failed(io::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::TooLong(most) => write!(f, "longer than {most} bytes"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// Reads a text to its end. Refuses a text that is empty, longer than `most` bytes, or not UTF-8.
async fn read(source: impl AsyncRead + Unpin, most: u64) -> Result<Zeroizing<String>, Unreadable> {
    let mut text = Zeroizing::new(String::new());
    let mut limited = source.take(most + 1);
    let length = limited.read_to_string(&mut text).await;
    match length.map(|length| u64::try_from(length).unwrap_or(u64::MAX)) {
        Ok(length) if length > most => Err(Unreadable::TooLong(most)),
        Ok(_) if text.trim().is_empty() => Err(Unreadable::Empty),
        Ok(_) => Ok(text),
        Err(error) => Err(Unreadable::Failed(error)),
    }
}

fn provider(
    endpoint: &TokenEndpoint,
    extensions: &[(String, String)],
) -> krafka::Result<OidcTokenProvider> {
    let id = endpoint.client_id.as_deref();
    let credentials = match &endpoint.credential {
        ClientCredential::AssertionFile(file) => {
            ClientCredentials::assertion(AssertionSource::file(file))
        }
        ClientCredential::Secret(secret) => {
            ClientCredentials::secret(id.unwrap_or_default(), secret.expose())
        }
        _ => return Err(KrafkaError::config("unknown kind of credential")),
    };
    let mut builder = OidcTokenProvider::builder(&endpoint.url)
        .credentials(credentials)
        .request_timeout(ENDPOINT_TIMEOUT);
    if let (ClientCredential::AssertionFile(_), Some(id)) = (&endpoint.credential, id) {
        builder = builder.client_id(id);
    }
    if let Some(scope) = &endpoint.scope {
        builder = builder.scope(scope);
    }
    builder = match &endpoint.authorities {
        Authorities::File(file) => builder.ca_cert(file),
        Authorities::Pem(pem) => builder.ca_cert_pem(pem.as_bytes()),
        Authorities::System => builder.native_roots(),
        _ => builder,
    };
    for (name, value) in extensions {
        builder = builder.sasl_extension(name, value);
    }
    builder.build()
}

/// Returns the source of credentials for Amazon MSK: with the feature `aws-msk` the usual places of the AWS SDK,
/// otherwise the environment. The environment also gives the region if the settings do not.
fn aws(region: Option<&str>) -> Result<AuthConfig, BackendError> {
    let variable = |name| std::env::var(name).ok();
    let region = region
        .map(str::to_owned)
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::Configuration,
                "`sasl_aws_region` is missing: the names of the bootstrap servers contain no region",
            )
        })?;
    Ok(AuthConfig::aws_msk_iam_provider(move || {
        let region = region.clone();
        async move { aws_credentials(region).await }
    }))
}

#[cfg(feature = "aws-msk")]
async fn aws_credentials(region: String) -> krafka::Result<AwsMskIamCredentials> {
    AwsMskIamCredentials::from_default_chain(region).await
}

#[cfg(not(feature = "aws-msk"))]
async fn aws_credentials(region: String) -> krafka::Result<AwsMskIamCredentials> {
    AwsMskIamCredentials::from_env_with_region(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_prints_the_token_or_its_failure_is_told() {
        assert_eq!(of_command("printf 'abc\\n'").await.unwrap().trim(), "abc");
        for (command, reason) in [
            ("echo no key >&2; exit 3", "no key"),
            ("true", "empty"),
            ("head -c 100000 /dev/zero", "longer than 65536 bytes"),
            ("yes", "longer than 65536 bytes"),
        ] {
            let error = of_command(command).await.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[tokio::test]
    async fn a_token_file_is_named_if_it_cannot_be_read() {
        let error = of_file("no-such-token").await.unwrap_err().to_string();
        assert!(error.contains("no-such-token"), "{error}");
    }
}
