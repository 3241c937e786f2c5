use std::io::Write;

/// The messages of the demonstration: readable text, each one different, made from its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Messages {
    pub(super) count: usize,
    pub(super) size: usize,
}

/// What all messages contain, to look for at the broker.
pub(super) const PHRASE: &[u8] = b"the quick brown fox";

impl Messages {
    /// The message with this number, from 0.
    pub(super) fn nth(&self, number: usize) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.size + 64);
        // Writing to memory cannot fail.
        let _ = write!(message, "message {} of {}: ", number + 1, self.count);
        while message.len() < self.size {
            message.extend_from_slice(PHRASE);
            message.push(b' ');
        }
        message.truncate(self.size);
        message
    }

    /// How many bytes they are together.
    pub(super) fn bytes(&self) -> usize {
        self.count * self.size
    }
}

/// Whether a record shows any of the text: the phrase, or what every message begins with.
pub(super) fn is_readable(record: &[u8]) -> bool {
    let contains = |text: &[u8]| record.windows(text.len()).any(|window| window == text);
    contains(PHRASE) || contains(b"message ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_size_differ_and_are_readable() {
        for size in [16, 100, 1024] {
            let messages = Messages { count: 3, size };
            assert_eq!(messages.nth(0).len(), size);
            assert_ne!(messages.nth(0), messages.nth(1));
            assert!(is_readable(&messages.nth(2)));
        }
        assert!(!is_readable(&[0x93; 100]));
    }
}
