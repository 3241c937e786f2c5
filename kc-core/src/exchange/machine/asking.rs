//! Requests of this node, and why keys are missing.

use std::sync::Arc;
use std::time::Duration;

use super::dispatch::{Dispatch, Purpose};
use super::tasks::{Step, Task};
use super::{Effect, Exchange, MAX_TICKETS};
use crate::chain::{Usage, ValidIdentity};
use crate::exchange::event::ExchangeEvent;
use crate::exchange::jobs::Job;
use crate::exchange::request::{NONCE_LEN, RequestForm, encode_key_ids, request_certificate};
use crate::exchange::wants::Due;
use crate::kem::{DecapsulationKey, PublicKey, Suite};
use crate::types::{Now, SideTopic};

const ASKING: &[Usage] = &[Usage::EncryptRequest, Usage::EncryptSubscribe];

impl Exchange {
    pub(super) fn ask(&mut self, now: Now) -> bool {
        let due = self
            .wants
            .next_due(|root_topic| self.has_ticket(root_topic));
        if due.is_none_or(|(due, _)| due > now.mono) {
            return false;
        }
        let Some(due) = due.map(|(_, root_topic)| root_topic.clone()) else {
            return false;
        };
        let Some(due) = self.wants.leave(&due, now) else {
            return false;
        };
        // The reply must find somebody who reads.
        self.read(due.root_topic.clone(), SideTopic::Keys, now);
        let task = Task::new(&due.root_topic.clone(), None, self.trust, Step::Ask(due));
        self.with_identities(task, now);
        true
    }

    pub(super) fn send_request(
        &mut self,
        mut task: Task,
        due: Due,
        own: &[ValidIdentity],
        ephemerals: Arc<[DecapsulationKey]>,
        random0: [u8; NONCE_LEN],
        now: Now,
    ) {
        let mut messages = Vec::new();
        let validity = self.config.validity;
        for (form, keys) in offers(self.config.legacy, &ephemerals) {
            let certificate =
                request_certificate(&due.root_topic, form, &keys, &random0, validity, now.wall);
            messages.extend(own.iter().map(|identity| {
                let topics = if identity.may_request() {
                    vec![SideTopic::Requests, SideTopic::Subscriptions]
                } else {
                    vec![SideTopic::Subscriptions]
                };
                (identity.certify(&certificate), topics)
            }));
        }
        let direct = own.iter().any(ValidIdentity::may_request);
        let end = validity.end(now.wall);
        self.wants.sending(&due, random0, ephemerals, end, now.mono);
        task.step = Step::Dispatch(Dispatch::new(
            encode_key_ids(due.ids.iter()),
            messages.into_iter(),
            Purpose::Ask {
                due,
                random0,
                direct,
            },
        ));
        self.dispatch(task, now);
    }

    pub(super) fn look_up_grant(&mut self, now: Now) -> bool {
        let looking = |(_, task): &(Duration, Task)| matches!(task.step, Step::LookUpGrant);
        if self.tasks.values().any(looking) || self.running() >= MAX_TICKETS {
            return false;
        }
        let Some(root_topic) = self.wants.ungranted().cloned() else {
            return false;
        };
        let task = Task::new(&root_topic, None, self.trust, Step::LookUpGrant);
        let usages = ASKING;
        self.run(task, Job::Grant { root_topic, usages }, now);
        true
    }

    pub(super) fn tell_missing(&mut self, now: Now) -> bool {
        if self.missing_due.is_none_or(|due| due > now.mono) {
            return false;
        }
        self.missing_due = self.wants.next_unanswered(now.mono);
        for (root_topic, ids) in self.wants.newly_unanswered(now.mono) {
            self.report(ExchangeEvent::Unanswered { root_topic, ids });
        }
        let missing = self.wants.missing(now.mono);
        self.effects.push_back(Effect::Missing(missing));
        true
    }
}

/// The forms in which a request goes out, each with the keys that it lists.
fn offers(legacy: bool, ephemerals: &[DecapsulationKey]) -> Vec<(RequestForm, Vec<PublicKey>)> {
    let public = |key: &DecapsulationKey| PublicKey::from(key.encapsulation_key().clone());
    let mut offers = vec![(RequestForm::List, ephemerals.iter().map(public).collect())];
    if legacy {
        let x25519 = |key: &&DecapsulationKey| key.encapsulation_key().suite() == Suite::X25519;
        let bare = ephemerals.iter().find(x25519).map(public);
        offers.extend(bare.map(|key| (RequestForm::Legacy, vec![key])));
    }
    offers
}
