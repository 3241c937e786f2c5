//! The checks at the end of a world: who must have learnt, read and kept what.

use std::collections::BTreeSet;
use std::time::Duration;

use kc_core::chain::{TrustList, UnverifiedChain, Usage};
use kc_core::exchange::KeyReply;
use kc_core::kem::Suite;
use kc_core::keys::Signer;
use kc_core::types::{KeyId, RootTopic, SideTopic};

use super::{CUSTODY_LIVENESS, World};
use crate::sim::Invariant;
use crate::sim::adversary::demand;
use crate::sim::core::Core;
use crate::sim::network::{Sealed, Topic};
use crate::sim::node::Node;
use crate::sim::oracle::SecretBytes;

/// The time before the end at which the last records are sealed that must be read by then.
const LAST_SEALED: Duration = Duration::from_secs(60);

impl World {
    /// Checks all that must hold at the end.
    pub(super) fn check(&mut self) {
        self.check_denials();
        for reader in 0..self.nodes.len() {
            self.check_reader(reader);
            self.check_custodian(reader);
        }
    }

    fn check_denials(&mut self) {
        for node in &self.nodes {
            let Some(running) = node.running.as_ref().filter(|_| !node.is_deaf) else {
                continue;
            };
            let lists = running.trust.lists();
            let denied = self.updates.iter().filter_map(|update| update.denies);
            let denied = denied.filter_map(|denied| self.nodes.get(denied));
            let denied = denied.map(|denied| denied.own.key.verifying_key().clone());
            let must = denied.chain(running.must_deny.iter().cloned());
            for key in must {
                if !lists.lists(TrustList::Deny, &key) {
                    let index = node.index;
                    self.core.fail(Invariant::DenialsArrive, || {
                        format!(
                            "node {index} does not know that {} is denied",
                            key.fingerprint()
                        )
                    });
                }
            }
        }
    }

    /// Checks that an allowed consumer has read all that it must read.
    fn check_reader(&mut self, reader: usize) {
        let Some(node) = self.nodes.get(reader) else {
            return;
        };
        if node.is_away {
            return;
        }
        let Some(running) = &node.running else {
            return self.core.fail(Invariant::AllowedConsumersRead, || {
                format!("node {reader} does not run")
            });
        };
        let last = self.core.time.saturating_sub(LAST_SEALED);
        for (root_topic, consumer) in &running.consumers {
            let mut givers = None;
            for (offset, record) in self.core.net.data(root_topic).iter().enumerate() {
                let Some(sealed) = record.sealed.filter(|sealed| sealed.at <= last) else {
                    continue;
                };
                if consumer.opened.contains(&offset) || consumer.dropped.contains(&offset) {
                    continue;
                }
                let givers = givers.get_or_insert_with(|| self.givers(node, root_topic));
                let giver = givers.iter().find(|giver| {
                    let of = self.nodes.get(**giver);
                    of.is_some_and(|giver| {
                        giver.identity == sealed.owner && giver.keeps(root_topic, &sealed)
                            || giver.has_in_custody(root_topic, &sealed, &self.core)
                    })
                });
                if let Some(giver) = giver {
                    let why = running
                        .exchange
                        .why(root_topic, &sealed.id, node.now(&self.core));
                    let known = running.ring.known(root_topic.as_str(), &sealed.id);
                    let known = known.map_or(0, |known| known.len());
                    let what = format!(
                        "node {reader} has not opened record {offset} of {root_topic}, sealed after {:?} under {} of node {giver}: {why:?}, {known} keys with this id",
                        sealed.at, sealed.id,
                    );
                    return self.core.fail(Invariant::AllowedConsumersRead, || what);
                }
            }
        }
    }

    /// Returns the nodes that must give keys of a root topic to a reader.
    fn givers(&self, reader: &Node, root_topic: &RootTopic) -> Vec<usize> {
        let is_giver = |giver: &&Node| {
            (giver.roles.produces.contains(root_topic) || giver.roles.keeps.contains(root_topic))
                && giver.index != reader.index
                && reader.trusts(giver, root_topic, Usage::Encrypt, &self.core)
                && (giver.trusts(reader, root_topic, Usage::EncryptRequest, &self.core)
                    || self.is_vouched_for(reader, giver, root_topic))
        };
        let givers = self.nodes.iter().filter(is_giver);
        givers.map(|giver| giver.index).collect()
    }

    /// Checks that a custodian has kept all that it must keep.
    fn check_custodian(&mut self, index: usize) {
        let custodian = self.nodes.get(index).filter(|node| node.is_custodian());
        let Some(node) = custodian else {
            return;
        };
        let lost = node.roles.keeps.iter().find_map(|root_topic| {
            let lost = self.find_lost(node, root_topic)?;
            Some(format!("custodian {index} {lost} of {root_topic}"))
        });
        if let Some(lost) = lost {
            self.core.fail(Invariant::CustodiansKeep, || lost);
        }
    }

    /// Returns a description of a key that a custodian lacks.
    fn find_lost(&self, node: &Node, root_topic: &RootTopic) -> Option<String> {
        let custody = &node.disk.custody;
        // A custodian keeps one key for each id.
        let lacks = |sealed: &Sealed| match custody.kept(root_topic, sealed) {
            Some(_) => false,
            None => !self.core.plan.has_short_ids || !custody.has_kept(root_topic, &sealed.id),
        };
        let data = self.core.net.data(root_topic).iter();
        let sealed = data.filter_map(|record| record.sealed);
        let lacking: Vec<_> = sealed.filter(lacks).collect();
        let mut keys = BTreeSet::new();
        keys.extend(lacking.iter().map(|sealed| (sealed.id, sealed.secret)));
        if keys.is_empty() {
            return None;
        }
        if let Some((offset, id)) = self.find_lost_reply(node, root_topic, &keys) {
            return Some(format!("has lost {id}, which reply {offset} brought,"));
        }
        let first = self.core.time.saturating_sub(CUSTODY_LIVENESS);
        let mut old = lacking.iter().filter(|sealed| sealed.at <= first);
        let givers = self.givers(node, root_topic);
        old.find_map(|sealed| {
            let mut givers = givers.iter().filter_map(|giver| self.nodes.get(*giver));
            let giver = givers.find(|giver| {
                giver.identity == sealed.owner && giver.keeps(root_topic, sealed)
                    || giver.has_in_custody(root_topic, sealed, &self.core)
            })?;
            let (id, giver, at) = (sealed.id, giver.index, sealed.at);
            let running = node.running.as_ref()?;
            let why = (running.exchange).why(root_topic, &id, node.now(&self.core));
            let state = custody.describe(root_topic, &id);
            Some(format!(
                "lacks {id} of node {giver}, used after {at:?} ({state}, {why:?}),"
            ))
        })
    }

    /// Returns the offset of a reply that a custodian has committed, and the id of one of `keys` in it: the custodian
    /// can still open the reply. Replies from before the network healed count as committed.
    fn find_lost_reply(
        &self,
        node: &Node,
        root_topic: &RootTopic,
        keys: &BTreeSet<(KeyId, SecretBytes)>,
    ) -> Option<(usize, KeyId)> {
        let topic = Topic::Side(root_topic.clone(), SideTopic::Keys);
        let committed = self.core.net.committed(node.identity, &topic);
        let until_heal = self.replies.get(root_topic).copied().unwrap_or_default();
        let lists = node.running.as_ref()?.trust.lists();
        let demand = demand(root_topic, Usage::Encrypt, self.core.wall());
        let seeds = node.disk.custody.seeds();
        (0..committed.max(until_heal)).find_map(|offset| {
            let value = &self.core.net.record(&topic, offset)?.value;
            let random0: [u8; 32] = KeyReply::peek_random0(value)?.try_into().ok()?;
            let seed = seeds.iter().find(|seed| seed.made(root_topic, &random0))?;
            let validate = |lists| UnverifiedChain::parse(value)?.validate(lists, &demand);
            // The custodian may have refused a reply under a root of trust that was listed later.
            validate(&self.trust).ok()?;
            let reply = KeyReply::from_chain(validate(lists).ok()?).ok()?;
            let suites = [Suite::MlKem1024, Suite::X25519];
            let ephemerals = seed.ephemerals(root_topic, &random0, &suites);
            let opened = reply.open(root_topic, &ephemerals).ok()?;
            let mut opened = opened.iter();
            let (id, _) = opened.find(|(id, secret)| keys.contains(&(*id, *secret.expose())))?;
            Some((offset, *id))
        })
    }

    /// Returns whether a controller vouches for a reader to a giver.
    fn is_vouched_for(&self, reader: &Node, giver: &Node, root_topic: &RootTopic) -> bool {
        let mut controllers = self.nodes.iter();
        controllers.any(|controller| {
            controller.roles.controls.contains(root_topic)
                && controller.trusts(reader, root_topic, Usage::EncryptSubscribe, &self.core)
                && giver.trusts(controller, root_topic, Usage::EncryptRequest, &self.core)
                && controller.trusts(controller, root_topic, Usage::EncryptRequest, &self.core)
        })
    }
}

impl Node {
    /// Returns whether the node runs, has a valid chain, and trusts another node for this usage.
    fn trusts(&self, other: &Self, root_topic: &RootTopic, usage: Usage, core: &Core) -> bool {
        let (Some(running), Some(of_other)) = (&self.running, &other.running) else {
            return false;
        };
        let now = core.wall();
        let demand = demand(root_topic, usage, now);
        let own = of_other.trust.identities().first();
        let Some(own) = own else {
            return false;
        };
        let knows_itself = own.validated(of_other.trust.lists(), now).is_ok();
        let chain = own.chain().unwrap_or_default();
        let chain = UnverifiedChain::parse(chain);
        let validated = chain.and_then(|chain| chain.validate(running.trust.lists(), &demand));
        knows_itself && validated.is_ok()
    }

    /// Returns whether a custodian has kept a key for so long that all must have got it, and still gives it.
    fn has_in_custody(&self, root_topic: &RootTopic, sealed: &Sealed, core: &Core) -> bool {
        let Some((running, kept)) =
            (self.running.as_ref()).zip(self.disk.custody.kept(root_topic, sealed))
        else {
            return false;
        };
        let until = core.time.saturating_sub(CUSTODY_LIVENESS);
        kept.at <= until && !running.trust.denies(&kept.giver)
    }

    fn keeps(&self, root_topic: &RootTopic, sealed: &Sealed) -> bool {
        let running = self.running.as_ref();
        let ratchet = running.and_then(|running| running.ratchet.as_ref());
        let key = ratchet.and_then(|ratchet| ratchet.retained().get(root_topic, &sealed.id));
        key.is_some_and(|key| *key.secret.expose() == sealed.secret)
    }
}
