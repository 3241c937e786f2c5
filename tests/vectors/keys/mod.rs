mod sntrup;

use kc_core::chain::{CertificateKey, CertificateKeys};
use kc_core::kem::{DecapsulationKey, PublicKey, SecretKey, Suite, sealed};
use kc_core::keys::{KeyError, KeyType, Signer, SigningKey, VerifyingKey};
use kc_core::wire::{self, Writer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::draws::Draws;
use crate::load::Case;
use crate::operation::{Context, Invalid, Outcome, Run, invalid, refuse};
use crate::values::{Hex, KeyKind, Typed, unpack};

pub(crate) fn run(case: &Case) -> Result<Run, Invalid> {
    match case.op.as_str() {
        "parse" => case.run_normalised(Parse::run, Parse::normalise),
        "get_pks" => case.run(GetPks::run),
        "sign" => case.run(Sign::run),
        "sign_open" => case.run(SignOpen::run),
        "complete_kem" => case.run_normalised(CompleteKem::run, CompleteKem::normalise),
        "seal" => case.run_normalised(Seal::run, Seal::normalise),
        "seal_open" => case.run(SealOpen::run),
        "equal" => case.run(Equal::run),
        op => Err(Invalid::unknown_op(op)),
    }
}

input! {
    struct Parse { kind: KeyKind, value: Typed }
}

output! {
    struct Described {
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<KeyKind>,
        version: u8,
        /// The reference accepted `true` as a version.
        #[serde(skip_serializing_if = "Option::is_none")]
        version_is_bool: Option<bool>,
        bytes: Hex, in_array_msgpack: Hex, keys: Typed,
        #[serde(skip_serializing_if = "Option::is_none")]
        public: Option<Box<Described>>,
    }
}

impl Parse {
    fn run(&self, case: &Context) -> Outcome<Described> {
        let key = match (self.kind, &self.value) {
            (KeyKind::SignSecret | KeyKind::KemSecret, Typed::Int(version)) => {
                let version = version.digits().parse().map_err(refuse)?;
                Key::generate(self.kind, version, case.draws())
            }
            (kind, value) => {
                let packed = value
                    .pack()
                    .ok_or_else(|| refuse("no form in MessagePack"))?;
                Key::read(kind, &unpack(&packed)?)
            }
        };
        Ok(key.map_err(refuse)?.describe()?)
    }

    /// The draws of sntrup761 cannot be reproduced. Of a generated key, the classical part, the lengths of the other
    /// parts, and whether it opens values that are sealed to it are compared.
    fn normalise(&self, case: &Context, body: &mut Value) -> Result<(), Invalid> {
        match self.value.as_int() == Some(Suite::Sntrup761.version().into()) {
            true => sntrup::normalise_generated(case, body),
            false => Ok(()),
        }
    }
}

input! {
    struct GetPks { value: Typed }
}

output! {
    struct Pks { value: OneOrMore }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(Described),
    More(Vec<OneOrMore>),
}

impl GetPks {
    fn run(&self, _: &Context) -> Outcome<Pks> {
        let packed = self
            .value
            .pack()
            .ok_or_else(|| refuse("no form in MessagePack"))?;
        let one = |key| -> Result<OneOrMore, Invalid> {
            let key = match key {
                CertificateKey::Signing(key) => Key::SignPublic(key),
                CertificateKey::Exchange(key) => Key::KemPublic(key),
            };
            let mut described = key.describe()?;
            described.kind = Some(key.kind());
            Ok(OneOrMore::One(described))
        };
        let value = match CertificateKeys::from_value(&unpack(&packed)?).map_err(refuse)? {
            CertificateKeys::Single(key) => one(key)?,
            CertificateKeys::List(keys) => {
                OneOrMore::More(keys.into_iter().map(one).collect::<Result<_, _>>()?)
            }
        };
        Ok(Pks { value })
    }
}

input! {
    struct Sign { secret: Hex, message: Hex }
}

output! {
    struct Signed { signed: Hex, public: Hex }
}

impl Sign {
    fn run(&self, case: &Context) -> Outcome<Signed> {
        let key = SigningKey::from_bytes(&self.secret).map_err(refuse)?;
        let signed = key.sign(&self.message, &mut case.draws()).map_err(refuse)?;
        Ok(Signed {
            signed: signed.into(),
            public: key.verifying_key().to_bytes().into(),
        })
    }
}

input! {
    struct SignOpen { public: Hex, signed: Hex }
}

output! {
    struct Message { message: Hex }
}

impl SignOpen {
    fn run(&self, _: &Context) -> Outcome<Message> {
        let key = VerifyingKey::from_bytes(&self.public).map_err(refuse)?;
        let message = key.verify(&self.signed).map_err(refuse)?.into();
        Ok(Message { message })
    }
}

input! {
    struct CompleteKem { secret: Hex, peer_public: Hex }
}

output! {
    struct Completed { shared: Hex, secret_after: Hex, public_after: Hex, esk_group: u8 }
}

impl CompleteKem {
    fn run(&self, case: &Context) -> Outcome<Completed> {
        let peer = PublicKey::from_bytes(&self.peer_public).map_err(refuse)?;
        let secret = SecretKey::from_bytes(&self.secret).map_err(refuse)?;
        let esk_group = secret.public_key().suite().version();
        let (shared, after) = secret
            .complete(&peer, &mut sntrup::draws(case, &peer))
            .map_err(refuse)?;
        Ok(Completed {
            shared: shared.expose().into(),
            secret_after: after.expose_bytes().expose().into(),
            public_after: after.public_key().to_bytes().into(),
            esk_group,
        })
    }

    /// The draws of sntrup761 cannot be reproduced: the classical part is compared.
    fn normalise(&self, _: &Context, body: &mut Value) -> Result<(), Invalid> {
        match sntrup::encapsulates_to(&self.peer_public) {
            true => sntrup::normalise_completed(body),
            false => Ok(()),
        }
    }
}

input! {
    struct Seal { public: Hex, message: Hex }
}

output! {
    struct Sealed { sealed: Hex }
}

impl Seal {
    fn run(&self, case: &Context) -> Outcome<Sealed> {
        let public = PublicKey::from_bytes(&self.public).map_err(refuse)?;
        let mut rng = sntrup::draws(case, &public);
        let recipient = public
            .into_offer()
            .ok_or_else(|| refuse("a reply is no key to seal to"))?;
        let sealed = sealed::seal(&self.message, &recipient, &mut rng).map_err(refuse)?;
        Ok(Sealed {
            sealed: sealed.into(),
        })
    }

    /// The draws of sntrup761 cannot be reproduced: lengths, classical key and nonce are compared.
    fn normalise(&self, _: &Context, body: &mut Value) -> Result<(), Invalid> {
        match sntrup::encapsulates_to(&self.public) {
            true => sntrup::normalise_sealed(body),
            false => Ok(()),
        }
    }
}

input! {
    struct SealOpen { secret: Hex, sealed: Hex }
}

impl SealOpen {
    fn run(&self, _: &Context) -> Outcome<Message> {
        let SecretKey::Fresh(key) = SecretKey::from_bytes(&self.secret).map_err(refuse)? else {
            return Err(refuse("the key is used up"));
        };
        let message = sealed::open(&self.sealed, &key).map_err(refuse)?;
        Ok(Message {
            message: message.expose().into(),
        })
    }
}

input! {
    struct Equal { a: Form, b: Form }
    struct Form { kind: KeyKind, bytes: Hex }
}

output! {
    struct Compared { equal: bool, same_type: Option<bool> }
}

impl Equal {
    fn run(&self, _: &Context) -> Outcome<Compared> {
        let key = |form: &Form| Key::read(form.kind, &wire::Value::Bytes(&form.bytes));
        let (a, b) = (
            key(&self.a).map_err(invalid("a"))?,
            key(&self.b).map_err(invalid("b"))?,
        );
        let equal = match (&a, &b) {
            (Key::SignPublic(a), Key::SignPublic(b)) => a == b,
            (Key::KemPublic(a), Key::KemPublic(b)) => a == b,
            _ => a.kind() == b.kind() && a.bytes() == b.bytes(),
        };
        let same_type = (a.kind() == b.kind()).then(|| a.version() == b.version());
        Ok(Compared { equal, same_type })
    }
}

/// A key of any of the four kinds.
enum Key {
    SignPublic(VerifyingKey),
    SignSecret(SigningKey),
    KemPublic(PublicKey),
    KemSecret(SecretKey),
}

impl Key {
    fn read(kind: KeyKind, value: &wire::Value<'_>) -> Result<Self, KeyError> {
        match kind {
            KeyKind::SignPublic => VerifyingKey::from_value(value).map(Self::SignPublic),
            KeyKind::SignSecret => SigningKey::from_value(value).map(Self::SignSecret),
            KeyKind::KemPublic => PublicKey::from_value(value).map(Self::KemPublic),
            KeyKind::KemSecret => SecretKey::from_value(value).map(Self::KemSecret),
        }
    }

    /// Returns a new secret key.
    fn generate(kind: KeyKind, version: i128, mut rng: Draws) -> Result<Self, KeyError> {
        let unknown = KeyError::Version(version);
        if kind == KeyKind::SignSecret {
            let key_type = KeyType::from_version(version).ok_or(unknown)?;
            return Ok(Self::SignSecret(SigningKey::generate(key_type, &mut rng)));
        }
        let suite = Suite::from_version(version).ok_or(unknown)?;
        if suite == Suite::Sntrup761 {
            rng = rng.or_filler();
        }
        let key = DecapsulationKey::generate(suite, &mut rng);
        Ok(Self::KemSecret(SecretKey::Fresh(key)))
    }

    fn kind(&self) -> KeyKind {
        match self {
            Self::SignPublic(_) => KeyKind::SignPublic,
            Self::SignSecret(_) => KeyKind::SignSecret,
            Self::KemPublic(_) => KeyKind::KemPublic,
            Self::KemSecret(_) => KeyKind::KemSecret,
        }
    }

    fn version(&self) -> u8 {
        match self {
            Self::SignPublic(key) => key.key_type().version(),
            Self::SignSecret(key) => key.verifying_key().key_type().version(),
            Self::KemPublic(key) => key.version(),
            Self::KemSecret(key) => key.version(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::SignPublic(key) => key.to_bytes(),
            Self::SignSecret(key) => key.expose_bytes().expose().to_vec(),
            Self::KemPublic(key) => key.to_bytes(),
            Self::KemSecret(key) => key.expose_bytes().expose().to_vec(),
        }
    }

    fn public(&self) -> Option<Self> {
        match self {
            Self::SignSecret(key) => Some(Self::SignPublic(key.verifying_key().clone())),
            Self::KemSecret(key) => Some(Self::KemPublic(key.public_key())),
            Self::SignPublic(_) | Self::KemPublic(_) => None,
        }
    }

    fn describe(&self) -> Result<Described, Invalid> {
        let (version, bytes) = (self.version(), self.bytes());
        let mut in_array = Writer::new();
        in_array.array(1);
        let keys = match (self, version) {
            (_, 1) => Typed::bytes(&bytes),
            _ => match unpack(&bytes)? {
                wire::Value::Array(elements) => elements.get(1).map(Typed::from),
                _ => None,
            }
            .ok_or_else(|| Invalid::new("a key has a byte form without content"))?,
        };
        match self {
            Self::SignPublic(key) => key.write_to(&mut in_array),
            Self::KemPublic(key) => key.write_to(&mut in_array),
            // No array of the protocol contains secret keys.
            _ if version == 1 => {
                in_array.bytes(&bytes);
            }
            _ => {
                in_array.value(&unpack(&bytes)?);
            }
        }
        let public = self.public().map(|key| key.describe()).transpose()?;
        Ok(Described {
            kind: None,
            version,
            version_is_bool: None,
            bytes: bytes.into(),
            in_array_msgpack: in_array.into_vec().into(),
            keys,
            public: public.map(Box::new),
        })
    }
}
