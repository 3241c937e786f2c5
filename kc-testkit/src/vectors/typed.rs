//! Typed values: how the vectors write a field that may hold several types.

use serde_json::{Value, json};

/// Largest magnitude that the vectors write as a JSON number.
const LARGEST_PLAIN_INTEGER: u128 = 1 << 53;

/// A value together with its type (section 1 of the vectors' README).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Typed {
    /// No value.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// An integer outside the range of [`i128`], in decimal digits.
    HugeInt(String),
    /// The bits of an IEEE-754 double.
    Float(u64),
    /// Text.
    Str(String),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Typed>),
    /// A map in insertion order.
    Map(Vec<(Typed, Typed)>),
    /// A key object.
    Key {
        /// Which of the four kinds of key.
        kind: KeyKind,
        /// Key version.
        version: u64,
        /// Byte form of the key.
        bytes: Vec<u8>,
    },
}

/// The kinds of key objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// Public signing key.
    SignPublic,
    /// Secret signing key.
    SignSecret,
    /// Public KEM key.
    KemPublic,
    /// Secret KEM key.
    KemSecret,
}

impl KeyKind {
    const TAGS: [(KeyKind, &'static str); 4] = [
        (KeyKind::SignPublic, "signkey"),
        (KeyKind::SignSecret, "signsecret"),
        (KeyKind::KemPublic, "kemkey"),
        (KeyKind::KemSecret, "kemsecret"),
    ];

    /// The tag of this kind in a typed value.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            KeyKind::SignPublic => "signkey",
            KeyKind::SignSecret => "signsecret",
            KeyKind::KemPublic => "kemkey",
            KeyKind::KemSecret => "kemsecret",
        }
    }

    fn from_tag(tag: &str) -> Option<Self> {
        Self::TAGS
            .iter()
            .find(|(_, known)| *known == tag)
            .map(|(kind, _)| *kind)
    }
}

impl Typed {
    /// The typed value of a double.
    #[must_use]
    pub fn float(value: f64) -> Self {
        Typed::Float(value.to_bits())
    }

    /// Reads a typed value; `None` if the shape is not one of the README's, or has fields that it does not name.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        let fields = value.as_object()?;
        let tag = fields.get("t")?.as_str()?;
        let only = |names: &[&str]| {
            fields
                .keys()
                .all(|key| key == "t" || names.contains(&key.as_str()))
        };
        let hex_of = |name: &str| hex::decode(fields.get(name)?.as_str()?).ok();
        match tag {
            "nil" if only(&[]) => Some(Typed::Nil),
            "bool" if only(&["v"]) => fields.get("v")?.as_bool().map(Typed::Bool),
            "int" if only(&["v"]) => fields.get("v")?.as_i64().map(|v| Typed::Int(v.into())),
            "int" if only(&["dec"]) => integer(fields.get("dec")?.as_str()?),
            "float" if only(&["bits", "v"]) => {
                float(fields.get("bits")?.as_str()?, fields.get("v"))
            }
            "str" if only(&["v"]) => Some(Typed::Str(fields.get("v")?.as_str()?.to_owned())),
            "bytes" if only(&["hex"]) => hex_of("hex").map(Typed::Bytes),
            "list" if only(&["v"]) => {
                let items = fields.get("v")?.as_array()?.iter();
                items
                    .map(Typed::from_value)
                    .collect::<Option<_>>()
                    .map(Typed::List)
            }
            "map" if only(&["v"]) => {
                let pairs = fields.get("v")?.as_array()?.iter();
                pairs.map(pair).collect::<Option<_>>().map(Typed::Map)
            }
            tag if only(&["version", "bytes"]) => Some(Typed::Key {
                kind: KeyKind::from_tag(tag)?,
                version: fields.get("version")?.as_u64()?,
                bytes: hex_of("bytes")?,
            }),
            _ => None,
        }
    }

    /// Writes the typed value as the vectors do.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Typed::Nil => json!({"t": "nil"}),
            Typed::Bool(v) => json!({"t": "bool", "v": v}),
            Typed::Int(v) => match i64::try_from(*v) {
                Ok(small) if v.unsigned_abs() <= LARGEST_PLAIN_INTEGER => {
                    json!({"t": "int", "v": small})
                }
                _ => json!({"t": "int", "dec": v.to_string()}),
            },
            Typed::HugeInt(digits) => json!({"t": "int", "dec": digits}),
            Typed::Float(bits) => {
                let v = f64::from_bits(*bits);
                let bits = format!("{bits:016x}");
                if v.is_finite() {
                    json!({"t": "float", "bits": bits, "v": v})
                } else {
                    json!({"t": "float", "bits": bits})
                }
            }
            Typed::Str(v) => json!({"t": "str", "v": v}),
            Typed::Bytes(v) => json!({"t": "bytes", "hex": hex::encode(v)}),
            Typed::List(items) => {
                json!({"t": "list", "v": items.iter().map(Typed::to_value).collect::<Vec<_>>()})
            }
            Typed::Map(pairs) => {
                let pairs: Vec<_> = pairs
                    .iter()
                    .map(|(k, v)| json!([k.to_value(), v.to_value()]))
                    .collect();
                json!({"t": "map", "v": pairs})
            }
            Typed::Key {
                kind,
                version,
                bytes,
            } => {
                json!({"t": kind.tag(), "version": version, "bytes": hex::encode(bytes)})
            }
        }
    }
}

fn integer(digits: &str) -> Option<Typed> {
    if let Ok(value) = digits.parse() {
        return Some(Typed::Int(value));
    }
    let magnitude = digits.strip_prefix('-').unwrap_or(digits);
    let decimal = !magnitude.is_empty() && magnitude.bytes().all(|b| b.is_ascii_digit());
    decimal.then(|| Typed::HugeInt(digits.to_owned()))
}

/// The bits decide; a `v` that contradicts them makes the value invalid.
fn float(bits: &str, value: Option<&Value>) -> Option<Typed> {
    let bits = u64::from_be_bytes(hex::decode(bits).ok()?.try_into().ok()?);
    match value {
        Some(value) if value.as_f64()?.to_bits() != bits => None,
        _ => Some(Typed::Float(bits)),
    }
}

fn pair(value: &Value) -> Option<(Typed, Typed)> {
    match value.as_array()?.as_slice() {
        [key, value] => Some((Typed::from_value(key)?, Typed::from_value(value)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trips(value: &Value) -> Typed {
        let typed = Typed::from_value(value).unwrap();
        assert_eq!(&typed.to_value(), value);
        typed
    }

    #[test]
    fn every_shape_of_the_readme_survives_a_round_trip() {
        round_trips(&json!({"t": "nil"}));
        round_trips(&json!({"t": "bool", "v": true}));
        round_trips(&json!({"t": "int", "v": -5}));
        round_trips(&json!({"t": "int", "dec": "18446744073709551615"}));
        round_trips(&json!({"t": "int", "dec": "340282366920938463463374607431768211456"}));
        round_trips(&json!({"t": "float", "bits": "41d954fc40100000", "v": 1_700_000_000.25}));
        round_trips(&json!({"t": "float", "bits": "7ff8000000000000"}));
        round_trips(&json!({"t": "str", "v": "é"}));
        round_trips(&json!({"t": "bytes", "hex": "00ff"}));
        round_trips(&json!({"t": "list", "v": [{"t": "nil"}]}));
        round_trips(
            &json!({"t": "map", "v": [[{"t": "str", "v": "b"}, {"t": "int", "v": 1}],
                                              [{"t": "str", "v": "a"}, {"t": "int", "v": 2}]]}),
        );
        let key = round_trips(&json!({"t": "kemsecret", "version": 5, "bytes": "92"}));
        assert_eq!(
            key,
            Typed::Key {
                kind: KeyKind::KemSecret,
                version: 5,
                bytes: vec![0x92]
            }
        );
    }

    #[test]
    fn integers_keep_all_their_digits() {
        assert_eq!(
            Typed::from_value(&json!({"t": "int", "dec": "18446744073709551615"})),
            Some(Typed::Int(u64::MAX.into()))
        );
        assert_eq!(
            Typed::Int(1 << 53).to_value(),
            json!({"t": "int", "v": 9_007_199_254_740_992_i64})
        );
        assert_eq!(
            Typed::Int((1 << 53) + 1).to_value(),
            json!({"t": "int", "dec": "9007199254740993"})
        );
    }

    #[test]
    fn other_shapes_are_refused() {
        for value in [
            json!(5),
            json!({"t": "nil", "v": 1}),
            json!({"t": "int", "v": 1.5}),
            json!({"t": "int", "dec": "12a"}),
            json!({"t": "float", "bits": "41d954fc40100000", "v": 1.0}),
            json!({"t": "bytes", "hex": "0"}),
            json!({"t": "bytes", "hex": "00", "note": "x"}),
            json!({"t": "map", "v": [[{"t": "nil"}]]}),
            json!({"t": "set", "v": []}),
        ] {
            assert_eq!(Typed::from_value(&value), None, "{value}");
        }
    }
}
