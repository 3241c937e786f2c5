use std::time::Duration;

/// `500ms`, `20s`, `2m`, `7d`, and sums of them such as `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and a unit: 500ms, 20s, 2m, 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, expected) in [
            ("500ms", Duration::from_millis(500)),
            ("20s", Duration::from_secs(20)),
            ("2m", Duration::from_secs(120)),
            ("7d", Duration::from_secs(604_800)),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(duration(text), Ok(expected));
        }
        for text in ["", "20", "-1s", "1 fortnight"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
