use crate::UnixTime;
use core::fmt;

/// A day in UTC, from 1970-01-01 to 2149-06-06. Shown and read as RFC 3339 writes a full date: `2026-11-26`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u16);

impl Day {
    /// The day that so many days lie before, counted from 1970-01-01.
    #[must_use]
    pub const fn from_number(days: u16) -> Self {
        Self(days)
    }

    /// How many days lie between it and 1970-01-01.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The day that `time` is of; the last one there is for what comes later.
    #[must_use]
    pub fn of(time: UnixTime) -> Self {
        Self(u16::try_from(time.as_secs() / SECS).unwrap_or(u16::MAX))
    }

    /// Its first moment.
    #[must_use]
    pub fn begin(self) -> UnixTime {
        UnixTime::from_secs(u64::from(self.0) * SECS)
    }

    /// How many days after `earlier` it is; 0 if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u16 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = self.begin().to_string();
        f.write_str(begin.split('T').next().unwrap_or_default())
    }
}

impl serde::Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let begin = UnixTime::parse_rfc3339(&format!("{text}T00:00:00Z"));
        let day = begin.map(Self::of).map_err(serde::de::Error::custom)?;
        // One spelling for one day, and none that lies beyond the last.
        if day.to_string() == text {
            Ok(day)
        } else {
            Err(serde::de::Error::custom("not a day such as 2026-11-26"))
        }
    }
}

const SECS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let time = UnixTime::parse_rfc3339("2026-11-26T23:59:59.999Z").unwrap();
        let day = Day::of(time);
        assert_eq!(day.to_string(), "2026-11-26");
        assert_eq!(day.begin().to_string(), "2026-11-26T00:00:00Z");
        assert_eq!(Day::of(UnixTime::from_millis(time.as_millis() + 1)).since(day), 1);
        assert_eq!(day.since(Day::from_number(day.number() + 9)), 0);
        assert_eq!(
            Day::of(UnixTime::from_secs(u64::MAX / 1_000)),
            Day::from_number(u16::MAX)
        );
        assert_eq!(Day::from_number(u16::MAX).to_string(), "2149-06-06");
    }

    #[test]
    fn what_is_shown_is_read_and_nothing_else() {
        let read = |text: &str| -> Result<Day, serde::de::value::Error> {
            serde::Deserialize::deserialize(serde::de::IntoDeserializer::into_deserializer(text))
        };
        assert_eq!(read("2026-11-26").unwrap().to_string(), "2026-11-26");
        for bad in [
            "",
            "2026-11-31",
            "2026-1-1",
            "2149-06-07",
            "2026-11-26T00:00:00Z",
            "1969-12-31",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
