mod actor;
mod not_comparable;

use std::collections::BTreeMap;

use actor::Actor;
use kc_core::types::{KeyId, RootTopic, Timestamp};
use serde_json::{Map, Value, json};

use super::convert::{time, typed_key_id};
use crate::vectors::{CaseInput, Draws, Family, Fields, InputError, Op, Outcome, Typed};

use not_comparable::recorded_ephemerals;
pub(in crate::vectors) use not_comparable::{normalise_sntrup761, normalise_temporary_root};

pub(super) const FAMILY: Family = Family {
    name: "exchange",
    ops: &[Op::new(
        "transcript",
        &[
            "actors.*.crypto_file",
            "actors.*.chains",
            "actors.*.allowlist",
            "actors.*.denylist",
            "actors.*.maxage",
            "actors.*.randombytes",
            "steps[].actor",
            "steps[].call",
            "steps[].time",
            "steps[].args.topic",
            "steps[].args.keys any",
            "steps[].args.msgkey",
            "steps[].args.message",
            "steps[].draws any",
            "steps[].result any",
            "steps[].ephemeral_secrets",
            "steps[].random0",
            "steps[].ephemeral_secrets_after",
            "steps[].outstanding_random0_after",
        ],
        transcript,
    )
    .with_recorded(recorded)],
};

/// What a step of the input holds besides what it recorded.
const GIVEN: [&str; 5] = ["actor", "call", "time", "args", "draws"];

/// The result of each step, and the state after it.
fn recorded(case: &CaseInput<'_>) -> Result<Map<String, Value>, InputError> {
    let steps = case.fields.objects("steps")?;
    let steps = steps.iter().map(|step| {
        let fields = step.entries();
        let recorded = fields.filter(|(name, _)| !GIVEN.contains(name));
        recorded
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect()
    });
    let steps = steps.map(Value::Object).collect();
    Ok(Map::from_iter([("steps".to_owned(), steps)]))
}

fn transcript(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let steps = case.fields.objects("steps")?;
    let mut transcript = Transcript {
        actors: actors(case)?,
        steps: &steps,
        own: BTreeMap::new(),
    };
    let mut done = Vec::new();
    let mut last = Step::refused("no step");
    for step in &steps {
        last = transcript.step(case, step)?;
        let mut fields = last.state.clone();
        fields.insert("result".to_owned(), last.result.clone());
        done.push(Value::Object(fields));
    }
    Ok(match last.refusal {
        None => Outcome::Ok(json!({"final": last.result, "steps": done})),
        Some(why) => Outcome::reject_with(json!({"steps": done}), why),
    })
}

fn actors<'a>(case: &CaseInput<'a>) -> Result<BTreeMap<&'a str, Actor>, InputError> {
    let actors = case.fields.object("actors")?;
    let actor = |(name, _)| Ok((name, Actor::new(&actors.object(name)?)?));
    actors.entries().map(actor).collect()
}

/// What a consumer wants when it asks: the keys that are given in answer to this request; if none are, all keys that are
/// given of the root topic.
fn wanted(
    steps: &[Fields<'_>],
    request: &Fields<'_>,
    of: &RootTopic,
) -> Result<Vec<KeyId>, InputError> {
    let random0 = request.opt_text("random0")?;
    let (mut answered, mut given) = (Vec::new(), Vec::new());
    for step in steps {
        let args = step.object("args")?;
        if root(&args)? == *of && args.has("keys") {
            let ids: Vec<_> = keys(&args)?.into_iter().map(|(id, _)| id).collect();
            let message = args.text("message")?;
            if random0.is_some_and(|random0| message.contains(random0)) {
                answered.extend_from_slice(&ids);
            }
            given.extend(ids);
        }
    }
    if given.is_empty() {
        // Nobody answers for this one; somebody may still ask.
        given.push(KeyId::Short(0));
    }
    Ok(if answered.is_empty() { given } else { answered })
}

struct Transcript<'a> {
    actors: BTreeMap<&'a str, Actor>,
    steps: &'a [Fields<'a>],
    /// For a recorded message that rests on a sntrup761 key, which we cannot draw: ours in its place, to be
    /// answered by our producer and opened by our consumer.
    own: BTreeMap<String, String>,
}

/// What a step came to.
struct Step {
    result: Value,
    state: Map<String, Value>,
    refusal: Option<String>,
}

impl Step {
    fn accepted(result: Value) -> Self {
        Self {
            result,
            state: Map::new(),
            refusal: None,
        }
    }

    fn refused(why: impl ToString) -> Self {
        Self {
            result: Value::Null,
            state: Map::new(),
            refusal: Some(why.to_string()),
        }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.state.insert(name.to_owned(), value);
        self
    }

    fn new<T>(result: Result<T, impl ToString>, describe: impl FnOnce(T) -> Value) -> Self {
        match result {
            Ok(accepted) => Self::accepted(describe(accepted)),
            Err(why) => Self::refused(why),
        }
    }
}

impl Transcript<'_> {
    fn step(&mut self, case: &CaseInput<'_>, fields: &Fields<'_>) -> Result<Step, InputError> {
        let now = time(fields)?;
        let args = fields.object("args")?;
        let call = Call {
            root: root(&args)?,
            now,
            args,
        };
        let name = fields.text("actor")?;
        let actor = self.actors.get_mut(name);
        let actor = actor.ok_or_else(|| fields.error("actor", "is not in the transcript"))?;
        let draws = || case.draws_of(fields);
        if actor.longer_randoms {
            return longer(case, actor, &call, fields);
        }

        let (step, own) = match fields.text("call")? {
            "signed_epks" => {
                let ids = wanted(self.steps, fields, &call.root)?;
                (request(actor, &call, &ids, draws()?), None)
            }
            "encrypt_keys" => {
                let message = call.args.text("message")?;
                let step = answer(actor, &call, message, draws()?)?;
                let own = self.own.get(message);
                let own = own.map(|own| answer(actor, &call, own, draws()?.or_filler()));
                (step, own.transpose()?)
            }
            "reencrypt_request" => {
                let message = call.args.text("message")?;
                let step = forward(actor, &call, message, draws()?)?;
                let own = self.own.get(message);
                let own = own.map(|own| forward(actor, &call, own, draws()?.or_filler()));
                (step, own.transpose()?)
            }
            "decrypt_keys" => {
                let message = call.args.text("message")?;
                let message = self.own.get(message).map_or(message, String::as_str);
                (open(actor, &call, message)?, None)
            }
            _ => return Err(fields.error("call", "is no call known")),
        };
        if not_comparable::rests_on_sntrup761(actor, now, &step.result) {
            let ours = &own.as_ref().unwrap_or(&step).result;
            self.own.extend(pairs(fields.raw("result")?, ours));
        }
        Ok(step)
    }
}

/// A step of an actor that draws longer random values than we do: what they are drawn for is taken from the record, a
/// reply once ours, to the same request, opens to the same keys.
fn longer(
    case: &CaseInput<'_>,
    actor: &Actor,
    call: &Call<'_>,
    fields: &Fields<'_>,
) -> Result<Step, InputError> {
    let open = |message: &str| -> Result<_, InputError> {
        let message = bytes(message)?;
        let ephemerals = |random0: &[u8]| recorded_ephemerals(case, random0).unwrap_or_default();
        Ok(actor.open_with(&call.root, &message, ephemerals, call.now))
    };
    let (step, state): (_, &[_]) = match fields.text("call")? {
        "signed_epks" => {
            let request = Step::accepted(fields.raw("result")?.clone());
            (request, &["random0", "ephemeral_secrets"])
        }
        "encrypt_keys" => {
            let draws = case.draws_of(fields)?.or_filler();
            let mut step = answer(actor, call, call.args.text("message")?, draws)?;
            for ours in not_comparable::messages(&step.result) {
                if !open(ours)?
                    .is_ok_and(|opened| keys(&call.args).is_ok_and(|keys| keys == opened))
                {
                    return Ok(Step::refused("our reply does not open to the keys"));
                }
            }
            if step.refusal.is_none() {
                step.result = fields.raw("result")?.clone();
            }
            (step, &[])
        }
        "decrypt_keys" => (
            Step::new(open(call.args.text("message")?)?, typed_keys),
            &["ephemeral_secrets_after", "outstanding_random0_after"],
        ),
        _ => return Err(fields.error("call", "is no call known of longer random values")),
    };
    state.iter().try_fold(step, |step, name| {
        Ok(step.with(name, fields.raw(name)?.clone()))
    })
}

fn typed_keys(keys: Vec<(KeyId, Vec<u8>)>) -> Value {
    let keys = keys.into_iter();
    keys.map(|(id, secret)| json!([typed_key_id(&id), Typed::Bytes(secret).to_value()]))
        .collect()
}

/// The messages of a recorded result, each with ours.
fn pairs(recorded: &Value, ours: &Value) -> Vec<(String, String)> {
    let messages = |result: &Value| {
        let messages = not_comparable::messages(result).into_iter();
        messages.map(str::to_owned).collect::<Vec<_>>()
    };
    messages(recorded).into_iter().zip(messages(ours)).collect()
}

/// The arguments of a step.
struct Call<'a> {
    root: RootTopic,
    now: Timestamp,
    args: Fields<'a>,
}

fn request(actor: &mut Actor, call: &Call<'_>, ids: &[KeyId], draws: Draws) -> Step {
    let sent = actor.request(&call.root, ids, call.now, draws);
    let was_sent = sent.is_ok();
    let step = Step::new(sent, |messages| {
        let messages = messages.into_iter();
        let messages = messages
            .map(|(message, direct)| json!({"message": hex::encode(message), "direct": direct}));
        messages.collect()
    });
    let latest = actor.outstanding(&call.root).pop().filter(|_| was_sent);
    let (random0, ephemerals) = latest.unzip();
    step.with("random0", json!(random0))
        .with("ephemeral_secrets", json!(ephemerals))
}

fn answer(actor: &Actor, call: &Call<'_>, message: &str, draws: Draws) -> Result<Step, InputError> {
    let mut keys_of_32_bytes = Vec::new();
    for (id, secret) in keys(&call.args)? {
        match secret.try_into() {
            Ok(secret) => keys_of_32_bytes.push((id, secret)),
            Err(_) => return Ok(Step::refused("a key that is not 32 bytes long")),
        }
    }
    let message = bytes(message)?;
    let replies = actor.answer(&call.root, &message, &keys_of_32_bytes, call.now, draws);
    Ok(Step::new(replies, |replies| {
        replies.iter().map(hex::encode).collect()
    }))
}

fn forward(
    actor: &Actor,
    call: &Call<'_>,
    message: &str,
    draws: Draws,
) -> Result<Step, InputError> {
    let (kafka_key, message) = (call.args.bytes("msgkey")?, bytes(message)?);
    let forwarded = actor.forward(&call.root, &kafka_key, &message, call.now, draws);
    match forwarded.as_deref() {
        Ok([record]) => Ok(Step::accepted(json!({
            "msgkey": hex::encode(&record.kafka_key),
            "message": hex::encode(&record.value),
        }))),
        Ok(_) => Err(call.args.error("message", "is forwarded more than once")),
        Err(why) => Ok(Step::refused(why)),
    }
}

fn open(actor: &mut Actor, call: &Call<'_>, message: &str) -> Result<Step, InputError> {
    let message = bytes(message)?;
    let step = Step::new(actor.open(&call.root, &message, call.now), typed_keys);
    let outstanding = actor.outstanding(&call.root);
    let (random0, mut ephemerals): (Vec<_>, Vec<_>) = outstanding.into_iter().unzip();
    Ok(step
        .with("outstanding_random0_after", json!(random0))
        .with("ephemeral_secrets_after", json!(ephemerals.pop())))
}

fn root(args: &Fields<'_>) -> Result<RootTopic, InputError> {
    args.text("topic").map(RootTopic::from)
}

/// Key ids with secrets of whatever length.
fn keys(args: &Fields<'_>) -> Result<Vec<(KeyId, Vec<u8>)>, InputError> {
    let key = |pair: &Value| {
        let [id, secret] = pair.as_array()?.as_slice() else {
            return None;
        };
        let id = match Typed::from_value(id)? {
            Typed::Int(index) => KeyId::Short(index.try_into().ok()?),
            Typed::Bytes(bytes) => KeyId::Long(bytes.try_into().ok()?),
            _ => return None,
        };
        Some((id, hex::decode(secret.as_str()?).ok()?))
    };
    let pairs = args.raw("keys")?.as_array();
    let keys = pairs.and_then(|pairs| pairs.iter().map(key).collect());
    keys.ok_or_else(|| args.error("keys", "is no list of key ids with secrets"))
}

fn bytes(message: &str) -> Result<Vec<u8>, InputError> {
    hex::decode(message).map_err(|error| InputError::new("message", error.to_string()))
}
