//! A server that answers as Transit does, with faults on demand.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// What the server does with a request instead of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// Answers with this status and error.
    Status(u16, &'static str),
    /// Closes the connection.
    Close,
    /// Never answers.
    Silence,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) troubles: VecDeque<Trouble>,
    /// The token that the server accepts.
    pub(crate) token: String,
    pub(crate) version: u32,
    pub(crate) min_version: u32,
    /// The methods and paths of all requests.
    pub(crate) requests: Vec<String>,
    pub(crate) connections: usize,
    /// The lifetime that a login gives, in seconds.
    pub(crate) lease: u64,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            troubles: VecDeque::new(),
            token: "root".into(),
            version: 1,
            min_version: 1,
            requests: Vec::new(),
            connections: 0,
            lease: 3600,
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                state.lock().unwrap().connections += 1;
                thread::spawn(move || serve(connection, &state));
            }
        });
        Self { address, state }
    }

    pub(crate) fn count(&self, of: &str) -> usize {
        let state = self.state.lock().unwrap();
        state
            .requests
            .iter()
            .filter(|request| request.contains(of))
            .count()
    }

    pub(crate) fn trouble(&self, troubles: &[Trouble]) {
        self.state.lock().unwrap().troubles.extend(troubles);
    }
}

fn serve(connection: TcpStream, state: &Mutex<State>) {
    let mut input = BufReader::new(connection.try_clone().unwrap());
    let mut output = connection;
    while let Some((request, token, body)) = read(&mut input) {
        let answer = {
            let mut state = state.lock().unwrap();
            state.requests.push(request.clone());
            match state.troubles.pop_front() {
                None => answer(&mut state, &request, &token, &body),
                Some(Trouble::Status(status, text)) => (status, json!({ "errors": [text] })),
                Some(Trouble::Close) => return,
                Some(Trouble::Silence) => {
                    drop(state);
                    // Until the client gives up.
                    let _ = input.read(&mut [0]);
                    return;
                }
            }
        };
        let text = answer.1.to_string();
        let head = format!(
            "HTTP/1.1 {} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            answer.0,
            text.len()
        );
        if output.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(input: &mut impl BufRead) -> Option<(String, String, Value)> {
    let (mut request, mut token, mut length) = (String::new(), String::new(), 0);
    input
        .read_line(&mut request)
        .ok()
        .filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-vault-token" => token = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    let mut words = request.split_whitespace();
    let request = format!("{} {}", words.next()?, words.next()?);
    Some((
        request,
        token,
        serde_json::from_slice(&body).unwrap_or_default(),
    ))
}

fn answer(state: &mut State, request: &str, token: &str, body: &Value) -> (u16, Value) {
    if request == "POST /v1/auth/approle/login" {
        let is_known = body["role_id"] == "shop" && body["secret_id"] == "secret";
        let auth =
            json!({ "auth": { "client_token": state.token, "lease_duration": state.lease } });
        return if is_known {
            (200, auth)
        } else {
            (400, json!({ "errors": ["invalid role or secret ID"] }))
        };
    }
    if token != state.token {
        return (403, json!({ "errors": ["permission denied"] }));
    }
    match request {
        "GET /v1/auth/token/lookup-self" => {
            (200, json!({ "data": { "ttl": 0, "renewable": false } }))
        }
        "POST /v1/auth/token/renew-self" => (200, json!({ "auth": { "lease_duration": 3600 } })),
        "GET /v1/transit/keys/address" => (
            200,
            json!({ "data": { "derived": true, "supports_encryption": true } }),
        ),
        "GET /v1/transit/keys/plain" => (
            200,
            json!({ "data": { "derived": false, "supports_encryption": true } }),
        ),
        "POST /v1/transit/datakey/plaintext/address" => {
            let key = BASE64.encode([7; 32]);
            let sealed = sealed(
                state,
                &json!({ "plaintext": key, "context": body["context"] }),
            );
            (
                200,
                json!({ "data": { "plaintext": key, "ciphertext": sealed } }),
            )
        }
        "POST /v1/transit/decrypt/address" if body.get("ciphertext").is_some() => {
            match opened(state, body) {
                Ok(plaintext) => (200, json!({ "data": { "plaintext": plaintext } })),
                Err(error) => (400, json!({ "errors": [error] })),
            }
        }
        _ => match request
            .strip_prefix("POST /v1/transit/")
            .and_then(|path| path.split_once('/'))
        {
            Some((operation, "address" | "plain")) => batch(state, operation, body),
            _ => (404, json!({ "errors": [] })),
        },
    }
}

fn batch(state: &State, operation: &str, body: &Value) -> (u16, Value) {
    let entries = body["batch_input"].as_array().unwrap();
    if entries.len() > 249 {
        return (
            400,
            json!({ "errors": ["refused JSON input due to high complexity"] }),
        );
    }
    let convert = |entry: &Value| {
        match operation {
        "encrypt" => Ok(json!({ "ciphertext": sealed(state, entry) })),
        "decrypt" => opened(state, entry).map(|plaintext| json!({ "plaintext": plaintext })),
        _ => opened(state, entry).map(|plaintext| {
            json!({ "ciphertext": sealed(state, &json!({ "plaintext": plaintext, "context": entry["context"] })) })
        }),
    }
    };
    let results = entries
        .iter()
        .map(|entry| convert(entry).unwrap_or_else(|error| json!({ "error": error })));
    let results: Vec<Value> = results.collect();
    let is_bad = results.iter().any(|result| result.get("error").is_some());
    (
        if is_bad { 400 } else { 200 },
        json!({ "data": { "batch_results": results } }),
    )
}

fn sealed(state: &State, entry: &Value) -> String {
    let content = format!(
        "{}|{}",
        entry["context"].as_str().unwrap_or_default(),
        entry["plaintext"].as_str().unwrap()
    );
    format!("vault:v{}:{}", state.version, BASE64.encode(content))
}

fn opened(state: &State, entry: &Value) -> Result<String, &'static str> {
    let token = entry["ciphertext"]
        .as_str()
        .unwrap()
        .strip_prefix("vault:v")
        .unwrap();
    let (version, content) = token
        .split_once(':')
        .ok_or("invalid ciphertext: no prefix")?;
    if version
        .parse::<u32>()
        .map_err(|_| "invalid ciphertext: no version")?
        < state.min_version
    {
        return Err("ciphertext or signature version is disallowed by policy (too old)");
    }
    let content = BASE64
        .decode(content)
        .map_err(|_| "invalid ciphertext: could not decode base64")?;
    let content =
        String::from_utf8(content).map_err(|_| "cipher: message authentication failed")?;
    match content.split_once('|') {
        Some((context, plaintext)) if context == entry["context"].as_str().unwrap_or_default() => {
            Ok(plaintext.to_owned())
        }
        _ => Err("cipher: message authentication failed"),
    }
}
