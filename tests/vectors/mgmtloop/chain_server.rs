//! One turn of the chain server.

use kc_core::chain_server::{ChainKey, RenewalPolicy};
use kc_core::store::config::{Section, Value};

use super::kafka::{CHAINS, Effect, Kafka};
use super::node::Files;
use crate::operation::{Context, Invalid, Outcome, invalid};
use crate::values::Hex;

input! {
    struct ChainServer { config: String, crypto_file: Hex, time: Option<f64> }
}

output! {
    struct Turn { effects: Vec<Effect>, chainkeys_after: String }
}

impl ChainServer {
    pub(super) fn run(&self, case: &Context) -> Outcome<Turn> {
        let mut files = Files::open(&self.config, &self.crypto_file)?;
        let now = case.now(self.time)?;
        let policy = policy(&files)?;
        let own = files
            .credentials
            .trust
            .valid_identities(now)
            .unwrap_or_default();
        let mut draws = case.draws();
        let mut kafka = Kafka::new();
        let settings = files.config.own_settings(Section::CHAIN_KEYS);
        for setting in settings.map_err(invalid("config"))? {
            let Some(Value::Bytes(entry)) = setting.value() else {
                return Err(Invalid::new("an entry of chainkeys is not of bytes").into());
            };
            let key = ChainKey::parse(&entry).map_err(invalid("chainkeys"))?;
            let Some(renewal) = policy.renew(&key, &own, now) else {
                continue;
            };
            let signer = files.credentials.signer(renewal.to_be_signed.signer());
            let signed = signer.map(|signer| renewal.to_be_signed.sign(signer, &mut draws));
            if let Some(Ok(chain)) = signed {
                kafka.send(CHAINS, &key.key().to_bytes(), &chain);
                files.set(Section::CHAIN_KEYS, setting.name, renewal.renewed.encode())?;
            }
        }
        if kafka.has_effects() {
            kafka.flush();
        }
        Ok(Turn {
            effects: kafka.take_effects(),
            chainkeys_after: files.lines(Section::CHAIN_KEYS).join("\n"),
        })
    }
}

fn policy(files: &Files) -> Result<RenewalPolicy, Invalid> {
    let default = RenewalPolicy::default();
    let refresh_fraction = match files.value(Section::NODE, "refresh_fraction")? {
        None => default.refresh_fraction,
        Some(Value::Float(fraction)) => fraction,
        Some(_) => return Err(Invalid::new("`refresh_fraction` is no fraction")),
    };
    let lifetime = files.seconds(Section::NODE, "lifetime")?;
    Ok(RenewalPolicy {
        lifetime: lifetime.unwrap_or(default.lifetime),
        refresh_fraction,
    })
}
