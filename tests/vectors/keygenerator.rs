use kc_core::ratchet::{Context as Purpose, KeyGenerator};

use crate::load::Case;
use crate::operation::{Context, Invalid, Nothing, Outcome, Run, Stop, refuse};
use crate::values::Hex;

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 24;

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "sequence" => case.run(Sequence::run),
        "construct" => case.run(Construct::run),
        "rekey" => case.run(Rekey::run),
        "pair" => case.run(Pair::run),
        op => Err(Invalid::unknown_op(op)),
    }
}

/// Returns a generator with this secret, for this purpose or the default one.
fn generator(secret: &Hex, ctx: Option<&Hex>) -> Result<(KeyGenerator, Purpose), String> {
    let purpose = purpose(ctx, Purpose::GENERATOR)?;
    Ok((KeyGenerator::new(secret.secret()?, purpose), purpose))
}

/// Returns a purpose, padded with zeros.
fn purpose(given: Option<&Hex>, default: Purpose) -> Result<Purpose, String> {
    given.map_or(Ok(default), |given| padded(given).map(Purpose))
}

fn padded(given: &[u8]) -> Result<[u8; 16], String> {
    let mut padded = [0; 16];
    let start = padded.get_mut(..given.len());
    let start = start.ok_or_else(|| format!("{} bytes, of 16 at most", given.len()))?;
    start.copy_from_slice(given);
    Ok(padded)
}

input! {
    struct Sequence { secret: Hex, ctx: Option<Hex>, start_salt: Option<Hex>, calls: Vec<Call> }
    #[derive(Default)]
    struct Call {
        msg: Option<Hex>, ctx: Option<Hex>, salt: Option<Hex>, keysize: Option<usize>,
        noncesize: Option<usize>,
    }
}

output! {
    struct Steps { steps: Vec<Step> }
    struct Step { salt_before: Hex, key: Hex, nonce: Hex, salt_after: Hex }
    #[derive(Default)]
    struct SaltAfter { salt_after: Option<Hex> }
}

impl Sequence {
    fn run(&self, _: &Context) -> Outcome<Steps, SaltAfter> {
        let (mut generator, purpose) =
            generator(&self.secret, self.ctx.as_ref()).map_err(refuse)?;
        if let Some(start) = &self.start_salt {
            let start = u128::from_le_bytes(padded(start).map_err(Invalid)?);
            let secret = self.secret.secret().map_err(Invalid)?;
            generator = KeyGenerator::starting_at(secret, purpose, start);
        }
        let mut steps = Vec::new();
        for call in &self.calls {
            steps.push(call.step(&mut generator, purpose).map_err(|why| {
                let salt_after = Some(generator.salt().into());
                Stop::Refused(SaltAfter { salt_after }, why)
            })?);
        }
        Ok(Steps { steps })
    }
}

impl Call {
    fn step(&self, generator: &mut KeyGenerator, default: Purpose) -> Result<Step, String> {
        let before = generator.salt();
        let salt = match &self.salt {
            None => before,
            Some(salt) => (salt.0.as_slice().try_into())
                .map_err(|_| format!("a salt of {} bytes", salt.len()))?,
        };
        let key_len = self.keysize.unwrap_or(KEY_LEN);
        let length = key_len.checked_add(self.noncesize.unwrap_or(NONCE_LEN));
        // A hash has at most 64 bytes.
        let mut output = vec![0; length.unwrap_or(usize::MAX).min(65)];
        let message = self.msg.as_deref().unwrap_or_default();
        generator
            .generate_with(
                &mut output,
                &salt,
                purpose(self.ctx.as_ref(), default)?,
                message,
            )
            .map_err(|error| error.to_string())?;
        let (key, nonce) = output.split_at(key_len);
        // In the reference, the last 0 bytes of an output are the whole output.
        let nonce = if nonce.is_empty() { &output } else { nonce };
        Ok(Step {
            salt_before: before.into(),
            key: key.into(),
            nonce: nonce.into(),
            salt_after: generator.salt().into(),
        })
    }
}

input! {
    struct Construct { secret: Hex, ctx: Option<Hex> }
}

impl Construct {
    fn run(&self, _: &Context) -> Outcome<Nothing> {
        generator(&self.secret, self.ctx.as_ref()).map_err(refuse)?;
        Ok(Nothing {})
    }
}

input! {
    struct Rekey { secret: Hex, ctx: Option<Hex>, calls_before: usize, new_secret: Hex }
}

output! {
    struct Rekeyed { salt: Hex, key: Hex, nonce: Hex }
}

impl Rekey {
    fn run(&self, _: &Context) -> Outcome<Rekeyed> {
        let (mut generator, purpose) =
            generator(&self.secret, self.ctx.as_ref()).map_err(refuse)?;
        let plain = Call::default();
        for _ in 0..self.calls_before {
            plain.step(&mut generator, purpose).map_err(refuse)?;
        }
        let new = self.new_secret.secret().map_err(refuse)?;
        generator.rekey(new).map_err(refuse)?;
        let salt = generator.salt().into();
        let Step { key, nonce, .. } = plain.step(&mut generator, purpose).map_err(refuse)?;
        Ok(Rekeyed { salt, key, nonce })
    }
}

input! {
    struct Pair { secret: Hex, n: usize }
}

output! {
    struct Both { key: Vec<Step>, value: Vec<Step> }
}

impl Pair {
    fn run(&self, _: &Context) -> Outcome<Both> {
        let steps = |purpose| -> Result<Vec<Step>, String> {
            let mut generator = KeyGenerator::new(self.secret.secret()?, purpose);
            let plain = Call::default();
            (0..self.n)
                .map(|_| plain.step(&mut generator, purpose))
                .collect()
        };
        Ok(Both {
            key: steps(Purpose::KEY).map_err(refuse)?,
            value: steps(Purpose::VALUE).map_err(refuse)?,
        })
    }
}
