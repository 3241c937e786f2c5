use kc_core::ratchet::{Context, KeyGenerator};
use serde_json::{Value, json};

use super::convert::{array, secret, size};
use crate::vectors::{CaseInput, Family, Fields, InputError, Op, Outcome};

pub(super) const FAMILY: Family = Family {
    name: "keygenerator",
    ops: &[
        Op::new(
            "sequence",
            &[
                "secret",
                "ctx",
                "start_salt",
                "calls[].msg",
                "calls[].ctx",
                "calls[].salt",
                "calls[].keysize",
                "calls[].noncesize",
            ],
            sequence,
        ),
        Op::new("construct", &["secret", "ctx"], construct),
        Op::new(
            "rekey",
            &["secret", "ctx", "calls_before", "new_secret"],
            rekey,
        ),
        Op::new("pair", &["secret", "n"], pair),
    ],
};

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 24;

fn sequence(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let secret = match secret(&case.fields, "secret")? {
        Ok(secret) => secret,
        Err(why) => return Ok(Outcome::reject(why)),
    };
    let context = match context(&case.fields, Context::GENERATOR)? {
        Ok(context) => context,
        Err(why) => return Ok(Outcome::reject(why)),
    };
    let mut generator = if case.fields.has("start_salt") {
        let start = u128::from_le_bytes(array(&case.fields, "start_salt")?);
        KeyGenerator::starting_at(secret, context, start)
    } else {
        KeyGenerator::new(secret, context)
    };
    let mut steps = Vec::new();
    for call in case.fields.objects("calls")? {
        let call = Call::read(&call, context)?;
        match call.and_then(|call| step(&mut generator, &call)) {
            Ok(step) => steps.push(step.to_value()),
            Err(why) => {
                let state = json!({"salt_after": hex::encode(generator.salt())});
                return Ok(Outcome::reject_with(state, why));
            }
        }
    }
    Ok(Outcome::Ok(json!({"steps": steps})))
}

fn construct(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let context = match context(&case.fields, Context::GENERATOR)? {
        Ok(context) => context,
        Err(why) => return Ok(Outcome::reject(why)),
    };
    Ok(match secret(&case.fields, "secret")? {
        Ok(secret) => {
            let _ = KeyGenerator::new(secret, context);
            Outcome::Ok(json!({}))
        }
        Err(why) => Outcome::reject(why),
    })
}

fn rekey(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let context = match context(&case.fields, Context::GENERATOR)? {
        Ok(context) => context,
        Err(why) => return Ok(Outcome::reject(why)),
    };
    let secrets = (
        secret(&case.fields, "secret")?,
        secret(&case.fields, "new_secret")?,
    );
    let (Ok(old), Ok(new)) = secrets else {
        return Ok(Outcome::reject("a secret of another length"));
    };
    let mut generator = KeyGenerator::new(old, context);
    let plain = Call::plain(context);
    for _ in 0..case.fields.integer("calls_before")? {
        step(&mut generator, &plain).map_err(|why| InputError::new("calls_before", why))?;
    }
    if let Err(error) = generator.rekey(new) {
        return Ok(Outcome::reject(error));
    }
    let salt = hex::encode(generator.salt());
    Ok(match step(&mut generator, &plain) {
        Ok(step) => Outcome::Ok(json!({"salt": salt, "key": step.key, "nonce": step.nonce})),
        Err(why) => Outcome::reject(why),
    })
}

fn pair(case: &CaseInput<'_>) -> Result<Outcome, InputError> {
    let count = case.fields.integer("n")?;
    let steps = |context| -> Result<Result<Vec<Value>, String>, InputError> {
        Ok(secret(&case.fields, "secret")?.and_then(|secret| {
            let mut generator = KeyGenerator::new(secret, context);
            let plain = Call::plain(context);
            let steps = (0..count).map(|_| step(&mut generator, &plain));
            steps.map(|step| Ok(step?.to_value())).collect()
        }))
    };
    Ok(match (steps(Context::KEY)?, steps(Context::VALUE)?) {
        (Ok(key), Ok(value)) => Outcome::Ok(json!({"key": key, "value": value})),
        (Err(why), _) | (_, Err(why)) => Outcome::reject(why),
    })
}

/// One call of a generator.
struct Call {
    message: Vec<u8>,
    context: Context,
    salt: Option<Vec<u8>>,
    key_len: usize,
    nonce_len: usize,
}

impl Call {
    fn plain(context: Context) -> Self {
        Self {
            message: Vec::new(),
            context,
            salt: None,
            key_len: KEY_LEN,
            nonce_len: NONCE_LEN,
        }
    }

    /// The inner error is a refusal.
    fn read(fields: &Fields<'_>, default: Context) -> Result<Result<Self, String>, InputError> {
        let (message, salt) = (fields.opt_bytes("msg")?, fields.opt_bytes("salt")?);
        let key_len = size(fields, "keysize", KEY_LEN)?;
        let nonce_len = size(fields, "noncesize", NONCE_LEN)?;
        Ok(context(fields, default)?.map(|context| Self {
            message: message.unwrap_or_default(),
            context,
            salt,
            key_len,
            nonce_len,
        }))
    }
}

/// A context, padded with zeros; the inner error is the refusal of one too long for the type.
fn context(fields: &Fields<'_>, default: Context) -> Result<Result<Context, String>, InputError> {
    let Some(given) = fields.opt_bytes("ctx")? else {
        return Ok(Ok(default));
    };
    let mut context = Context([0; 16]);
    Ok(match context.0.get_mut(..given.len()) {
        Some(start) => {
            start.copy_from_slice(&given);
            Ok(context)
        }
        None => Err(format!("a context of {} bytes", given.len())),
    })
}

fn step(generator: &mut KeyGenerator, call: &Call) -> Result<Step, String> {
    let before = generator.salt();
    let salt = match &call.salt {
        None => before,
        Some(salt) => salt
            .as_slice()
            .try_into()
            .map_err(|_| format!("a salt of {} bytes", salt.len()))?,
    };
    let mut output = vec![0; call.key_len + call.nonce_len];
    generator
        .generate_with(&mut output, &salt, call.context, &call.message)
        .map_err(|error| error.to_string())?;
    let (key, nonce) = output.split_at(call.key_len);
    // The reference's last 0 bytes of an output are all of it.
    let nonce = if nonce.is_empty() { &output } else { nonce };
    Ok(Step {
        salt_before: hex::encode(before),
        key: hex::encode(key),
        nonce: hex::encode(nonce),
        salt_after: hex::encode(generator.salt()),
    })
}

/// What a call gave, in hex.
struct Step {
    salt_before: String,
    key: String,
    nonce: String,
    salt_after: String,
}

impl Step {
    fn to_value(&self) -> Value {
        json!({
            "salt_before": self.salt_before,
            "key": self.key,
            "nonce": self.nonce,
            "salt_after": self.salt_after,
        })
    }
}
