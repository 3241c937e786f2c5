//! Every way in which a case may count as something other than an exact agreement. Nothing else may.

use serde_json::Value;

pub use super::deviations::DEVIATIONS;
use super::families::{exchange, message, mgmtloop, sntrup, stores};
use super::fields::{CaseInput, InputError};

/// Fields that are not compared as they stand.
pub const NORMALISATIONS: &[Normalisation] = &[
    Normalisation {
        family: "keys",
        op: "complete_kem",
        fields: &["shared", "secret_after", "public_after"],
        reason: "section 1: draws of sntrup761 are not meant to be reproduced; the classical part is compared",
        apply: sntrup::normalise_completed,
    },
    Normalisation {
        family: "keys",
        op: "parse",
        fields: &[],
        reason: "section 1: draws of sntrup761 are not meant to be reproduced; of a generated key the classical part, the \
                 lengths, and whether it opens what is sealed to it are compared",
        apply: sntrup::normalise_generated,
    },
    Normalisation {
        family: "keys",
        op: "seal",
        fields: &["sealed"],
        reason: "section 1: draws of sntrup761 are not meant to be reproduced; lengths, classical key and nonce are \
                 compared",
        apply: sntrup::normalise_sealed,
    },
    Normalisation {
        family: "message",
        op: "deserialize",
        fields: &["waiting_after.*[][]"],
        reason: "section 3: of those waited for the roots and indexes are compared, the counter is internal",
        apply: message::normalise_waiting,
    },
    Normalisation {
        family: "message",
        op: "serialize_object",
        fields: &["bytes"],
        reason: "the case records neither the seed nor the node: key id and box cannot be compared, all else is",
        apply: message::normalise_sealed_object,
    },
    Normalisation {
        family: "mgmtloop",
        op: "trace",
        fields: &[],
        reason: "protocol, section 11: a node of ours always has a group; to seek to the beginning of what has been \
                 assigned at its beginning changes nothing, and counts as not done",
        apply: mgmtloop::normalise_seeks,
    },
    Normalisation {
        family: "mgmtloop",
        op: "trace",
        fields: &[],
        reason: "Kafka has no order between topics: of what is sent one after the other the order within each topic is \
                 compared",
        apply: mgmtloop::normalise_sends,
    },
    Normalisation {
        family: "exchange",
        op: "transcript",
        fields: &[
            "steps[].result",
            "steps[].ephemeral_secrets",
            "steps[].random0",
        ],
        reason: "protocol, section 7: the temporary root is never signed with; what the reference signs with it counts \
                 as not sent",
        apply: exchange::normalise_temporary_root,
    },
    Normalisation {
        family: "exchange",
        op: "transcript",
        fields: &[],
        reason: "section 1: draws of sntrup761 are not meant to be reproduced; a message that rests on them is compared \
                 by its certificates without these keys and its signatures, a reply also by what the recorded \
                 ephemeral keys open, an ephemeral key by whether it opens what is sealed to its request",
        apply: exchange::normalise_sntrup761,
    },
    Normalisation {
        family: "stores",
        op: "config_read",
        fields: &["values[].error"],
        reason: "section 1: exception types are informative; that there is an error is compared",
        apply: stores::normalise_errors,
    },
    Normalisation {
        family: "stores",
        op: "config_read",
        fields: &[],
        reason: "section 3: a blank line ends each section that is written; a file that nothing changed is not written",
        apply: stores::normalise_last_line,
    },
    Normalisation {
        family: "stores",
        op: "oldkeys_load",
        fields: &["keys[][][][].birth"],
        reason: "protocol, section 1: a time is read from an integer as from a float; its value is compared",
        apply: stores::normalise_births,
    },
];

/// Quirk cases in which we do something else than the reference. Never matches a must case.
#[derive(Debug)]
pub struct Deviation {
    /// Family of the cases.
    pub family: &'static str,
    /// The cases.
    pub cases: Cases,
    /// What we do, as far as the runner checks it.
    pub instead: Instead,
    /// What we do, in words.
    pub ours: &'static str,
    /// Why that is better.
    pub reason: &'static str,
}

/// Cases of a family.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cases {
    /// The case of this name.
    Named(&'static str),
    /// The cases whose names begin with this.
    Prefix(&'static str),
    /// The cases of this operation.
    Op(&'static str),
}

impl Cases {
    pub(super) fn include(&self, case: &str, op: &str) -> bool {
        match self {
            Cases::Named(name) => *name == case,
            Cases::Prefix(prefix) => case.starts_with(prefix),
            Cases::Op(name) => *name == op,
        }
    }
}

/// What we do in a [`Deviation`], as far as the runner checks it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Instead {
    /// We refuse what the reference accepts.
    Rejects,
    /// We accept what the reference refuses.
    Accepts,
    /// We agree about acceptance and differ in these fields alone (paths as in [`Op::new`](super::Op::new),
    /// relative to `out` or `reject`).
    Differs(&'static [&'static str]),
}

/// Brings expected and actual result of an operation into one form where the README allows several.
#[derive(Debug)]
pub struct Normalisation {
    /// Family of the operation.
    pub family: &'static str,
    /// Name of the operation.
    pub op: &'static str,
    /// Fields whose alteration may go unseen because of this row (paths as in [`Op::new`](super::Op::new), relative
    /// to `out` or `reject`). The alteration of any other field must be seen.
    pub fields: &'static [&'static str],
    /// Where the README allows it.
    pub reason: &'static str,
    /// Changes `out` or `reject`, the expected as well as ours.
    pub apply: fn(&CaseInput<'_>, &mut Value) -> Result<(), InputError>,
}

/// The tables that a run goes by.
#[derive(Debug, Clone, Copy)]
pub struct Tables<'t> {
    /// Quirk cases in which we do something else than the reference.
    pub deviations: &'t [Deviation],
    /// Fields that are not compared as they stand.
    pub normalisations: &'t [Normalisation],
}

impl Tables<'static> {
    /// The tables of this project.
    pub const PROJECT: Self = Self {
        deviations: DEVIATIONS,
        normalisations: NORMALISATIONS,
    };

    /// No exception at all.
    pub const EMPTY: Self = Self {
        deviations: &[],
        normalisations: &[],
    };
}
