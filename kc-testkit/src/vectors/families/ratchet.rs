use kc_core::ratchet::{Component, KeyIdForm, Seed, SeedError, StepKeys};
use kc_core::types::RootTopic;
use serde_json::{Value, json};

use super::convert::{message_key, typed_key_id};
use crate::vectors::{CaseInput, Draws, Family, Fields, InputError, Op, Outcome, Zeros};

pub(super) const FAMILY: Family = Family {
    name: "ratchet",
    ops: &[Op::new(
        "scenario",
        &[
            "file",
            "steps[].do",
            "steps[].topic",
            "steps[].topic_hex",
            "steps[].node",
        ],
        scenario,
    )],
};

/// A seed file in memory, and what it held before the step in use was taken from it.
struct File {
    content: Option<Vec<u8>>,
    in_use: Option<Vec<u8>>,
}

fn scenario(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let mut file = File {
        content: case.fields.opt_bytes("file")?,
        in_use: None,
    };
    let mut rng = case.draws();
    let mut done = Vec::new();
    for (index, step) in case.fields.objects("steps")?.iter().enumerate() {
        let result = match step.text("do")? {
            "open" | "increment" => file.take_step(&mut rng),
            "close" => {
                file.in_use = None;
                Ok(json!({"file_after": file.hex()}))
            }
            "generators" => file.generators(step)?,
            _ => return Err(step.error("do", "is no step known")),
        };
        match result {
            Ok(result) => done.push(result),
            Err(error) => {
                let state = json!({"step": index, "file_after": file.hex(), "steps_done": done});
                return Ok(Outcome::reject_with(state, error));
            }
        }
    }
    Ok(Outcome::Ok(json!({"steps": done})))
}

impl File {
    fn take_step(&mut self, rng: &mut Draws) -> Result<Value, SeedError> {
        let stored = match &self.content {
            Some(content) => content.clone(),
            None => Seed::generate(rng).encode().expose().to_vec(),
        };
        let pending = Seed::decode(&stored)?.advance()?;
        self.content = Some(pending.next().encode().expose().to_vec());
        self.in_use = Some(stored);
        Ok(json!({"file_after": self.hex()}))
    }

    /// The keys of the step in use, from a ratchet of its own: the reference makes new generators each time.
    fn generators(&self, fields: &Fields<'_>) -> Result<Result<Value, SeedError>, InputError> {
        let root = root(fields)?;
        let form = match fields.opt_bytes("node")? {
            Some(identity) => KeyIdForm::Long { identity },
            None => KeyIdForm::Short,
        };
        let in_use = self.in_use.as_deref();
        let in_use =
            in_use.ok_or_else(|| fields.error("do", "comes before the ratchet is open"))?;
        let pending = match Seed::decode(in_use).and_then(Seed::advance) {
            Ok(pending) => pending,
            Err(error) => return Ok(Err(error)),
        };
        let (step, _) = pending.stored();
        let key = StepKeys::new(step, &form).sealing_key(&root, &mut Zeros);
        let first = |component| match key.next(component) {
            Ok((_, first)) => message_key(&first),
            Err(_) => Value::Null,
        };
        Ok(Ok(json!({
            "keyidx": typed_key_id(&key.id()),
            "secret": hex::encode(key.topic_secret().expose()),
            "first_key": first(Component::Key),
            "first_value": first(Component::Value),
        })))
    }

    fn hex(&self) -> Option<String> {
        self.content.as_deref().map(hex::encode)
    }
}

fn root(fields: &Fields<'_>) -> Result<RootTopic, InputError> {
    if !fields.has("topic_hex") {
        return fields.text("topic").map(RootTopic::from);
    }
    let bytes = fields.bytes("topic_hex")?;
    let text = str::from_utf8(&bytes).map_err(|_| fields.error("topic_hex", "is not text"))?;
    Ok(text.into())
}
