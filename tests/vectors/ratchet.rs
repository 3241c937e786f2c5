use kc_core::ratchet::{Component, KeyIdForm, Seed, SeedError, StepKeys};
use kc_core::types::RootTopic;
use serde::{Deserialize, Serialize};

use crate::draws::{Draws, zeros};
use crate::load::Case;
use crate::operation::{Context, Invalid, Outcome, Run, Stop};
use crate::values::{Hex, KeyAndNonce, Typed};

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "scenario" => case.run(Scenario::run),
        op => Err(Invalid::unknown_op(op)),
    }
}

input! {
    struct Scenario { file: Option<Hex>, steps: Vec<Step> }
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
enum Step {
    Open {},
    Close {},
    Increment {},
    Generators {
        topic: Option<String>,
        topic_hex: Option<Hex>,
        node: Option<Hex>,
    },
}

output! {
    struct Steps { steps: Vec<Done> }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Done {
    File {
        file_after: Option<Hex>,
    },
    Generators {
        keyidx: Typed,
        secret: Hex,
        first_key: Option<KeyAndNonce>,
        first_value: Option<KeyAndNonce>,
    },
}

output! {
    struct Failed { step: usize, steps_done: Vec<Done>, file_after: Option<Hex> }
}

impl Scenario {
    fn run(&self, case: &Context) -> Outcome<Steps, Failed> {
        let mut file = File {
            content: self.file.clone(),
            in_use: None,
        };
        let mut rng = case.draws();
        let mut steps = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            match file.act(step, &mut rng) {
                Ok(done) => steps.push(done),
                Err(why) => {
                    let state = Failed {
                        step: index,
                        steps_done: steps,
                        file_after: file.content,
                    };
                    return Err(Stop::Refused(state, why));
                }
            }
        }
        Ok(Steps { steps })
    }
}

/// A seed file in memory, and its content before the step in use was taken.
struct File {
    content: Option<Hex>,
    in_use: Option<Hex>,
}

impl File {
    fn act(&mut self, step: &Step, rng: &mut Draws) -> Result<Done, String> {
        match step {
            Step::Open {} | Step::Increment {} => {
                self.take_step(rng).map_err(|error| error.to_string())?;
            }
            Step::Close {} => self.in_use = None,
            Step::Generators {
                topic,
                topic_hex,
                node,
            } => {
                let root = match (topic, topic_hex) {
                    (Some(topic), _) => topic.as_str(),
                    (None, hex) => {
                        let bytes = hex.as_deref().unwrap_or_default();
                        str::from_utf8(bytes).map_err(|_| "a topic is text")?
                    }
                };
                return self.generators(&root.into(), node.as_ref());
            }
        }
        Ok(Done::File {
            file_after: self.content.clone(),
        })
    }

    fn take_step(&mut self, rng: &mut Draws) -> Result<(), SeedError> {
        let stored = match &self.content {
            Some(content) => content.clone(),
            None => Seed::generate(rng).encode().expose().into(),
        };
        let pending = Seed::decode(&stored)?.advance()?;
        self.content = Some(pending.next().encode().expose().into());
        self.in_use = Some(stored);
        Ok(())
    }

    /// Returns the keys of the step in use, from a separate ratchet, because the reference makes new generators each
    /// time.
    fn generators(&self, root: &RootTopic, node: Option<&Hex>) -> Result<Done, String> {
        let form = match node {
            Some(identity) => KeyIdForm::Long {
                identity: identity.0.clone(),
            },
            None => KeyIdForm::Short,
        };
        let in_use = self.in_use.as_ref().ok_or("the ratchet is not open")?;
        let pending = Seed::decode(in_use).and_then(Seed::advance);
        let (step, _) = pending.map_err(|error| error.to_string())?.stored();
        let key = StepKeys::new(step, &form).sealing_key(root, &mut zeros());
        let first = |component| Some(KeyAndNonce::from(&key.next(component).ok()?.1));
        Ok(Done::Generators {
            keyidx: Typed::from(&key.id()),
            secret: key.data_key().expose().into(),
            first_key: first(Component::Key),
            first_value: first(Component::Value),
        })
    }
}
