use std::collections::{HashSet, VecDeque};

use rand_core::CryptoRng;

use super::Refusal;
use super::reply::compose_reply;
use super::request::{KeyRequest, encode_key_ids};
use super::validity::Validity;
use crate::chain::MaxAge;
use crate::chain::{ToBeSigned, ValidIdentity};
use crate::kem::Suite;
use crate::keys::KeyType;
use crate::ratchet::TopicSecret;
use crate::types::{KeyId, RootTopic, Timestamp};

/// How many answered requests are remembered, until they expire; beyond, the oldest are forgotten.
pub const MAX_ANSWERED: usize = 65_536;

/// The producer's part of the exchange: answers each valid request once.
#[derive(Debug)]
pub struct Replier {
    suites: Vec<Suite>,
    validity: Validity,
    answered: HashSet<Answered>,
    order: VecDeque<(Option<Timestamp>, Answered)>,
}

/// What one answer is good for.
type Answered = (RootTopic, Vec<u8>, Option<KeyType>);

/// A request to answer, with the keys that it asks for as far as they are here.
#[derive(Debug)]
pub struct IncomingRequest {
    /// Whose topic of requests it came from.
    pub root: RootTopic,
    /// The request, validated for [`EncryptRequest`](crate::chain::Usage::EncryptRequest).
    pub request: KeyRequest,
    /// The keys to answer with; at least one.
    pub keys: Vec<(KeyId, TopicSecret)>,
}

/// An answer, to be signed and sent to the root's topic of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The root topic.
    pub root: RootTopic,
    /// The Kafka key: the ids of the keys inside.
    pub kafka_key: Vec<u8>,
    /// The reply, for each identity that answers.
    pub drafts: Vec<ToBeSigned>,
    /// What it answers.
    request: Answered,
}

impl Replier {
    /// A producer that supports these suites.
    #[must_use]
    pub fn new(suites: Vec<Suite>, validity: Validity) -> Self {
        Self {
            suites,
            validity,
            answered: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Handles one poll's requests and gives a result for each, in order. Where a requester sent the
    /// list form and the legacy form of one request, the list form is answered.
    pub fn handle(
        &mut self,
        requests: &[IncomingRequest],
        own: &[ValidIdentity],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Vec<Result<Answer, Refusal>> {
        self.forget_expired(now);
        let mut list_forms_first: Vec<_> = requests.iter().enumerate().collect();
        list_forms_first.sort_by_key(|(_, incoming)| incoming.request.form());
        let mut results: Vec<_> = list_forms_first
            .into_iter()
            .map(|(index, incoming)| (index, self.answer(incoming, own, now, rng)))
            .collect();
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Takes back an answer that could not be sent: a later copy of its request is no replay.
    pub fn unsent(&mut self, answer: &Answer) {
        if self.answered.remove(&answer.request) {
            self.order.retain(|(_, request)| *request != answer.request);
        }
    }

    /// How many answered requests are remembered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.order.len()
    }

    fn answer(
        &mut self,
        IncomingRequest {
            root,
            request,
            keys,
        }: &IncomingRequest,
        own: &[ValidIdentity],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Answer, Refusal> {
        let random0 = request.random0().to_vec();
        let answered = (root.clone(), random0, request.root_type());
        if self.answered.contains(&answered) {
            return Err(Refusal::Replay);
        }
        let policy = (self.suites.as_slice(), self.validity);
        let drafts = compose_reply(request, root, keys, policy, (own, now), rng)?;
        self.remember(answered.clone(), request.chain().max_age());
        Ok(Answer {
            root: root.clone(),
            kafka_key: encode_key_ids(keys.iter().map(|(id, _)| id)),
            drafts,
            request: answered,
        })
    }

    fn remember(&mut self, answered: Answered, max_age: MaxAge) {
        if self.order.len() >= MAX_ANSWERED
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.answered.remove(&oldest);
        }
        self.answered.insert(answered.clone());
        self.order.push_back((max_age.timestamp(), answered));
    }

    fn forget_expired(&mut self, now: Timestamp) {
        let answered = &mut self.answered;
        self.order.retain(|(end, request)| {
            let expired = end.is_some_and(|end| end < now);
            if expired {
                answered.remove(request);
            }
            !expired
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::RootTopic;

    #[test]
    fn answered_requests_are_bounded() {
        let mut replier = Replier::new(vec![], Validity::default());
        for number in 0..MAX_ANSWERED + 10 {
            let answered = (RootTopic::from("t"), number.to_be_bytes().to_vec(), None);
            replier.remember(answered, MaxAge::UNLIMITED);
        }
        assert_eq!(replier.answered(), MAX_ANSWERED);
        assert_eq!(replier.answered.len(), MAX_ANSWERED);
    }
}
