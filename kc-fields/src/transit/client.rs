//! Requests to the server: with a token, kept connections, retries and a deadline.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;
use ureq::Body;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use zeroize::{Zeroize, Zeroizing};

use super::settings::{TokenSource, TransitSettings};
use super::wipe;
use crate::error::Fault;

/// The maximum size of a reply, in bytes.
const MAX_REPLY_BYTES: u64 = 64 << 20;
/// The first and the longest pause between two attempts.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// The longest text of a server that is repeated in an error.
const MAX_TEXT: usize = 200;

/// A client of the server. Cheap to share.
pub(crate) struct Client {
    agent: Agent,
    settings: TransitSettings,
    token: Mutex<Option<Token>>,
}

struct Token {
    text: Zeroizing<String>,
    /// When the token is to be renewed, and whether it can be.
    renewal: Option<Instant>,
}

/// What the server says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyInfo {
    pub(crate) is_derived: bool,
    pub(crate) encrypts: bool,
}

/// A reply that is not a success.
struct Failure {
    status: u16,
    /// The results of a batch, if the server gave any.
    body: Value,
}

impl Client {
    /// # Errors
    /// Returns a reason if the certificates cannot be read.
    pub(crate) fn new(settings: &TransitSettings) -> Result<Self, String> {
        let mut tls = TlsConfig::builder();
        if let Some(file) = &settings.ca {
            tls = tls.root_certs(authorities(file)?);
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would take the token to another server.
            .max_redirects(0)
            .user_agent(concat!("kc/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        Ok(Self {
            agent: config.new_agent(),
            settings: settings.clone(),
            token: Mutex::default(),
        })
    }

    /// Reads what the server says of a key. A key that does not exist is an error, and is never created.
    pub(crate) async fn key(self: &Arc<Self>, name: &str) -> Result<KeyInfo, Fault> {
        let path = format!("keys/{name}");
        let data = self
            .run(move |client| client.attempt(None, &path))
            .await
            .map_err(|fault| match fault {
                Fault::Rejected(text) if text.starts_with("404") => {
                    Fault::Rejected(format!("there is no key {name}"))
                }
                fault => fault,
            })?;
        let is = |member: &str| data.get(member).and_then(Value::as_bool);
        Ok(KeyInfo {
            is_derived: is("derived").unwrap_or_default(),
            encrypts: is("supports_encryption").unwrap_or_default(),
        })
    }

    /// Returns the member `data` of a reply.
    pub(crate) async fn call(self: &Arc<Self>, path: &str, body: Value) -> Result<Value, Fault> {
        let path = path.to_owned();
        self.run(move |client| client.attempt(Some(&body), &path))
            .await
    }

    /// Sends a batch of `count` entries. Returns one result for each.
    pub(crate) async fn batch(
        self: &Arc<Self>,
        path: &str,
        body: Value,
        count: usize,
    ) -> Vec<Result<Value, Fault>> {
        let reply = self.call(path, body).await;
        let data = match reply {
            Ok(data) => data,
            Err(fault) => return (0..count).map(|_| Err(fault.clone())).collect(),
        };
        let results = data.get("batch_results").and_then(Value::as_array);
        let results = results
            .into_iter()
            .flatten()
            .map(|result| match error_of(result) {
                Some(error) => Err(on_entry(error)),
                None => Ok(result.clone()),
            });
        results.take(count).collect()
    }

    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let client = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&client)).await;
        done.unwrap_or_else(|error| Err(Fault::Unavailable(error.to_string())))
    }

    /// Sends a request until it succeeds, fails for good, or the deadline is over.
    fn attempt(&self, body: Option<&Value>, path: &str) -> Result<Value, Fault> {
        let end = Instant::now() + self.settings.timeout;
        let path = format!("{}/{path}", self.settings.mount);
        let mut pause = PAUSES[0];
        let mut may_log_in = true;
        loop {
            let token = match self.token(end) {
                Ok(token) => Ok(token),
                Err(fault) if !matches!(fault, Fault::Unavailable(_)) => return Err(fault),
                Err(fault) => Err(fault),
            };
            let problem =
                match token.map(|token| (self.send(body, &path, Some(&token), end), token)) {
                    Err(fault) => fault,
                    Ok((Ok(reply), _)) => return Ok(reply),
                    Ok((Err(Problem::Refused(failure)), token)) => match failure.status {
                        403 if may_log_in && self.forget(&token) => {
                            may_log_in = false;
                            continue;
                        }
                        400 if failure.body.pointer("/data/batch_results").is_some() => {
                            return Ok(data(failure.body));
                        }
                        429 | 472 | 473 | 500 | 502 | 503 | 504 => {
                            Fault::Unavailable(in_words(&failure))
                        }
                        400 => return Err(on_entry(&text_of(&failure.body))),
                        _ => return Err(Fault::Rejected(in_words(&failure))),
                    },
                    Ok((Err(Problem::Unreachable(text)), _)) => Fault::Unavailable(text),
                };
            let left = end.saturating_duration_since(Instant::now());
            if left <= pause {
                return Err(problem);
            }
            sleep(pause);
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    fn send(
        &self,
        body: Option<&Value>,
        path: &str,
        token: Option<&str>,
        end: Instant,
    ) -> Result<Value, Problem> {
        let unreachable = |error: ureq::Error| {
            Problem::Unreachable(format!(
                "{} does not answer: {error}",
                self.settings.address
            ))
        };
        let url = format!("{}/v1/{path}", self.settings.address);
        let left = end
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        let mut headers = vec![("X-Vault-Request", "true")];
        headers.extend(token.map(|token| ("X-Vault-Token", token)));
        headers.extend(
            self.settings
                .namespace
                .as_deref()
                .map(|name| ("X-Vault-Namespace", name)),
        );
        let response = match body {
            Some(body) => {
                let text = Zeroizing::new(body.to_string());
                let request = self
                    .agent
                    .post(&url)
                    .config()
                    .timeout_global(Some(left))
                    .build();
                let request = headers.iter().fold(request, |request, (name, value)| {
                    request.header(*name, *value)
                });
                request
                    .header("Content-Type", "application/json")
                    .send(text.as_bytes())
            }
            None => {
                let request = self
                    .agent
                    .get(&url)
                    .config()
                    .timeout_global(Some(left))
                    .build();
                headers
                    .iter()
                    .fold(request, |request, (name, value)| {
                        request.header(*name, *value)
                    })
                    .call()
            }
        };
        let mut response = response.map_err(unreachable)?;
        let status = response.status().as_u16();
        let body = read(&mut response).map_err(unreachable)?;
        match status {
            200 | 204 => Ok(data(body)),
            // With `partial_failure_response_code`, a server may answer so to a batch.
            207 => Ok(data(body)),
            status => Err(Problem::Refused(Failure { status, body })),
        }
    }

    /// Returns the token: read, logged in, or renewed if it is time.
    fn token(&self, end: Instant) -> Result<Zeroizing<String>, Fault> {
        let mut kept = lock(&self.token);
        let now = Instant::now();
        if let Some(token) = &mut *kept {
            if token.renewal.is_none_or(|renewal| now < renewal) {
                return Ok(token.text.clone());
            }
            // If it cannot be renewed, the old token is used as long as the server accepts it.
            token.renewal = self.renew(&token.text, end);
            if token.renewal.is_some() || !self.logs_in() {
                return Ok(token.text.clone());
            }
        }
        let token = self.new_token(end)?;
        let text = token.text.clone();
        *kept = Some(token);
        Ok(text)
    }

    fn new_token(&self, end: Instant) -> Result<Token, Fault> {
        let first_line = |path: &Path| -> Result<Zeroizing<String>, Fault> {
            let failed = |error: std::io::Error| {
                Fault::Rejected(format!("cannot read {}: {error}", path.display()))
            };
            let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
            Ok(Zeroizing::new(
                text.lines().next().unwrap_or_default().trim().to_owned(),
            ))
        };
        let text = match &self.settings.token {
            TokenSource::File(path) => first_line(path)?,
            TokenSource::Environment(name) => match std::env::var(name) {
                Ok(token) => Zeroizing::new(token),
                Err(_) => {
                    return Err(Fault::Rejected(format!(
                        "the environment has no token in {name}"
                    )));
                }
            },
            TokenSource::AppRole {
                mount,
                role_id,
                secret_id,
            } => {
                let mut secret_id = first_line(secret_id)?;
                let mut body = json!({ "role_id": role_id, "secret_id": *secret_id });
                secret_id.zeroize();
                let path = format!("auth/{mount}/login");
                let login = self.login(&body, &path, end);
                wipe(&mut body);
                return match login {
                    Ok(token) => Ok(token),
                    Err(Problem::Unreachable(text)) => Err(Fault::Unavailable(text)),
                    Err(Problem::Refused(failure)) if failure.status >= 429 => {
                        Err(Fault::Unavailable(in_words(&failure)))
                    }
                    Err(Problem::Refused(failure)) => Err(Fault::Rejected(format!(
                        "the server refuses the login with the role: {}",
                        in_words(&failure)
                    ))),
                };
            }
        };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fault::Rejected(
                "the token is empty, or has characters that no token has".into(),
            ));
        }
        // A token of the operator is renewed after half of the time that it has left, if it can be renewed at all.
        let looked_up = self
            .send(None, "auth/token/lookup-self", Some(&text), end)
            .ok();
        let renewal = looked_up.and_then(|data| {
            let is_renewable = data
                .get("renewable")
                .and_then(Value::as_bool)
                .unwrap_or_default();
            let left = data
                .get("ttl")
                .and_then(Value::as_u64)
                .filter(|left| is_renewable && *left > 0)?;
            Some(Instant::now() + Duration::from_secs(left) / 2)
        });
        Ok(Token { text, renewal })
    }

    fn login(&self, body: &Value, path: &str, end: Instant) -> Result<Token, Problem> {
        let mut auth = self.send(Some(body), path, None, end)?;
        let text = auth.get("client_token").and_then(Value::as_str);
        let text = Zeroizing::new(text.unwrap_or_default().to_owned());
        let renewal = renewal(&auth);
        wipe(&mut auth);
        Ok(Token { text, renewal })
    }

    /// Asks the server to prolong the token. Returns when it is to be asked again.
    fn renew(&self, token: &str, end: Instant) -> Option<Instant> {
        let auth = self
            .send(Some(&json!({})), "auth/token/renew-self", Some(token), end)
            .ok()?;
        renewal(&auth)
    }

    /// Forgets a token that the server refused. Returns whether there may be another one.
    fn forget(&self, refused: &str) -> bool {
        let mut kept = lock(&self.token);
        if kept.as_ref().is_some_and(|token| *token.text == refused) {
            *kept = None;
        }
        !matches!(self.settings.token, TokenSource::Environment(_))
    }

    fn logs_in(&self) -> bool {
        matches!(self.settings.token, TokenSource::AppRole { .. })
    }
}

enum Problem {
    Unreachable(String),
    Refused(Failure),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.settings.address)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(response: &mut Response<Body>) -> Result<Value, ureq::Error> {
    let bytes = response
        .body_mut()
        .with_config()
        .limit(MAX_REPLY_BYTES)
        .read_to_vec();
    let bytes = Zeroizing::new(bytes?);
    Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// Returns the result of a reply: its member `data`, or `auth` in the reply to a login.
fn data(mut body: Value) -> Value {
    let member = ["data", "auth"]
        .into_iter()
        .find(|member| body.get(*member).is_some_and(|value| !value.is_null()));
    member
        .and_then(|member| body.get_mut(member))
        .map_or(Value::Null, Value::take)
}

/// Returns when a token is to be renewed: after half of its life.
fn renewal(auth: &Value) -> Option<Instant> {
    let life = auth
        .get("lease_duration")
        .and_then(Value::as_u64)
        .filter(|life| *life > 0)?;
    Some(Instant::now() + Duration::from_secs(life) / 2)
}

fn error_of(result: &Value) -> Option<&str> {
    result
        .get("error")
        .and_then(Value::as_str)
        .filter(|error| !error.is_empty())
}

fn text_of(body: &Value) -> String {
    let errors = body
        .get("errors")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let errors: Vec<&str> = errors.filter_map(Value::as_str).collect();
    // Servers write several lines.
    let words: Vec<&str> = errors
        .iter()
        .flat_map(|error| error.split_whitespace())
        .collect();
    words.join(" ").chars().take(MAX_TEXT).collect()
}

fn in_words(failure: &Failure) -> String {
    let text = text_of(&failure.body);
    match failure.status {
        403 => format!("the server refuses the token: {text}"),
        503 if text.is_empty() => "the server is sealed or not ready".to_owned(),
        503 => format!("the server is not ready: {text}"),
        status if text.is_empty() => format!("{status} of the server"),
        status => format!("{status} of the server: {text}"),
    }
}

/// Returns the fault of an entry that the server refused.
fn on_entry(text: &str) -> Fault {
    let text: String = text.chars().take(MAX_TEXT).collect();
    if text.contains("message authentication failed") {
        return Fault::Refused(
            "it was changed, or made with another key, or for another topic, path or record".into(),
        );
    }
    if text.contains("too old") {
        return Fault::Rejected(format!(
            "the server no longer accepts this version of the key: {text}"
        ));
    }
    if text.contains("invalid ciphertext") {
        return Fault::NotAToken(text);
    }
    Fault::Rejected(format!("the server refuses it: {text}"))
}

fn authorities(file: &Path) -> Result<RootCerts, String> {
    let pem = fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let broken = |reason: &str| format!("{}: {reason}", file.display());
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|error| broken(&error.to_string()))?
        {
            certificates.push(certificate);
        }
    }
    match certificates.is_empty() {
        true => Err(broken("it has no certificate in PEM")),
        false => Ok(RootCerts::new_with_certs(&certificates)),
    }
}
