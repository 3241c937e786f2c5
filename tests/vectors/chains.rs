use kc_core::chain::{
    CertificateKeys, Constraints, Demand, UnverifiedChain, Usage, ValidatedChain, grants, intersect,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::load::Case;
use crate::nodes::{List, trust};
use crate::operation::{Context, Invalid, Outcome, Run, refuse};
use crate::values::{Hex, PublicForm, Typed, hex_list};

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "process_chain" => case.run(ProcessChain::run),
        "multimatch" => case.run(Multimatch::run),
        "intersect_multimatch" => case.run(Intersect::run),
        op => Err(Invalid::unknown_op(op)),
    }
}

input! {
    struct ProcessChain {
        chain: Hex, topic: Option<String>, usage: Option<String>, allowlist: List, denylist: List,
        checktime: Option<f64>,
    }
}

output! {
    struct Processed {
        max_age: Typed, poison: Hex, poison_decoded: Typed, key: Key, extra: Vec<Typed>,
        signers: Vec<Hex>,
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Key {
    Single(PublicForm),
    Multi {
        multi: Vec<PublicForm>,
    },
    /// A key that is not of the known types.
    Raw {
        raw: Value,
    },
}

impl ProcessChain {
    fn run(&self, case: &Context) -> Outcome<Processed> {
        let demand = Demand {
            now: case.now(self.checktime)?,
            topic: self.topic.as_deref(),
            usage: self.usage.as_deref(),
        };
        let validated = trust(&self.allowlist, &self.denylist).and_then(|trust| {
            let chain = UnverifiedChain::parse(&self.chain)?;
            let revocation = chain.self_revocation().filter(|_| {
                trust.allowlist().is_some() && demand.usage == Some(Usage::Denylist.as_str())
            });
            let validated = chain.validate(&trust, &demand);
            validated.or_else(|error| revocation.map_or(Err(error), |own| own.verify()))
        });
        let chain = validated.map_err(|error| refuse(format!("{}: {error}", error.check())))?;
        Ok(describe(&chain)?)
    }
}

fn describe(chain: &ValidatedChain) -> Result<Processed, Invalid> {
    let restrictions = restrictions(chain.constraints());
    let named = |name: fn(&str) -> Typed| {
        let pairs = restrictions.iter();
        Typed::list(pairs.map(|(text, value)| Typed::list([name(text), value.clone()])))
    };
    let poison = named(|name| Typed::text(name)).pack();
    Ok(Processed {
        max_age: chain.max_age().into(),
        poison: poison.ok_or_else(|| Invalid::new("no poison"))?.into(),
        poison_decoded: named(|name| Typed::bytes(name)),
        key: match chain.keys() {
            CertificateKeys::Single(key) => Key::Single(key.into()),
            CertificateKeys::List(keys) => Key::Multi {
                multi: keys.iter().map(PublicForm::from).collect(),
            },
        },
        extra: chain.extra().iter().map(Typed::from).collect(),
        signers: hex_list(chain.path().iter().map(|key| key.to_bytes())),
    })
}

/// Returns the restrictions in the form of the reference: names as text, entries as bytes.
fn restrictions(constraints: &Constraints) -> Vec<(&'static str, Typed)> {
    let list = |list: &Option<Vec<String>>| list.as_ref().map(|list| typed_set(list));
    let path_length = constraints.path_length.map(|left| Typed::int(left.into()));
    let named = [
        ("topics", list(&constraints.topics)),
        ("usages", list(&constraints.usages)),
        ("pathlen", path_length),
    ];
    let given = named
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    given.collect()
}

input! {
    struct Multimatch { wanted: Typed, choices: Typed }
}

output! {
    struct Match {
        #[serde(rename = "match")]
        matches: bool,
    }
}

impl Multimatch {
    fn run(&self, _: &Context) -> Outcome<Match> {
        let wanted = match &self.wanted {
            Typed::Nil {} => None,
            other => Some(other.as_text().ok_or_else(|| refuse("no text is wanted"))?),
        };
        let choices = set(&self.choices)?;
        let matches = grants(choices.as_deref(), wanted).map_err(refuse)?;
        Ok(Match { matches })
    }
}

input! {
    struct Intersect { set1: Typed, set2: Typed }
}

output! {
    struct Set { set: Typed }
}

impl Intersect {
    fn run(&self, _: &Context) -> Outcome<Set> {
        let set = intersect(set(&self.set1)?, set(&self.set2)?).map_err(refuse)?;
        Ok(Set {
            set: set.map_or(Typed::Nil {}, |set| typed_set(&set)),
        })
    }
}

/// Returns a list of texts, or `None`; refuses all other values, which the types of kc cannot express.
fn set(value: &Typed) -> Outcome<Option<Vec<String>>> {
    let texts = match value {
        Typed::Nil {} => return Ok(None),
        Typed::List { v } => v
            .iter()
            .map(|item| Some(item.as_text()?.to_owned()))
            .collect(),
        _ => None,
    };
    let texts: Option<Vec<_>> = texts;
    texts.map(Some).ok_or_else(|| refuse("no list of texts"))
}

fn typed_set(set: &[String]) -> Typed {
    Typed::list(set.iter().map(Typed::bytes))
}
