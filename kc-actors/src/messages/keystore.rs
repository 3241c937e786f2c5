use actix::Message;
use kc_core::keys::VerifyingKey;
use kc_core::store::StoreError;

/// Asks for a signature: the signature, then the message (protocol §5).
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<u8>, StoreError>")]
pub struct Sign {
    /// The key to sign with.
    pub key: VerifyingKey,
    /// The message.
    pub message: Vec<u8>,
}
