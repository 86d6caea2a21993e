//! Times and durations.

use std::borrow::Cow;

use colloquy_types::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

/// A time, or `null`: RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Option<Timestamp>);

impl From<Option<prost_types::Timestamp>> for Time {
    fn from(given: Option<prost_types::Timestamp>) -> Self {
        Self(given.and_then(|given| {
            let millis = given.seconds.checked_mul(1000)?.checked_add(i64::from(given.nanos) / 1_000_000)?;
            Timestamp::from_millis(millis).ok()
        }))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("A time, or `null`: RFC 3339 in UTC with milliseconds."))
            .examples(["2026-03-02T15:00:00.000Z"])
            .into()
    }
}

impl ToSchema for Time {
    fn name() -> Cow<'static, str> {
        "Time".into()
    }
}

/// Returns `time` as a message has it.
pub(crate) fn to_message(time: Timestamp) -> prost_types::Timestamp {
    let millis = time.as_millis();
    prost_types::Timestamp { seconds: millis.div_euclid(1000), nanos: (millis.rem_euclid(1000) * 1_000_000) as i32 }
}

/// Returns milliseconds as seconds.
pub(crate) fn seconds(millis: Option<i64>) -> Option<f64> {
    millis.map(|millis| millis as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_survive_the_message() {
        for millis in [-1, 0, 1, 1_772_463_600_123] {
            let time = Timestamp::from_millis(millis).unwrap();
            assert_eq!(Time::from(Some(to_message(time))), Time(Some(time)));
        }
    }
}
