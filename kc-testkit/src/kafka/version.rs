use std::fmt;
use std::str::FromStr;

use super::KafkaError;

/// A version of Apache Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 4.4.0.
    V4,
    /// 3.9.2, the last series that speaks the oldest protocol versions.
    V3_9,
}

impl Version {
    /// All versions.
    pub const ALL: [Self; 2] = [Self::V4, Self::V3_9];

    /// Returns the full version number.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "4.4.0",
            Self::V3_9 => "3.9.2",
        }
    }

    /// Returns the short version number, as used in commands.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::V4 => "4",
            Self::V3_9 => "3.9",
        }
    }
}

impl FromStr for Version {
    type Err = KafkaError;

    /// Parses the short or the full version number.
    fn from_str(text: &str) -> Result<Self, KafkaError> {
        Self::ALL
            .into_iter()
            .find(|version| text == version.short() || text == version.as_str())
            .ok_or_else(|| KafkaError::UnknownVersion(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_short_and_full() {
        for (text, version) in [
            ("4", Version::V4),
            ("4.4.0", Version::V4),
            ("3.9", Version::V3_9),
            ("3.9.2", Version::V3_9),
        ] {
            assert_eq!(text.parse::<Version>().unwrap(), version);
        }
        for text in ["", "3", "4.4", "4.4.0 "] {
            let error = text.parse::<Version>().unwrap_err();
            assert!(matches!(error, KafkaError::UnknownVersion(unknown) if unknown == text));
        }
    }
}
