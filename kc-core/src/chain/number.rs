use crate::types::Timestamp;
use crate::wire::{Value, WireError, Writer};

/// The last time at which a certificate is valid, in seconds since the epoch; 0 means without end.
/// Remembers whether it was written as an integer or a float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxAge {
    /// Whole seconds.
    Int(i128),
    /// Seconds with fractions; finite.
    Float(f64),
}

impl MaxAge {
    /// Valid without end.
    pub const UNLIMITED: Self = Self::Int(0);

    /// Valid until `time`.
    #[must_use]
    pub fn until(time: Timestamp) -> Self {
        Self::Float(time.as_secs())
    }

    /// Reads an integer or a float.
    ///
    /// # Errors
    /// [`WireError::Expected`] for other types and for floats that are not finite.
    pub fn from_value(value: &Value<'_>) -> Result<Self, WireError> {
        match value {
            Value::Int(secs) => Ok(Self::Int(*secs)),
            Value::Float(secs) if secs.is_finite() => Ok(Self::Float(*secs)),
            _ => Err(WireError::Expected("a time")),
        }
    }

    /// Whether there is no end.
    #[must_use]
    pub fn is_unlimited(self) -> bool {
        self.secs() == 0.0
    }

    /// Whether the end has come: strictly before `now`.
    #[must_use]
    pub fn is_over(self, now: Timestamp) -> bool {
        !self.is_unlimited() && self.secs() < now.as_secs()
    }

    /// The end as a time; `None` if there is none.
    #[must_use]
    pub fn timestamp(self) -> Option<Timestamp> {
        if self.is_unlimited() {
            None
        } else {
            Timestamp::from_secs(self.secs())
        }
    }

    /// The earlier end of two; of two that are the same, this one.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }

    /// Whether this end comes before another.
    #[must_use]
    pub fn is_before(self, other: Self) -> bool {
        !self.is_unlimited() && (other.is_unlimited() || self.secs() < other.secs())
    }

    /// Writes it as it was read.
    pub fn write_to(self, writer: &mut Writer) {
        match self {
            Self::Int(secs) => writer.value(&Value::Int(secs)),
            Self::Float(secs) => writer.float(secs),
        };
    }

    #[expect(clippy::cast_precision_loss, reason = "times fit a double's 53 bits")]
    pub(super) fn secs(self) -> f64 {
        match self {
            Self::Int(secs) => secs as f64,
            Self::Float(secs) => secs,
        }
    }
}
