//! Numbers as Python's `int()`, `float()` and `repr()` read and write them.

use super::Value;

/// `[+-]digits`, single underscores between digits.
pub(super) fn parse_int(text: &str) -> Option<Value> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let joined = join_digits(unsigned)?;
    if joined.is_empty() || !joined.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = joined.trim_start_matches('0');
    let canonical = match (negative, digits) {
        (_, "") => "0".to_owned(),
        (false, digits) => digits.to_owned(),
        (true, digits) => format!("-{digits}"),
    };
    Some(
        canonical
            .parse()
            .map_or(Value::BigInt(canonical), Value::Int),
    )
}

/// Decimal notation with optional exponent, `inf`, `infinity` and `nan` in any case.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    join_digits(text)?.parse().ok()
}

/// Drops underscores; `None` if one is not between two digits.
fn join_digits(text: &str) -> Option<String> {
    let mut joined = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut after_digit = false;
    while let Some(character) = characters.next() {
        if character == '_' {
            let before_digit = characters.peek().is_some_and(char::is_ascii_digit);
            if !(after_digit && before_digit) {
                return None;
            }
        } else {
            joined.push(character);
        }
        after_digit = character.is_ascii_digit();
    }
    Some(joined)
}

/// The shortest text that reads back the same: positional from 1e-4 up to below 1e16, else with an exponent of
/// at least two digits.
pub(super) fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(small) if number == 0.0 || (-4..16).contains(&small) => format!("{number:?}"),
        Ok(power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", power.unsigned_abs())
        }
        Err(_) => scientific,
    }
}
