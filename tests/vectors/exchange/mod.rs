mod actor;
mod normal;

use std::collections::BTreeMap;

use kc_core::kem::{DecapsulationKey, SecretKey};
use kc_core::types::{KeyId, RootTopic, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::actor::Actor;
use crate::draws::{Draw, Draws};
use crate::load::Case;
use crate::nodes::List;
use crate::operation::{Context, Invalid, Outcome, Run, Stop, write};
use crate::values::{Hex, Typed};

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "transcript" => {
            case.run_recorded(Transcript::run, Transcript::normalise, Transcript::recorded)
        }
        op => Err(Invalid::unknown_op(op)),
    }
}

input! {
    struct Transcript { actors: BTreeMap<String, ActorForm>, steps: Vec<Step> }
    struct ActorForm {
        crypto_file: Hex,
        #[serde(default)]
        chains: Vec<Option<Hex>>,
        allowlist: List, denylist: List, maxage: Option<u64>, randombytes: Option<usize>,
    }
}

output! {
    /// A step of a transcript: the action is read, and the recorded result is also written.
    struct Step {
        #[serde(skip_serializing)]
        actor: String,
        #[serde(skip_serializing)]
        call: Call,
        #[serde(skip_serializing)]
        time: Option<f64>,
        #[serde(skip_serializing)]
        args: Args,
        #[serde(skip_serializing)]
        draws: Option<Vec<Draw>>,
        result: Option<Sent>, random0: Option<Hex>, ephemeral_secrets: Option<Vec<Ephemeral>>,
        ephemeral_secrets_after: Option<Vec<Ephemeral>>,
        outstanding_random0_after: Option<Vec<Hex>>,
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    SignedEpks,
    EncryptKeys,
    ReencryptRequest,
    DecryptKeys,
}

input! {
    struct Args {
        topic: String, keys: Option<Vec<(Typed, Hex)>>, msgkey: Option<Hex>, message: Option<Hex>,
    }
}

/// The version and the byte form of a secret key.
type Ephemeral = (u8, Hex);

/// The result of a call.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Sent {
    Requests(Vec<Request>),
    Replies(Vec<Hex>),
    Forwarded(Forwarded),
    Keys(Vec<(Typed, Typed)>),
}

output! {
    #[derive(Clone)]
    struct Request { message: Hex, direct: bool }
    #[derive(Clone)]
    struct Forwarded { msgkey: Hex, message: Hex }
}

impl Sent {
    fn keys(keys: &[(KeyId, Vec<u8>)]) -> Self {
        let keys = keys.iter();
        let keys = keys.map(|(id, secret)| (Typed::from(id), Typed::bytes(secret)));
        Self::Keys(keys.collect())
    }

    fn messages(&self) -> Vec<&Hex> {
        match self {
            Self::Requests(requests) => requests.iter().map(|request| &request.message).collect(),
            Self::Replies(replies) => replies.iter().collect(),
            Self::Forwarded(forwarded) => vec![&forwarded.message],
            Self::Keys(_) => Vec::new(),
        }
    }
}

/// The result of a step; for refusals with the reason.
#[derive(Default, Serialize, Deserialize)]
struct Done {
    result: Option<Sent>,
    random0: Option<Hex>,
    ephemeral_secrets: Option<Vec<Ephemeral>>,
    ephemeral_secrets_after: Option<Vec<Ephemeral>>,
    outstanding_random0_after: Option<Vec<Hex>>,
    #[serde(skip)]
    refusal: Option<String>,
}

impl Done {
    fn new(result: Result<Sent, String>) -> Self {
        let (result, refusal) = match result {
            Ok(sent) => (Some(sent), None),
            Err(why) => (None, Some(why)),
        };
        Self {
            result,
            refusal,
            ..Self::default()
        }
    }
}

output! {
    #[derive(Default)]
    struct Out {
        /// A repetition of the last step's result.
        #[serde(rename = "final")]
        last: Option<Sent>,
        #[serde(skip_deserializing)]
        steps: Vec<Done>,
    }
    #[derive(Default)]
    struct State {
        #[serde(skip_deserializing)]
        steps: Vec<Done>,
    }
}

impl Transcript {
    fn run(&self, case: &Context) -> Outcome<Out, State> {
        let mut actors = self.actors()?;
        let mut own = BTreeMap::new();
        let mut steps = Vec::new();
        for step in &self.steps {
            let actor = actors.get_mut(step.actor.as_str());
            let actor = actor.ok_or_else(|| Invalid::new("a step of an unknown actor"))?;
            steps.push(self.step(case, step, actor, &mut own)?);
        }
        let last = steps.last();
        let last = last.ok_or_else(|| Invalid::new("a transcript without steps"))?;
        match last.refusal.clone() {
            None => Ok(Out {
                last: last.result.clone(),
                steps,
            }),
            Some(why) => Err(Stop::Refused(State { steps }, why)),
        }
    }

    fn recorded(&self) -> Result<Value, Invalid> {
        Ok(serde_json::json!({"steps": write(&self.steps)?}))
    }

    fn normalise(&self, case: &Context, body: &mut Value) -> Result<(), Invalid> {
        normal::without_temporary_root(body);
        normal::without_sntrup761(self, case, body)
    }
}

/// The messages of kc that stand for recorded ones: kc cannot draw the sntrup761 keys of a recorded message, so its own
/// message is answered by its producer and opened by its consumer.
type Own = BTreeMap<Hex, Hex>;

impl Transcript {
    fn actors(&self) -> Result<BTreeMap<&str, Actor>, Invalid> {
        let actors = self.actors.iter();
        actors
            .map(|(name, form)| Ok((name.as_str(), Actor::new(form)?)))
            .collect()
    }

    fn step(
        &self,
        case: &Context,
        step: &Step,
        actor: &mut Actor,
        own: &mut Own,
    ) -> Result<Done, Invalid> {
        if actor.longer_randoms {
            return self.longer(case, step, actor);
        }
        let now = step.now(case)?;
        let root = step.root();
        let draws = || step.draws(case);
        let (done, ours) = match step.call {
            Call::SignedEpks => (actor.request(&root, &self.wanted(step), now, draws()), None),
            Call::EncryptKeys | Call::ReencryptRequest => {
                let message = step.message()?;
                let mut act = |message: &Hex, draws| match step.call {
                    Call::EncryptKeys => step.answer(actor, message, now, draws),
                    _ => step.forward(actor, message, now, draws),
                };
                let ours = own.get(message).map(|own| act(own, draws().or_filler()));
                (Done::new(act(message, draws())), ours)
            }
            Call::DecryptKeys => {
                let message = step.message()?;
                let message = own.get(message).unwrap_or(message);
                (actor.open(&root, message, now), None)
            }
        };
        if let (Some(sent), Some(recorded)) = (&done.result, &step.result)
            && sent
                .messages()
                .iter()
                .any(|sent| normal::rests_on_sntrup761(actor, now, sent))
        {
            let ours = ours.unwrap_or_else(|| Ok(sent.clone()));
            let recorded = recorded.messages().into_iter().cloned();
            let ours = ours.iter().flat_map(Sent::messages).cloned();
            own.extend(recorded.zip(ours));
        }
        Ok(done)
    }

    /// Returns the data keys that a consumer wants when it asks: those in the answer to this request; if there are
    /// none, all data keys of the root topic that are given at any time.
    fn wanted(&self, request: &Step) -> Vec<KeyId> {
        let (mut answered, mut given) = (Vec::new(), Vec::new());
        for step in self
            .steps
            .iter()
            .filter(|step| step.args.topic == request.args.topic)
        {
            let ids = step.args.keys.iter().flatten();
            let ids: Vec<_> = ids.filter_map(|(id, _)| id.key_id()).collect();
            let holds = |message: &Hex, random0: &Hex| {
                let mut windows = message.windows(random0.len().max(1));
                windows.any(|window| *window == **random0)
            };
            if let (Some(message), Some(random0)) = (&step.args.message, &request.random0)
                && holds(message, random0)
            {
                answered.extend_from_slice(&ids);
            }
            given.extend(ids);
        }
        if given.is_empty() {
            // No node answers this request, but a node may still ask.
            given.push(KeyId::Short(0));
        }
        if answered.is_empty() { given } else { answered }
    }

    /// Performs a step of an actor that draws longer random values than kc. The message is taken from the record: a
    /// request if it validates with the recorded draws; a reply if it, and the reply of kc to the same request, open to
    /// the same data keys.
    fn longer(&self, case: &Context, step: &Step, actor: &mut Actor) -> Result<Done, Invalid> {
        let now = step.now(case)?;
        let root = step.root();
        let open = |actor: &Actor, message: &Hex| {
            let ephemerals = |random0: &[u8]| self.ephemerals(random0);
            actor.open_with(&root, message, ephemerals, now)
        };
        let recorded = || {
            step.result
                .clone()
                .ok_or_else(|| "nothing is recorded".to_owned())
        };
        let done = match step.call {
            Call::SignedEpks => {
                let sound = |request: &Hex| actor.is_request(&root, request, step, now);
                let done = Done::new(recorded().and_then(|sent| {
                    match sent.messages().into_iter().all(sound) {
                        true => Ok(sent),
                        false => Err("the request is another".to_owned()),
                    }
                }));
                Done {
                    random0: step.random0.clone(),
                    ephemeral_secrets: step.ephemeral_secrets.clone(),
                    ..done
                }
            }
            Call::EncryptKeys => {
                let draws = step.draws(case).or_filler();
                let ours = step.answer(actor, step.message()?, now, draws);
                Done::new(ours.and_then(|ours| {
                    let opens =
                        |reply: &Hex| open(actor, reply).is_ok_and(|keys| step.gives(&keys));
                    let theirs = recorded()?;
                    let mut replies = ours.messages().into_iter().chain(theirs.messages());
                    match replies.all(opens) {
                        true => Ok(theirs.clone()),
                        false => Err("a reply does not open to the keys".to_owned()),
                    }
                }))
            }
            Call::DecryptKeys => Done {
                ephemeral_secrets_after: step.ephemeral_secrets_after.clone(),
                outstanding_random0_after: step.outstanding_random0_after.clone(),
                ..Done::new(open(actor, step.message()?).map(|keys| Sent::keys(&keys)))
            },
            Call::ReencryptRequest => {
                return Err(Invalid::new("a controller with longer random values"));
            }
        };
        Ok(done)
    }

    /// Returns the ephemeral keys that are recorded for the request with this random value.
    fn ephemerals(&self, random0: &[u8]) -> Vec<DecapsulationKey> {
        let asked = |step: &&Step| step.random0.as_deref() == Some(random0);
        let step = self.steps.iter().find(asked);
        let secrets = step.and_then(|step| step.ephemeral_secrets.as_ref());
        secrets.into_iter().flatten().filter_map(fresh).collect()
    }
}

/// Returns a secret key that has not been used.
fn fresh((_, bytes): &Ephemeral) -> Option<DecapsulationKey> {
    match SecretKey::from_bytes(bytes).ok()? {
        SecretKey::Fresh(key) => Some(key),
        SecretKey::Completed(_) => None,
    }
}

impl Step {
    fn now(&self, case: &Context) -> Result<Timestamp, Invalid> {
        case.now(self.time)
    }

    fn root(&self) -> RootTopic {
        self.args.topic.as_str().into()
    }

    fn draws(&self, case: &Context) -> Draws {
        case.draws_of(self.draws.as_deref().unwrap_or_default())
    }

    fn message(&self) -> Result<&Hex, Invalid> {
        let message = self.args.message.as_ref();
        message.ok_or_else(|| Invalid::new("a step without a message"))
    }

    fn gives(&self, keys: &[(KeyId, Vec<u8>)]) -> bool {
        let given = self.args.keys.iter().flatten();
        let given = given.map(|(id, secret)| Some((id.key_id()?, secret.0.clone())));
        given.eq(keys.iter().cloned().map(Some))
    }

    /// Answers a request with the data keys of the step.
    fn answer(
        &self,
        actor: &mut Actor,
        message: &Hex,
        now: Timestamp,
        draws: Draws,
    ) -> Result<Sent, String> {
        let keys = self.args.keys.iter().flatten();
        let key = |(id, secret): &(Typed, Hex)| {
            let id = id.key_id().ok_or("a key id of another type")?;
            let secret = secret.0.as_slice().try_into();
            Ok((id, secret.map_err(|_| "a key that is not 32 bytes long")?))
        };
        let keys = keys.map(key).collect::<Result<Vec<_>, &str>>()?;
        actor.answer(&self.root(), message, &keys, now, draws)
    }

    /// Vouches for a request.
    fn forward(
        &self,
        actor: &mut Actor,
        message: &Hex,
        now: Timestamp,
        draws: Draws,
    ) -> Result<Sent, String> {
        let msgkey = self.args.msgkey.as_deref().unwrap_or_default();
        actor.forward(&self.root(), msgkey, message, now, draws)
    }
}
