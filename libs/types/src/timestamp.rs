//! Instants as whole milliseconds since the Unix epoch: the resolution the contract promises, and one `i64` in any store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant, in milliseconds since 1970-01-01T00:00:00Z, between the years 1 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Why a value is not a [`Timestamp`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// The text is not an RFC 3339 date and time with an offset.
    #[error("must be an RFC 3339 time with an offset, for example 2026-03-02T15:00:00Z")]
    Malformed,
    /// The instant lies outside the years 1 to 9999.
    #[error("must lie between the years 1 and 9999")]
    OutOfRange,
}

impl Timestamp {
    /// The first representable instant, 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// The last representable instant, 9999-12-31T23:59:59.999Z, less the day that time zones may need.
    pub const MAX: Self = Self(253_402_207_199_999);

    /// Returns the instant `millis` milliseconds after the epoch.
    ///
    /// # Errors
    /// [`TimestampError::OutOfRange`] outside the years 1 to 9999.
    pub fn from_millis(millis: i64) -> Result<Self, TimestampError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&millis) { Ok(Self(millis)) } else { Err(TimestampError::OutOfRange) }
    }

    /// Returns the instant `seconds` seconds after the epoch; fractions below a millisecond are dropped.
    ///
    /// # Errors
    /// [`TimestampError::OutOfRange`] for NaN, infinities and anything outside the years 1 to 9999.
    pub fn from_seconds_f64(seconds: f64) -> Result<Self, TimestampError> {
        let millis = (seconds * 1000.0).floor();
        if millis.is_finite() && millis >= Self::MIN.0 as f64 && millis <= Self::MAX.0 as f64 {
            Ok(Self(millis as i64))
        } else {
            Err(TimestampError::OutOfRange)
        }
    }

    /// Returns milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns whole seconds since the epoch, rounded towards the past.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns this instant moved by `millis`, held within the representable range.
    pub fn saturating_add_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis).clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Returns the milliseconds from `earlier` to this instant; negative when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with exactly three decimals, as the contract asks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| TimestampError::Malformed)?;
        Self::from_millis(instant.as_millisecond())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_three_decimals_and_reads_them_back() {
        let instant = Timestamp::from_millis(1_772_463_600_000).unwrap();
        assert_eq!(instant.to_string(), "2026-03-02T15:00:00.000Z");
        assert_eq!("2026-03-02T16:00:00.0004+01:00".parse(), Ok(instant));
    }

    #[test]
    fn refuses_text_without_an_offset_and_absurd_numbers() {
        assert_eq!("2026-03-02T15:00:00".parse::<Timestamp>(), Err(TimestampError::Malformed));
        assert_eq!(Timestamp::from_seconds_f64(f64::NAN), Err(TimestampError::OutOfRange));
        assert_eq!(Timestamp::from_millis(i64::MAX), Err(TimestampError::OutOfRange));
    }

    #[test]
    fn every_bound_prints_and_parses() {
        for bound in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(bound.to_string().parse(), Ok(bound));
        }
    }
}
