//! JSON that means one thing only: no member twice, bounded size and depth (RFC 8259 leaves all three open).
//!
//! Two readers that disagree about a repeated member read two different tokens. Names are compared after unescaping.

use core::fmt;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Bounds for one document.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest text.
    pub bytes_max: usize,
    /// How deep arrays and objects may nest; a lone object has depth 1.
    pub depth_max: usize,
}

/// Why a text was refused.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Longer than the limit.
    #[error("json text has {bytes} bytes, allowed are {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not JSON, a member twice in one object, or nested too deep.
    #[error("json text: {reason}")]
    Malformed {
        /// What the reader found, and where.
        reason: String,
    },
    /// JSON, but not an object.
    #[error("json text is not an object")]
    NotAnObject,
}

/// Reads one value, all of `text`.
///
/// # Errors
/// [`JsonError::TooLong`] and [`JsonError::Malformed`].
pub fn parse(text: &[u8], limits: Limits) -> Result<Value, JsonError> {
    if text.len() > limits.bytes_max {
        return Err(JsonError::TooLong {
            bytes: text.len(),
            bytes_max: limits.bytes_max,
        });
    }
    let malformed = |e: serde_json::Error| JsonError::Malformed {
        reason: e.to_string(),
    };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict {
        depth_left: limits.depth_max,
    }
    .deserialize(&mut reader)
    .map_err(malformed)?;
    reader.end().map_err(malformed)?;
    Ok(value)
}

/// Reads one object, all of `text`.
///
/// # Errors
/// As [`parse`]; [`JsonError::NotAnObject`] for other values.
pub fn parse_object(text: &[u8], limits: Limits) -> Result<Map<String, Value>, JsonError> {
    match parse(text, limits)? {
        Value::Object(map) => Ok(map),
        _ => Err(JsonError::NotAnObject),
    }
}

/// Builds a [`Value`] by itself: `Value`'s own reader lets the last of repeated members win, and gives a meaning to
/// one member name of its own.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a json value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.contains_key(&name) {
                let name = signet_fault::shown(&name, 64);
                return Err(A::Error::custom(format_args!("member `{name}` stands twice")));
            }
            let value = map.next_value_seed(inner)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        bytes_max: 4096,
        depth_max: 16,
    };

    fn read(text: &str) -> Result<Value, JsonError> {
        parse(text.as_bytes(), LIMITS)
    }

    #[test]
    fn token_j5_a_member_may_not_stand_twice_at_any_level() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"c":0,"a":1}}"#,
            r#"[{"a":1,"a":2}]"#,
            r#"{"":1,"":1}"#,
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains("stands twice"), "{error}");
        }
        assert!(read(r#"{"a":{"a":{"a":1}},"A":1}"#).is_ok());
    }

    #[test]
    fn token_j5_depth_ends_at_the_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(16)).is_ok());
        assert!(read(&nested(17)).is_err());
        assert!(read(&nested(2000)).is_err());
        let objects = format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17));
        assert!(read(&objects).is_err());
    }

    #[test]
    fn size_ends_at_the_limit() {
        let text = format!("\"{}\"", "a".repeat(4094));
        assert!(read(&text).is_ok());
        assert_eq!(
            read(&format!("{text} ")),
            Err(JsonError::TooLong {
                bytes: 4097,
                bytes_max: 4096
            })
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "{}x",
            "{} {}",
            "{'a':1}",
            "{a:1}",
            "[1,]",
            "{\"a\":1,}",
            "nul",
            "01",
            "1e999",
            "NaN",
            "\u{feff}{}",
            r#""\ud800""#,
            "\"\n\"",
            "// c\n{}",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(parse(b"\"\xff\"", LIMITS).is_err());
        assert_eq!(parse_object(b"[]", LIMITS), Err(JsonError::NotAnObject));
        assert_eq!(parse_object(b" {} ", LIMITS), Ok(Map::new()));
    }

    /// serde_json keeps this name for itself and would read the text behind it as JSON, past all our limits.
    #[test]
    fn no_member_name_has_a_meaning_of_its_own() {
        for name in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            let text = format!(r#"{{"{name}":"{{\"a\":1,\"a\":2}}"}}"#);
            let Value::Object(map) = read(&text).unwrap() else {
                panic!("an object");
            };
            assert!(map[name].is_string());
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[\[\]{}",:0-9a-e.\\u -]{0,60}"#) {
            let _ = parse(&bytes, LIMITS);
            let _ = parse(text.as_bytes(), LIMITS);
        }

        #[test]
        fn what_reads_is_what_serde_json_reads(text in r#"[\[\]{}",:0-9a-e -]{0,24}"#) {
            if let Ok(value) = read(&text) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            }
        }
    }
}
