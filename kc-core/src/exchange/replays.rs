use std::collections::{HashMap, VecDeque};

use super::request::RequestForm;
use crate::chain::{Certificate, UnverifiedChain};
use crate::keys::VerifyingKey;
use crate::sabotage::{Rule, broken};
use crate::symmetric::sha256;
use crate::types::{RootTopic, Timestamp};
use crate::wire::{Reader, Value};

/// The maximum number of answered requests that are remembered until they expire. At this number, the oldest request
/// is forgotten for each new one. The same maximum applies to forwarded requests. Test:
/// `answered_requests_are_bounded_and_forgotten_when_they_end`.
pub const MAX_ANSWERED: usize = 65_536;

/// The id of a request, known before anything in the request is verified. It is made from the root topic, the random
/// value, and the exact list of key-exchange keys.
///
/// Copies of a request with other signers, which controllers make, have the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId {
    form: RequestForm,
    /// A hash of the root topic, the random value and the key-exchange keys.
    id: [u8; 32],
    /// A hash for each X25519 key of the request, made from the root topic, the random value, the key and the request's
    /// signer. A request in legacy form with the same parts has the same hash.
    bare: Vec<[u8; 32]>,
}

impl RequestId {
    /// Reads the id of a request. Returns `None` if the record is malformed or has no random value.
    pub(super) fn peek(root_topic: &RootTopic, chain: &[u8]) -> Option<Self> {
        let chain = UnverifiedChain::parse(chain).ok()?;
        let leaf = chain.links().last()?;
        let signer = chain.peek_signer();
        let (keys, random0) = Certificate::peek_keys_and_extra(leaf)?;
        let random0 = random0.bytes().ok()?;
        let part = |part: &[u8]| sha256(&[root_topic.as_str().as_bytes(), &[0], random0, part]);
        let mut elements = Reader::new(keys);
        let (form, bare) = match elements.value().ok()? {
            Value::Array(listed) if !matches!(listed.first(), Some(Value::Int(_))) => {
                let bare = listed.iter().filter_map(|key| key.bytes().ok());
                (RequestForm::List, bare.map(<[u8]>::to_vec).collect())
            }
            Value::Bytes(key) | Value::Raw(key) => (RequestForm::Legacy, vec![key.to_vec()]),
            _ => (RequestForm::Legacy, Vec::new()),
        };
        let by_signer = |key: Vec<u8>| {
            let signer = signer
                .as_ref()
                .map(VerifyingKey::to_bytes)
                .unwrap_or_default();
            sha256(&[&part(&key), &signer])
        };
        Some(Self {
            form,
            id: if broken(Rule::RequestsAreByExchangeKeys) {
                part(&[])
            } else {
                part(keys)
            },
            bare: bare.into_iter().map(by_signer).collect(),
        })
    }

    pub(super) fn form(&self) -> RequestForm {
        self.form
    }
}

/// Requests that this node has answered or forwarded.
#[derive(Debug, Default)]
pub(super) struct Replays {
    answered: HashMap<[u8; 32], usize>,
    order: VecDeque<(Option<Timestamp>, RequestId)>,
}

impl Replays {
    /// Returns whether a request is remembered. A request in legacy form also counts as remembered if its key was in
    /// the list of a remembered request with the same signer and random value.
    pub(super) fn contain(&self, request: &RequestId) -> bool {
        let answered = |id| self.answered.contains_key(id);
        let as_bare = request.form == RequestForm::Legacy && request.bare.iter().any(answered);
        answered(&request.id) || as_bare
    }

    /// Remembers a request until `end`. If `end` is `None`, the request does not expire.
    pub(super) fn remember(&mut self, request: RequestId, end: Option<Timestamp>) {
        if self.order.len() >= MAX_ANSWERED
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.forget_ids(&oldest);
        }
        for id in std::iter::once(&request.id).chain(&request.bare) {
            *self.answered.entry(*id).or_default() += 1;
        }
        self.order.push_back((end, request));
    }

    /// Forgets a request whose answer could not be sent, so that a later copy of it is not a replay.
    pub(super) fn forget(&mut self, request: &RequestId) {
        if let Some(place) = self.order.iter().rposition(|(_, known)| known == request) {
            self.order.remove(place);
            self.forget_ids(request);
        }
    }

    pub(super) fn forget_expired(&mut self, now: Timestamp) {
        // Only the oldest requests are checked, since requests expire in about the order in which they are
        // remembered.
        while let Some((Some(end), _)) = self.order.front()
            && *end < now
            && let Some((_, expired)) = self.order.pop_front()
        {
            self.forget_ids(&expired);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn forget_ids(&mut self, request: &RequestId) {
        for id in std::iter::once(&request.id).chain(&request.bare) {
            if let Some(times) = self.answered.get_mut(id) {
                *times -= 1;
                if *times == 0 {
                    self.answered.remove(id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u64) -> RequestId {
        RequestId {
            form: RequestForm::List,
            id: sha256(&[&number.to_be_bytes()]),
            bare: vec![sha256(&[b"bare", &number.to_be_bytes()])],
        }
    }

    #[test]
    fn answered_requests_are_bounded_and_forgotten_when_they_end() {
        let at = |secs| Timestamp::from_secs(secs);
        let mut replays = Replays::default();
        for number in 0..MAX_ANSWERED as u64 + 10 {
            replays.remember(request(number), at(100.0));
        }
        assert_eq!(replays.len(), MAX_ANSWERED);
        assert_eq!(replays.answered.len(), MAX_ANSWERED * 2);
        assert!(!replays.contain(&request(0)));
        assert!(replays.contain(&request(100)));
        replays.forget(&request(100));
        assert!(!replays.contain(&request(100)));
        replays.forget_expired(at(101.0).unwrap());
        assert_eq!((replays.len(), replays.answered.len()), (0, 0));
    }
}
