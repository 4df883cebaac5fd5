//! Durations as people write them, inside JSON.

use core::time::Duration;
use serde::{Deserialize, Deserializer, Serializer, de::Error};
use signet_time::{format_duration, parse_duration};
use std::borrow::Cow;

/// `"1h"` or null.
pub(crate) mod optional {
    use super::{
        Cow, Deserialize, Deserializer, Duration, Error, Serializer, format_duration, parse_duration,
    };

    #[expect(clippy::ref_option, reason = "the form that serde's `with` asks for")]
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => serializer.serialize_str(&format_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<Cow<'de, str>>::deserialize(deserializer)?
            .map(|text| parse_duration(&text).map_err(D::Error::custom))
            .transpose()
    }
}
