//! Format-preserving encryption: FF1 of NIST SP 800-38G with AES-256. A card number becomes a card number.
//!
//! The tweak is the topic and the path, or the name of the join, and the digits that stay readable. FF1 does not
//! authenticate: a changed or moved result decrypts to another value, unnoticed.

use std::collections::HashMap;
use std::fmt;

use aes::Aes256;
use async_trait::async_trait;
use fpe::ff1::{FF1, FlexibleNumeralString};
use kc::core::secret::Secret;

use super::{Engine, Field, scope};
use crate::error::Fault;
use crate::json::{quote, string};
use crate::keys::{KEY_BYTES, derive};
use crate::rules::Format;

/// The number of possible values below which FF1 is not secure (SP 800-38G rev. 1).
const MIN_DOMAIN: f64 = 1e6;
/// The maximum number of encrypted characters: the work grows with the square of it.
const MAX_LENGTH: usize = 512;
/// The numbers of digits of card numbers (ISO/IEC 7812).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;
/// One of ten numbers has a valid check digit, so that the probability of more steps is below 10^-45.
const MAX_STEPS: usize = 1000;

/// The engine of format-preserving encryption.
pub(crate) struct Fpe {
    ff1: FF1<Aes256>,
    alphabet: Alphabet,
    /// Whether the text is a card number.
    is_card: bool,
    /// The number of digits at the end that stay readable.
    keep_last: usize,
    /// Whether card numbers have and keep a valid check digit.
    luhn: bool,
    join: Option<String>,
}

struct Alphabet {
    letters: Vec<char>,
    places: HashMap<char, u16>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Encrypt,
    Decrypt,
}

impl Fpe {
    /// Returns `None` if the alphabet is too small or too large for FF1.
    pub(crate) fn new(
        key: &Secret<KEY_BYTES>,
        format: &Format,
        keep_last: usize,
        luhn: bool,
        join: Option<String>,
    ) -> Option<Self> {
        let (letters, is_card) = match format {
            Format::Card => (('0'..='9').collect(), true),
            Format::Alphabet(letters) => (letters.clone(), false),
        };
        let key: Secret<KEY_BYTES> = derive(key, "fpe ff1");
        Some(Self {
            ff1: FF1::new(key.expose(), u32::try_from(letters.len()).ok()?).ok()?,
            alphabet: Alphabet::new(letters),
            is_card,
            keep_last,
            luhn,
            join,
        })
    }

    fn convert(&self, field: &Field<'_>, direction: Direction) -> Result<String, Fault> {
        let text = string(field.value).ok_or_else(|| unfit("it is not a string"))?;
        let mut letters: Vec<char> = text.chars().collect();
        let mut places = Vec::new();
        let mut numerals = Vec::new();
        for (place, letter) in letters.iter().enumerate() {
            match self.alphabet.places.get(letter) {
                Some(numeral) => {
                    places.push(place);
                    numerals.push(*numeral);
                }
                None if self.is_card && !matches!(letter, ' ' | '-') => {
                    return Err(unfit("a card number has only digits, spaces and hyphens"));
                }
                None => {}
            }
        }
        let numerals = self.permute(numerals, scope(field, self.join.as_deref()), direction)?;
        for (place, numeral) in places.into_iter().zip(numerals) {
            let letter = self.alphabet.letters.get(usize::from(numeral));
            if let (Some(place), Some(letter)) = (letters.get_mut(place), letter) {
                *place = *letter;
            }
        }
        Ok(quote(&letters.into_iter().collect::<String>()))
    }

    /// Encrypts or decrypts numerals, apart from those at the end that stay readable.
    fn permute(
        &self,
        numerals: Vec<u16>,
        mut tweak: Vec<u8>,
        direction: Direction,
    ) -> Result<Vec<u16>, Fault> {
        if self.is_card && !CARD_DIGITS.contains(&numerals.len()) {
            return Err(unfit("a card number has 12 to 19 digits"));
        }
        if self.luhn && !has_valid_check_digit(&numerals) {
            return Err(unfit("the check digit of the card number is wrong"));
        }
        let mut hidden = numerals;
        let kept = hidden.split_off(hidden.len().saturating_sub(self.keep_last));
        if hidden.len() > MAX_LENGTH {
            return Err(unfit("more than 512 characters are to be encrypted"));
        }
        let radix = f64::from(u32::try_from(self.alphabet.letters.len()).unwrap_or(u32::MAX));
        let length = i32::try_from(hidden.len()).unwrap_or(i32::MAX);
        let domain = radix.powi(length) / if self.luhn { 10.0 } else { 1.0 };
        if domain < MIN_DOMAIN {
            return Err(unfit(
                "fewer than a million values are possible, so that trying them all would be easy",
            ));
        }
        tweak.extend(kept.iter().flat_map(|numeral| numeral.to_be_bytes()));
        for _ in 0..MAX_STEPS {
            let input = FlexibleNumeralString::from(hidden);
            let output = match direction {
                Direction::Encrypt => self.ff1.encrypt(&tweak, &input),
                Direction::Decrypt => self.ff1.decrypt(&tweak, &input),
            };
            hidden = output.map_err(|error| unfit(&error.to_string()))?.into();
            let mut whole = hidden.clone();
            whole.extend_from_slice(&kept);
            if !self.luhn || has_valid_check_digit(&whole) {
                return Ok(whole);
            }
        }
        Err(unfit("no result with a valid check digit was found"))
    }
}

#[async_trait]
impl Engine for Fpe {
    async fn encrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let convert = |field| self.convert(field, Direction::Encrypt);
        fields.iter().map(convert).collect()
    }

    async fn decrypt(&self, fields: &[Field<'_>]) -> Vec<Result<String, Fault>> {
        let convert = |field| self.convert(field, Direction::Decrypt);
        fields.iter().map(convert).collect()
    }
}

impl Alphabet {
    fn new(letters: Vec<char>) -> Self {
        let places = letters.iter().copied().zip(0..=u16::MAX).collect();
        Self { letters, places }
    }
}

impl fmt::Debug for Fpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fpe")
            .field("radix", &self.alphabet.letters.len())
            .field("is_card", &self.is_card)
            .finish_non_exhaustive()
    }
}

fn unfit(reason: &str) -> Fault {
    Fault::Unfit(reason.to_owned())
}

/// Returns whether the last digit is the check digit of the others (ISO/IEC 7812, the algorithm of Luhn).
fn has_valid_check_digit(digits: &[u16]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples 7 to 9 of NIST's examples of FF1 have a key of 32 bytes, samples 1 to 3 one of 16.
    #[test]
    fn nist_samples() {
        let key = hex("2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94");
        let ten = hex("39383736353433323130");
        let eleven = hex("3737373770717273373737");
        let letters = "0123456789abcdefghijklmnopqrstuvwxyz";
        for (radix, tweak, plain, cipher) in [
            (10, &[][..], "0123456789", "6657667009"),
            (10, &ten, "0123456789", "1001623463"),
            (36, &eleven, "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
        ] {
            let numerals = |text: &str| -> Vec<u16> {
                let place = |letter| u16::try_from(letters.find(letter).unwrap()).unwrap();
                text.chars().map(place).collect()
            };
            let ff1 = FF1::<Aes256>::new(&key, radix).unwrap();
            let encrypted = ff1
                .encrypt(tweak, &FlexibleNumeralString::from(numerals(plain)))
                .unwrap();
            assert_eq!(Vec::<u16>::from(encrypted), numerals(cipher));
            let decrypted = ff1
                .decrypt(tweak, &FlexibleNumeralString::from(numerals(cipher)))
                .unwrap();
            assert_eq!(Vec::<u16>::from(decrypted), numerals(plain));
        }
        let short = hex("2B7E151628AED2A6ABF7158809CF4F3C");
        let ff1 = FF1::<aes::Aes128>::new(&short, 10).unwrap();
        let digits: Vec<u16> = (0..10).collect();
        let encrypted = ff1
            .encrypt(&[], &FlexibleNumeralString::from(digits))
            .unwrap();
        assert_eq!(Vec::<u16>::from(encrypted), [2, 4, 3, 3, 4, 7, 7, 4, 8, 4]);
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn engine(format: &Format, keep_last: usize, luhn: bool) -> Fpe {
        let key = Secret::from_slice(&[7; 32]).unwrap();
        Fpe::new(&key, format, keep_last, luhn, None).unwrap()
    }

    fn field<'a>(topic: &'a str, value: &'a str) -> Field<'a> {
        Field {
            topic,
            path: "$.a",
            bind: None,
            value,
        }
    }

    fn digits(text: &str) -> Vec<u16> {
        let digits = text.chars().filter_map(|letter| letter.to_digit(10));
        digits.map(|digit| u16::try_from(digit).unwrap()).collect()
    }

    #[test]
    fn card_numbers_keep_form_last_digits_and_check_digit() {
        let engine = engine(&Format::Card, 4, true);
        for card in [
            "\"4111-1111-1111-1111\"",
            "\"5500 0000 0000 0004\"",
            "\"340000000000009\"",
        ] {
            let token = engine
                .convert(&field("t", card), Direction::Encrypt)
                .unwrap();
            assert_ne!(token, card);
            assert_eq!(token.len(), card.len());
            assert_eq!(token[token.len() - 5..], card[card.len() - 5..]);
            assert!(has_valid_check_digit(&digits(&token)), "{token}");
            let separators = |text: &str| -> Vec<bool> {
                text.chars().map(|letter| letter.is_ascii_digit()).collect()
            };
            assert_eq!(separators(&token), separators(card));
            let back = engine
                .convert(&field("t", &token), Direction::Decrypt)
                .unwrap();
            assert_eq!(back, card);
            let moved = engine
                .convert(&field("u", &token), Direction::Decrypt)
                .unwrap();
            assert_ne!(moved, card);
        }
    }

    #[test]
    fn walking_is_a_permutation_of_valid_numbers() {
        let engine = engine(&Format::Card, 0, true);
        let mut tokens = std::collections::BTreeSet::new();
        let valid = (0..500).map(|number| format!("\"{:012}\"", 400_000_000_000_u64 + number));
        let valid: Vec<_> = valid
            .filter(|text| has_valid_check_digit(&digits(text)))
            .collect();
        for card in &valid {
            let token = engine
                .convert(&field("t", card), Direction::Encrypt)
                .unwrap();
            assert_eq!(
                engine
                    .convert(&field("t", &token), Direction::Decrypt)
                    .as_ref(),
                Ok(card)
            );
            tokens.insert(token);
        }
        assert_eq!((tokens.len(), valid.len()), (50, 50));
    }

    #[test]
    fn what_cannot_be_hidden_is_refused() {
        let (strict, plain) = (
            engine(&Format::Card, 4, true),
            engine(&Format::Card, 0, false),
        );
        let words = engine(&Format::Alphabet(('0'..='9').collect()), 0, false);
        for (engine, value) in [
            (&strict, "\"4111-1111-1111-1112\""),
            (&strict, "\"4111x1111x1111x1111\""),
            (&plain, "\"41111111111\""),
            (&plain, "\"41111111111111111111\""),
            (&words, "\"12345\""),
            (&words, "\"none\""),
            (&words, "\"\""),
        ] {
            let fault = engine
                .convert(&field("t", value), Direction::Encrypt)
                .unwrap_err();
            assert!(matches!(fault, Fault::Unfit(_)), "{value}: {fault}");
        }
        let long = format!("\"{}\"", "1".repeat(MAX_LENGTH + 1));
        assert!(
            words
                .convert(&field("t", &long), Direction::Encrypt)
                .is_err()
        );
    }

    #[test]
    fn letters_outside_the_alphabet_stay() {
        let engine = engine(
            &Format::Alphabet("0123456789äöü".chars().collect()),
            0,
            false,
        );
        let value = "\"+49 (30) äöü-123456\"";
        let token = engine
            .convert(&field("t", value), Direction::Encrypt)
            .unwrap();
        let stay = |text: &str| -> String {
            text.chars()
                .map(|c| if "+ ()-\"".contains(c) { c } else { '_' })
                .collect()
        };
        assert_eq!(stay(&token), stay(value));
        assert_eq!(
            engine
                .convert(&field("t", &token), Direction::Decrypt)
                .unwrap(),
            value
        );
    }
}
