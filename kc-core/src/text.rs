//! Text for people: counted nouns, and errors with their sources.

use std::error::Error;
use std::fmt::Display;

/// Returns a number and a noun: `1 data key`, `2 data keys`. The plural of the noun must be the noun and an `s`.
#[must_use]
pub fn counted<N: Display + From<u8> + PartialEq>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Returns the text of an error and of its sources, separated by colons. Leaves out a source whose text is part of the
/// text before it, because many errors include the text of their source.
#[must_use]
pub fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{BackendError, BackendErrorKind};

    #[test]
    fn one_thing_has_no_plural() {
        let keys = [0_usize, 1, 2].map(|number| counted(number, "data key"));
        assert_eq!(keys, ["0 data keys", "1 data key", "2 data keys"]);
    }

    #[test]
    fn each_source_appears_once() {
        let cause = |text: &'static str| std::io::Error::other(text);
        let error = BackendError::new(BackendErrorKind::Unreachable, "send to t");
        let shown = with_sources(&error.clone().with_source(cause("connection refused")));
        assert_eq!(shown, "send to t: no broker answers: connection refused");
        let repeated = with_sources(&error.with_source(cause("no broker answers")));
        assert_eq!(repeated, "send to t: no broker answers");
    }
}
