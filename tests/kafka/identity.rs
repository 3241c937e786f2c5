//! An identity provider on this host: a token endpoint with TLS that issues unsecured JWTs, as Kafka's default validator
//! accepts them.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kc_testkit::kafka::Certificates;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) const CLIENT_ID: &str = "kc";
pub(crate) const CLIENT_SECRET: &str = "id-secret";

/// Returns a token that is valid for an hour.
pub(crate) fn token() -> String {
    token_until(3_600)
}

/// Returns a token that expires after this number of seconds, or has expired if the number is negative.
pub(crate) fn token_until(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_secs()).unwrap();
    let issued = now - 3_600;
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({"alg": "none"}));
    let claims =
        part(json!({"sub": CLIENT_ID, "iat": issued, "exp": now + seconds, "scope": "kafka"}));
    format!("{header}.{claims}.")
}

/// Serves the endpoint until the runtime ends. Returns its address.
pub(crate) async fn serve(certificates: &Certificates) -> SocketAddr {
    let pem = fs::read(&certificates.server).unwrap();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.unwrap(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = Vec::new();
                let wanted = format!("{CLIENT_ID}:{CLIENT_SECRET}");
                let wanted = format!("Basic {}", STANDARD.encode(wanted));
                while !contains(&request, "grant_type=client_credentials") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let (status, body) = match contains(&request, &wanted) {
                    true => (
                        "200 OK",
                        json!({"access_token": token(), "expires_in": 3_600}),
                    ),
                    false => ("401 Unauthorized", json!({"error": "invalid_client"})),
                };
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

fn contains(request: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(request).contains(text)
}
