use std::sync::Arc;

use super::{OpeningKey, TopicSecret};

/// The keys of a root topic that have one id. Ids are chosen by producers, so there may be several, and
/// one producer's key never displaces another's. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Candidates(Arc<Vec<Arc<OpeningKey>>>);

impl Candidates {
    /// The keys, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = &OpeningKey> {
        self.0.iter().map(|key| &**key)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this secret is among them.
    #[must_use]
    pub fn hold(&self, secret: &TopicSecret) -> bool {
        self.iter().any(|key| key.topic_secret() == secret)
    }

    /// Adds a key.
    pub fn push(&mut self, key: OpeningKey) {
        Arc::make_mut(&mut self.0).push(Arc::new(key));
    }
}

impl FromIterator<TopicSecret> for Candidates {
    fn from_iter<I: IntoIterator<Item = TopicSecret>>(secrets: I) -> Self {
        let keys = secrets.into_iter().map(OpeningKey::new);
        Self(Arc::new(keys.map(Arc::new).collect()))
    }
}
