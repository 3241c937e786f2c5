use blake2b_simd::Params;

use super::data_key::TopicSecret;
use super::generator::{Context, derive};
use crate::hash::sha256;
use crate::keys::VerifyingKey;
use crate::secret::Secret;
use crate::types::{KeyId, RootTopic};

/// How a producer names its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyIdForm {
    /// 32 bytes: the hash of the producer's identity and the step's index. The default.
    Long {
        /// The byte forms of the producer's signing public keys, one after the other.
        identity: Vec<u8>,
    },
    /// The step's index: shorter messages, but two producers of one root collide.
    Short,
}

/// One step of the ratchet, stored as used: the source of a data key for each root topic.
#[derive(Debug)]
pub struct Step {
    index: u64,
    secret: Secret<32>,
}

impl KeyIdForm {
    /// The long form for a node with these signing keys.
    #[must_use]
    pub fn long<'a>(signing_keys: impl IntoIterator<Item = &'a VerifyingKey>) -> Self {
        Self::Long {
            identity: signing_keys
                .into_iter()
                .flat_map(VerifyingKey::to_bytes)
                .collect(),
        }
    }
}

impl Step {
    pub(super) fn new(index: u64, secret: Secret<32>) -> Self {
        Self { index, secret }
    }

    /// The step's index.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The id of this step's keys, the same for every root topic.
    #[must_use]
    pub fn key_id(&self, form: &KeyIdForm) -> KeyId {
        let KeyIdForm::Long { identity } = form else {
            return KeyId::Short(self.index);
        };
        let mut id = [0; 32];
        let hash = Params::new()
            .hash_length(id.len())
            .to_state()
            .update(identity)
            .update(&u128::from(self.index).to_be_bytes())
            .finalize();
        id.copy_from_slice(hash.as_bytes());
        KeyId::Long(id)
    }

    /// The secret of a root topic, which consumers of the topic may have.
    #[must_use]
    pub fn topic_secret(&self, root_topic: &RootTopic) -> TopicSecret {
        let digest = sha256(&[root_topic.as_str().as_bytes()]);
        let (mut salt, mut context) = ([0; 16], [0; 16]);
        for (half, chunk) in [&mut salt, &mut context]
            .into_iter()
            .zip(digest.chunks_exact(16))
        {
            half.copy_from_slice(chunk);
        }
        let secret = Secret::fill_with(|secret| {
            derive(secret, self.secret.expose(), &salt, Context(context), &[]);
        });
        TopicSecret::from(secret)
    }
}
