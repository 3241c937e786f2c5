//! Hostile producers, consumers and brokers.

use std::sync::Arc;
use std::time::Duration;

use kc_core::chain::{
    Certificate, Constraints, Demand, Identity, MAX_PATTERNS, MaxAge, TrustStore, UnverifiedChain,
    Usage, encode_certificate, encode_chain,
};
use kc_core::exchange::{KeyRequest, Validity, compose_reply, decode_key_ids, encode_key_ids};
use kc_core::kem::{DecapsulationKey, PublicKey, Suite};
use kc_core::keys::{KeyType, Signer};
use kc_core::provision::self_revocation;
use kc_core::secret::Secret;
use kc_core::types::{KeyId, ManagementTopic, RootTopic, SideTopic};
use kc_core::wire::Writer;
use rand::Rng;

use super::authority::{Certified, generate, names_of};
use super::core::{Core, Dice, Event};
use super::network::{DataRecord, Topic};

/// The number of forged self-revocations before a real one.
const FORGED_REVOCATIONS: usize = 320;
/// The maximum number of such floods.
const MAX_FLOODS: usize = 2;
/// The number of key ids that are invented at once.
const INVENTED_IDS: usize = 120;

/// The maximum number of such inventions.
const MAX_INVENTIONS: usize = 4;

/// The hostile nodes, with their keys.
pub(super) struct Adversary {
    /// Producers that are authorised to give keys.
    pub(super) producers: Vec<Certified>,
    /// A consumer that is authorised to request keys.
    pub(super) consumer: Option<Certified>,
    /// A node that is certified by an untrusted root only.
    stranger: Certified,
    exchange_key: DecapsulationKey,
    /// A valid self-revocation of a key that no node has seen.
    revocation: Vec<u8>,
    trust: TrustStore,
    /// The public keys of honest nodes.
    pub(super) victims: Vec<Vec<u8>>,
    floods: usize,
    inventions: usize,
}

impl Adversary {
    pub(super) fn new(trust: TrustStore, dice: &mut Dice) -> Self {
        let key = generate(KeyType::Ed25519, dice);
        let revocation = self_revocation(&*key, &mut dice.0).unwrap_or_default();
        Self {
            producers: Vec::new(),
            consumer: None,
            stranger: super::authority::root(key),
            exchange_key: DecapsulationKey::generate(Suite::X25519, &mut dice.0),
            revocation,
            trust,
            victims: Vec::new(),
            floods: 0,
            inventions: 0,
        }
    }

    /// Returns a self-revocation that names a key and is not signed by it.
    fn forged_revocation(&self, key: &[u8], number: usize) -> Vec<u8> {
        let own = self.stranger.key.verifying_key().to_bytes();
        let mut forged = self.revocation.clone();
        if key.len() == own.len() {
            replace(&mut forged, &own, key);
        }
        // A different signature each time.
        if let Some(byte) = forged.iter().rposition(|byte| *byte != 0) {
            let patch = number.to_le_bytes();
            let place = byte.saturating_sub(200);
            for (to, from) in forged.iter_mut().skip(place).zip(patch) {
                *to ^= from;
            }
        }
        forged
    }

    /// Returns a request with the random value of another, and an exchange key of its own.
    fn request_like(
        &self,
        root_topic: &RootTopic,
        value: &[u8],
        core: &mut CoreParts<'_>,
    ) -> Option<Vec<u8>> {
        let consumer = self.consumer.as_ref()?;
        let chain = UnverifiedChain::parse(value).ok()?;
        let random0 = Certificate::peek_extra(chain.links().last()?)?;
        let random0 = random0.bytes().ok()?.to_vec();
        let key = PublicKey::from(self.exchange_key.encapsulation_key().clone());
        let certificate = encode_certificate(
            MaxAge::until(core.wall.plus(Duration::from_secs(3600))),
            &asking(root_topic).encode(),
            |writer| {
                writer.array(1);
                key.write_to(writer);
            },
            (1, |writer: &mut Writer| {
                writer.bytes(&random0);
            }),
        );
        Some(consumer.sign(&certificate, core.dice))
    }

    /// Returns replies with wrong secrets.
    fn wrong_replies(
        &self,
        root_topic: &RootTopic,
        (key, value): (&[u8], &[u8]),
        core: &mut CoreParts<'_>,
    ) -> Vec<Vec<u8>> {
        let usage = Usage::EncryptRequest;
        let request = KeyRequest::validate(value, root_topic, usage, &self.trust, core.wall);
        let (Ok(request), Ok(ids)) = (request, decode_key_ids(key)) else {
            return Vec::new();
        };
        let mut replies = Vec::new();
        for producer in &self.producers {
            let keys: Vec<_> = ids
                .iter()
                .map(|id| (*id, Secret::random(&mut core.dice.0).into()))
                .collect();
            let identity = producer.key.verifying_key().clone();
            let identity = Identity::new(identity, Some(producer.chain.clone()));
            let Ok(own) = identity.validated(&self.trust, core.wall) else {
                continue;
            };
            let suites = [Suite::X25519];
            let how = (&suites[..], Validity::default());
            let own = [own];
            let who = (&own[..], core.wall);
            let composed = compose_reply(&request, root_topic, &keys, how, who, &mut core.dice.0);
            for reply in composed.unwrap_or_default() {
                replies.extend(reply.sign(&*producer.key, &mut core.dice.0));
            }
        }
        replies
    }

    /// Returns a chain that no trusted root signed, and that would take long to evaluate.
    fn heavy_chain(&self, random0: &[u8], core: &mut CoreParts<'_>) -> Vec<u8> {
        let patterns = |from: usize| (from..from + MAX_PATTERNS).map(|n| format!("^(a{n}|b)+"));
        let constraints = Constraints {
            topics: Some(patterns(0).collect()),
            usages: Some(patterns(100).collect()),
            path_length: None,
        };
        let key = self.stranger.key.verifying_key();
        let certificate = |extra: Option<&[u8]>| {
            encode_certificate(
                MaxAge::UNLIMITED,
                &constraints.encode(),
                |writer| key.write_to(writer),
                (usize::from(extra.is_some()), |writer: &mut Writer| {
                    if let Some(extra) = extra {
                        writer.array(2).bytes(extra).bytes(extra);
                    }
                }),
            )
        };
        let mut sign = |certificate: &[u8]| {
            let signed = self.stranger.key.sign(certificate, &mut core.dice.0);
            signed.unwrap_or_default()
        };
        let link = sign(&certificate(None));
        let leaf = sign(&certificate(Some(random0)));
        encode_chain(&[&link, &leaf])
    }
}

/// The parts of the world that an adversary uses.
struct CoreParts<'a> {
    dice: &'a mut Dice,
    wall: kc_core::types::Timestamp,
}

impl Core {
    /// Lets a hostile broker act on a record before it is appended to its topic.
    pub(super) fn before_append(&mut self, topic: &Topic, key: &[u8], value: &Arc<[u8]>) {
        let hostile = self.plan.hostile;
        match topic {
            Topic::Side(root_topic, SideTopic::Requests) if hostile.overtakes => {
                if let Some(forged) =
                    self.forge(|adversary, parts| adversary.request_like(root_topic, value, parts))
                {
                    self.append(topic, key, &forged.into());
                }
            }
            Topic::Management(ManagementTopic::Denylist) if hostile.revokes => {
                self.flood_revocations(MAX_FLOODS);
            }
            _ => {}
        }
    }

    /// Lets a hostile producer act on a request before other nodes see it.
    pub(super) fn after_append(&mut self, topic: &Topic, key: &[u8], value: &Arc<[u8]>) {
        let Topic::Side(root_topic, SideTopic::Requests) = topic else {
            return;
        };
        let replies = self.forge(|adversary, parts| {
            if adversary.producers.is_empty() {
                return None;
            }
            Some(adversary.wrong_replies(root_topic, (key, value), parts))
        });
        let topic = Topic::Side(root_topic.clone(), SideTopic::Keys);
        for reply in replies.into_iter().flatten() {
            if self.plan.hostile.rushes {
                self.append(&topic, key, &reply.into());
            } else {
                let delay = self.dice.millis(1, 500);
                self.after(
                    delay,
                    Event::Append(topic.clone(), key.to_vec(), reply.into()),
                );
            }
        }
    }

    /// Lets hostile nodes and brokers act.
    pub(super) fn act(&mut self) {
        let hostile = self.plan.hostile;
        let every = if self.is_healed { 8000 } else { 4000 };
        let delay = self.dice.millis(every / 2, every);
        self.after(delay, Event::Act);
        if hostile.forges {
            match self.dice.below(4) {
                0 => self.replay(),
                1 => self.send_heavy(),
                2 => self.alter(),
                _ => {}
            }
        }
        if hostile.invents && self.dice.chance(0.3) {
            self.invent_ids();
        }
        if hostile.revokes && self.dice.chance(0.1) {
            self.flood_revocations(1);
        }
        if hostile.consumer && self.dice.chance(0.5) {
            self.ask_like_others();
        }
    }

    fn forge<T>(
        &mut self,
        forge: impl FnOnce(&Adversary, &mut CoreParts<'_>) -> Option<T>,
    ) -> Option<T> {
        let wall = self.wall();
        let adversary = self.adversary.take()?;
        let mut parts = CoreParts {
            dice: &mut self.dice,
            wall,
        };
        let forged = forge(&adversary, &mut parts);
        self.adversary = Some(adversary);
        forged
    }

    /// Returns a random record of a topic.
    fn any_record(&mut self, of: impl Fn(&Topic) -> bool) -> Option<(Topic, Vec<u8>, Arc<[u8]>)> {
        let topics: Vec<_> = self.net.topics().into_iter().filter(of).collect();
        let topic = self.dice.pick(&topics)?.clone();
        let offset = self.dice.below(self.net.len(&topic));
        let record = self.net.record(&topic, offset)?.clone();
        Some((topic, record.key, record.value))
    }

    fn replay(&mut self) {
        if let Some((topic, key, value)) = self.any_record(|_| true) {
            self.append(&topic, &key, &value);
        }
    }

    fn ask_like_others(&mut self) {
        let is_request = |topic: &Topic| matches!(topic, Topic::Side(_, SideTopic::Requests));
        if let Some((topic, key, value)) = self.any_record(is_request)
            && let Topic::Side(root_topic, _) = &topic
            && let Some(forged) =
                self.forge(|adversary, parts| adversary.request_like(root_topic, &value, parts))
        {
            self.append(&topic, &key, &forged.into());
        }
    }

    /// Appends a record with a random byte changed.
    fn alter(&mut self) {
        if let Some((topic, key, value)) = self.any_record(|_| true) {
            let mut altered = value.to_vec();
            let place = self.dice.below(altered.len());
            if let Some(byte) = altered.get_mut(place) {
                *byte ^= 1 << self.dice.below(8);
            }
            self.append(&topic, &key, &altered.into());
        }
    }

    /// Sends heavy chains to all topics whose readers may evaluate them.
    fn send_heavy(&mut self) {
        let is_request = |topic: &Topic| matches!(topic, Topic::Side(_, SideTopic::Requests));
        let Some((_, key, value)) = self.any_record(is_request) else {
            return;
        };
        let random0 = UnverifiedChain::parse(&value).ok().and_then(|chain| {
            let extra = Certificate::peek_extra(chain.links().last()?)?;
            extra.bytes().ok().map(<[u8]>::to_vec)
        });
        let random0 = random0.unwrap_or_default();
        let Some(heavy) =
            self.forge(|adversary, parts| Some(adversary.heavy_chain(&random0, parts)))
        else {
            return;
        };
        let heavy: Arc<[u8]> = heavy.into();
        let victims = self.adversary.as_ref().map(|of| of.victims.clone());
        let victim = self.dice.pick(&victims.unwrap_or_default()).cloned();
        for topic in self.net.topics() {
            match &topic {
                Topic::Management(_) => {
                    let victim = victim.clone().unwrap_or_default();
                    self.append(&topic, &victim, &heavy);
                }
                Topic::Side(..) => self.append(&topic, &key, &heavy),
                Topic::Data(_) => {}
            }
        }
    }

    fn invent_ids(&mut self) {
        let Some(adversary) = &mut self.adversary else {
            return;
        };
        adversary.inventions += 1;
        if adversary.inventions > MAX_INVENTIONS {
            return;
        }
        let Some(root_topic) = self.dice.pick(&self.plan.roots.clone()).cloned() else {
            return;
        };
        for _ in 0..INVENTED_IDS {
            let mut id = [0; 32];
            self.dice.0.fill_bytes(&mut id);
            let mut writer = Writer::append_to(vec![1]);
            writer.array(3).bytes(&id).bytes(&[0; 16]).bytes(&[0; 40]);
            let record = DataRecord {
                value: writer.into_vec().into(),
                sealed: None,
            };
            self.net.append_data(&root_topic, record);
        }
        // A request for keys that no node has.
        let ids = [KeyId::Short(u64::MAX)];
        let topic = Topic::Side(root_topic.clone(), SideTopic::Requests);
        self.append(&topic, &encode_key_ids(ids.iter()), &vec![0; 100].into());
        self.after(
            Duration::from_millis(1),
            Event::Appended(Topic::Data(root_topic)),
        );
    }

    /// Floods the denylist with forged self-revocations, unless there were `most` floods before.
    fn flood_revocations(&mut self, most: usize) {
        let Some(adversary) = &mut self.adversary else {
            return;
        };
        if adversary.floods >= most {
            return;
        }
        adversary.floods += 1;
        let victims = adversary.victims.clone();
        let topic = Topic::Management(ManagementTopic::Denylist);
        for number in 0..FORGED_REVOCATIONS {
            let mut key = vec![0; 32];
            self.dice.0.fill_bytes(&mut key);
            if self.dice.chance(0.2)
                && let Some(victim) = self.dice.pick(&victims)
            {
                key.clone_from(victim);
            }
            let forged = self
                .adversary
                .as_ref()
                .map(|of| of.forged_revocation(&key, number));
            self.append(&topic, &key, &forged.unwrap_or_default().into());
        }
    }
}

fn asking(root_topic: &RootTopic) -> Constraints {
    Constraints {
        topics: Some(vec![root_topic.as_str().into()]),
        usages: Some(names_of(&[Usage::EncryptRequest, Usage::EncryptSubscribe])),
        path_length: None,
    }
}

fn replace(bytes: &mut [u8], what: &[u8], with: &[u8]) {
    let mut from = 0;
    while let Some(place) = bytes
        .get(from..)
        .and_then(|rest| rest.windows(what.len()).position(|window| window == what))
    {
        let place = from + place;
        for (to, byte) in bytes.iter_mut().skip(place).zip(with) {
            *to = *byte;
        }
        from = place + what.len();
    }
}

/// Returns what a request demands of the requester's chain.
pub(super) fn demand(
    root_topic: &RootTopic,
    usage: Usage,
    now: kc_core::types::Timestamp,
) -> Demand<'_> {
    Demand::at(now).topic(root_topic.as_str()).usage(usage)
}
