//! Finds secrets in texts, in all forms in which a program may print them.

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns known bytes that are unlike all other data.
pub(crate) fn known<const N: usize>(tag: u8) -> [u8; N] {
    let mut state = u32::from(tag) | 0x9e37_7900;
    std::array::from_fn(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
}

/// Returns the first form in which a part of a secret, of `window` bytes, is in a text.
pub(crate) fn leak(text: &str, secret: &[u8], window: usize) -> Option<String> {
    let text = Text::new(text);
    forms(secret, window).find(|form| text.holds(form))
}

/// A text, and the same text without the line breaks that `{:#?}` puts between the elements of a list.
struct Text {
    plain: String,
    on_one_line: String,
}

impl Text {
    fn new(text: &str) -> Self {
        let words: Vec<_> = text.split_whitespace().collect();
        Self {
            plain: text.to_owned(),
            on_one_line: words.join(" "),
        }
    }

    fn holds(&self, form: &str) -> bool {
        self.plain.contains(form) || self.on_one_line.contains(form)
    }
}

/// Returns all forms of all parts of a secret with this number of bytes.
fn forms(secret: &[u8], window: usize) -> impl Iterator<Item = String> {
    secret.windows(window).flat_map(|part| {
        let joined = |show: fn(&u8) -> String, between: &str| {
            part.iter().map(show).collect::<Vec<_>>().join(between)
        };
        let mut forms = vec![
            joined(|byte| format!("{byte:02x}"), ""),
            joined(|byte| format!("{byte:02X}"), ""),
            joined(u8::to_string, ", "),
            joined(|byte| format!("0x{byte:02x}"), ", "),
            joined(|byte| format!("{byte:02x}"), ", "),
            part.escape_ascii().to_string(),
            String::from_utf8_lossy(part).into_owned(),
        ];
        forms.extend((0..3).map(|before| base64_of(part, before)));
        forms
    })
}

/// Returns the characters of base64 that depend on these bytes only, if `before` bytes precede them.
fn base64_of(part: &[u8], before: usize) -> String {
    let bit = |index: usize| part[index / 8] >> (7 - index % 8) & 1;
    let first = (6 - before * 8 % 6) % 6;
    let starts = (first..).step_by(6);
    let whole = starts.take_while(|start| start + 6 <= part.len() * 8);
    whole
        .map(|start| (start..start + 6).fold(0, |value, index| value << 1 | bit(index)))
        .map(|value| char::from(BASE64[usize::from(value)]))
        .collect()
}

#[test]
fn leaks_are_found_in_every_form() {
    let secret: [u8; 12] = known(1);
    let text = "a text with umlauts: äöü";
    assert_eq!(leak(text, &secret, 4), None);
    let part = &secret[3..9];
    let as_text = b"hunter2!";
    for shown in [
        format!("{part:?}"),
        format!("{part:#?}"),
        format!("{part:02x?}"),
        part.iter().map(|byte| format!("{byte:02x}")).collect(),
        part.escape_ascii().to_string(),
        // The base64 of the byte 00 and the part: `AA` and the following characters.
        base64_of(part, 1),
    ] {
        assert!(leak(&format!("<{shown}>"), &secret, 4).is_some(), "{shown}");
    }
    assert!(leak("password: nter2", as_text, 4).is_some());
    // The output of an encoder: base64 of "hunter2!" and of "xhunter2!".
    for encoded in ["aHVudGVyMiE=", "eGh1bnRlcjIh", "eHhodW50ZXIyIQ=="] {
        assert!(leak(encoded, as_text, 4).is_some(), "{encoded}");
    }
}
