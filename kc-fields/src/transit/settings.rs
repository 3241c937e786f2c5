//! The settings of the server: address, token and TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

/// The default deadline of a request with all its retries.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a Vault or OpenBao server, the table `[transit]` of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitSettings {
    /// The address, as `https://HOST:PORT`. `http` is allowed only for this host.
    pub address: String,
    /// The path at which Transit is mounted: `transit` by default.
    pub mount: String,
    /// The namespace, if the server has any.
    pub namespace: Option<String>,
    /// The file with the certificates of the authorities that sign the server's certificate, in PEM. Without it, those
    /// that Mozilla trusts.
    pub ca: Option<PathBuf>,
    /// The origin of the token.
    pub token: TokenSource,
    /// The deadline of a request with all its retries: 10 s by default.
    pub timeout: Duration,
}

/// The origin of the token that authorises requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// The first line of a file. It is read again when the server refuses the token, because an agent may renew it.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A login with a role.
    AppRole {
        /// The path at which the login is mounted: `approle` by default.
        mount: String,
        /// The id of the role.
        role_id: String,
        /// The file whose first line is the secret id.
        secret_id: PathBuf,
    },
}

/// The text of the table `[transit]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransitText {
    address: Spanned<String>,
    mount: Option<Spanned<String>>,
    namespace: Option<Spanned<String>>,
    ca: Option<Spanned<String>>,
    token: Option<Spanned<String>>,
    approle: Option<Spanned<AppRoleText>>,
    timeout: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AppRoleText {
    mount: Option<String>,
    role_id: String,
    secret_id: String,
}

impl TransitText {
    /// Returns the settings, or the place and the reason why they are not valid. Paths are relative to `folder`.
    pub(crate) fn check(self, folder: &Path) -> Result<TransitSettings, (usize, String)> {
        let place = self.address.span().start;
        let address = self.address.into_inner();
        let address = address.trim_end_matches('/');
        if !is_safe(address) {
            let text = format!(
                "address {address:?} is not https://HOST:PORT; http is allowed only for this host, because others could \
                 read the token"
            );
            return Err((place, text));
        }
        let token = match (self.token, self.approle) {
            (Some(token), None) => match token.get_ref().split_once(':') {
                Some(("file", path)) => TokenSource::File(folder.join(path)),
                Some(("env", name)) => TokenSource::Environment(name.to_owned()),
                _ => {
                    let text = "token is file:PATH or env:NAME; the token itself must not stand in the rules";
                    return Err((token.span().start, text.into()));
                }
            },
            (None, Some(approle)) => {
                let place = approle.span().start;
                let AppRoleText {
                    mount,
                    role_id,
                    secret_id,
                } = approle.into_inner();
                let path = secret_id.strip_prefix("file:");
                let path = path.ok_or((place, "secret_id is file:PATH".to_owned()))?;
                TokenSource::AppRole {
                    mount: segment(mount.as_deref().unwrap_or("approle"))
                        .ok_or((place, not_a_path("mount")))?,
                    role_id,
                    secret_id: folder.join(path),
                }
            }
            _ => {
                return Err((
                    place,
                    "give either token = \"file:PATH\" or approle = { … }".into(),
                ));
            }
        };
        let timeout = match self.timeout {
            Some(timeout) => humantime::parse_duration(timeout.get_ref()).map_err(|error| {
                let text = format!("timeout: {error}; write a number and a unit: 500ms, 20s");
                (timeout.span().start, text)
            })?,
            None => TIMEOUT,
        };
        let mount = match self.mount {
            Some(mount) => {
                segment(mount.get_ref()).ok_or((mount.span().start, not_a_path("mount")))?
            }
            None => "transit".to_owned(),
        };
        let namespace = match self.namespace {
            Some(name) => {
                Some(segment(name.get_ref()).ok_or((name.span().start, not_a_path("namespace")))?)
            }
            None => None,
        };
        let ca = match self.ca {
            Some(ca) => {
                let path = ca.get_ref().strip_prefix("file:");
                Some(folder.join(path.ok_or((ca.span().start, "ca is file:PATH".to_owned()))?))
            }
            None => None,
        };
        Ok(TransitSettings {
            address: address.to_owned(),
            mount,
            namespace,
            ca,
            token,
            timeout,
        })
    }
}

fn not_a_path(name: &str) -> String {
    format!("{name} has only letters, digits, -, _, . and / between them")
}

/// Returns a path that can stand in a URL as it is.
pub(crate) fn segment(path: &str) -> Option<String> {
    let path = path.trim_matches('/');
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    let is_safe = !path.is_empty() && path.bytes().all(is_plain) && !path.contains("..");
    is_safe.then(|| path.to_owned())
}

/// Returns whether an address keeps the token secret on its way to the server: by TLS, or because it stays on this host.
fn is_safe(address: &str) -> bool {
    if let Some(host) = address.strip_prefix("https://") {
        return !host.is_empty() && !host.contains(['/', '@', '?', '#']);
    }
    let Some(host) = address.strip_prefix("http://") else {
        return false;
    };
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    matches!(name, "127.0.0.1" | "localhost" | "[::1]") && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_travel_only_over_tls_or_on_this_host() {
        for good in [
            "https://vault.example:8200",
            "http://127.0.0.1:8200",
            "http://localhost:1",
            "http://[::1]:1",
        ] {
            assert!(is_safe(good), "{good}");
        }
        for bad in [
            "http://vault.example:8200",
            "http://127.0.0.1.evil:80",
            "http://127.0.0.1@evil:80",
            "ftp://x",
            "https://a/b",
        ] {
            assert!(!is_safe(bad), "{bad}");
        }
    }
}
