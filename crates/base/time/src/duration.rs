use core::time::Duration;

/// Why a written duration was refused.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No digits, or no unit, or something else around them.
    #[error("`{text}` is not a duration: write a whole number and a unit, such as 90s, 5m, 1h or 30d")]
    Malformed {
        /// What was written.
        text: String,
    },
    /// More than [`Duration`] or the calendar can hold.
    #[error("`{text}` is longer than 100 years")]
    TooLong {
        /// What was written.
        text: String,
    },
}

/// The units that a duration may be written in, and their milliseconds.
pub const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("ms", 1),
    ("m", 60_000),
    ("s", 1_000),
];

const MILLIS_MAX: u64 = 100 * 366 * 86_400_000;

/// Reads `90s`, `5m`, `1h`, `30d` or `250ms`.
///
/// # Errors
/// [`DurationError::Malformed`] for anything else, [`DurationError::TooLong`] beyond 100 years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed {
        text: signet_fault::shown(text, 64),
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = DURATION_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, ms)| *ms)
        .ok_or_else(malformed)?;
    if number.is_empty() {
        return Err(malformed());
    }
    let too_long = || DurationError::TooLong {
        text: signet_fault::shown(text, 64),
    };
    let millis = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit_ms))
        .ok_or_else(too_long)?;
    if millis > MILLIS_MAX {
        Err(too_long())
    } else {
        Ok(Duration::from_millis(millis))
    }
}

/// Writes a duration in the largest unit that divides it; `parse_duration` reads it back.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let (unit, unit_ms) = DURATION_UNITS
        .iter()
        .filter(|(_, ms)| millis.is_multiple_of(*ms))
        .max_by_key(|(_, ms)| *ms)
        .copied()
        .unwrap_or(("ms", 1));
    format!("{}{unit}", millis / unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_read() {
        for (text, secs) in [
            ("0s", 0),
            ("90s", 90),
            ("5m", 300),
            ("1h", 3_600),
            ("30d", 2_592_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "", "5", "h", "5 m", " 5m", "5m ", "-5m", "1.5h", "5M", "1h30m", "5mm", "٣s",
        ] {
            assert!(
                matches!(parse_duration(text), Err(DurationError::Malformed { .. })),
                "{text}"
            );
        }
        for text in ["99999999999999999999s", "40000d"] {
            assert!(
                matches!(parse_duration(text), Err(DurationError::TooLong { .. })),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0..MILLIS_MAX) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
