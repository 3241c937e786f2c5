use kc::core::keys::KeyType;

/// A type of signing key by its version: 1 or 4.
pub(crate) fn key_type(text: &str) -> Result<KeyType, String> {
    let version = text.parse().ok().and_then(KeyType::from_version);
    version.ok_or_else(|| "there are 1 (Ed25519) and 4 (Ed25519 and SLH-DSA)".to_owned())
}
