//! A `serde` deserializer over a parsed TOML tree that goes on after a mistake.
//!
//! `serde` stops at the first error. So the tree is read again and again, each time without the values already known
//! to be wrong, until a pass finds nothing new. Unknown keys never reach `serde`: a struct's known ones are what its
//! `Deserialize` names, and the others are reported here.

use crate::{Problem, Report, nearest};
use core::ops::Range;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads the whole tree. `None` where mistakes leave no value; they are all in `report` then.
pub(crate) fn read<T: DeserializeOwned>(tree: &Spanned<DeTable<'_>>, report: &mut Report<'_>) -> Option<T> {
    let mut wrong = BTreeSet::new();
    loop {
        let pass = Pass {
            wrong: &wrong,
            unknown: RefCell::default(),
        };
        let root = Node {
            pass: &pass,
            path: Vec::new(),
            span: 0..0,
            value: Value::Table(tree.get_ref()),
        };
        let outcome = T::deserialize(root);
        for (path, (span, problem)) in pass.unknown.into_inner() {
            report.add(shown(&path), span, problem);
        }
        let fault = match outcome {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        let (path, span) = fault.at.unwrap_or_default();
        match fault.cause {
            Cause::Missing(name) => {
                let mut field = path.clone();
                field.push(name.to_owned());
                // A required value that was found wrong is missing in the next pass: said already.
                if !wrong.contains(&field) {
                    report.add(shown(&path), span, Problem::MissingKey(name.to_owned()));
                }
            }
            Cause::Value(text) => report.add(shown(&path), span, Problem::Value(text)),
        }
        // The root itself being wrong, or a path that was taken out already, leaves nothing to go on with.
        if path.is_empty() || report.is_full() || !wrong.insert(path) {
            return None;
        }
    }
}

/// Keys from the root; an array's element is `[n]`.
type Path = Vec<String>;

fn shown(path: &[String]) -> String {
    path.join(".").replace(".[", "[")
}

struct Pass<'p> {
    wrong: &'p BTreeSet<Path>,
    unknown: RefCell<BTreeMap<Path, (Range<usize>, Problem)>>,
}

enum Value<'v> {
    Table(&'v DeTable<'v>),
    Other(&'v DeValue<'v>),
}

struct Node<'p, 'v> {
    pass: &'p Pass<'p>,
    path: Path,
    span: Range<usize>,
    value: Value<'v>,
}

impl<'p, 'v> Node<'p, 'v> {
    fn child(&self, name: String, key_span: Option<Range<usize>>, value: &'v Spanned<DeValue<'v>>) -> Self {
        let mut path = self.path.clone();
        path.push(name);
        Self {
            pass: self.pass,
            path,
            span: key_span.unwrap_or_else(|| value.span()),
            value: match value.get_ref() {
                DeValue::Table(table) => Value::Table(table),
                other => Value::Other(other),
            },
        }
    }

    fn is_wrong(&self) -> bool {
        self.pass.wrong.contains(&self.path)
    }

    fn fields(&self, table: &'v DeTable<'v>) -> Vec<(String, Self)> {
        table
            .iter()
            .map(|(name, value)| {
                let text = name.get_ref().to_string();
                (text.clone(), self.child(text, Some(name.span()), value))
            })
            .filter(|(_, node)| !node.is_wrong())
            .collect()
    }

    fn located<T>(path: Path, span: Range<usize>, outcome: Result<T, Fault>) -> Result<T, Fault> {
        outcome.map_err(|mut fault| {
            fault.at.get_or_insert((path, span));
            fault
        })
    }

    fn visit_table<'de, V: Visitor<'de>>(
        self,
        table: &'v DeTable<'v>,
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let mut fields = self.fields(table);
        if let Some(known) = known {
            fields.retain(|(name, node)| {
                let is_known = known.contains(&name.as_str());
                if !is_known {
                    let problem = Problem::UnknownKey {
                        nearest: nearest(name, known.iter().copied()),
                        known,
                    };
                    self.pass
                        .unknown
                        .borrow_mut()
                        .insert(node.path.clone(), (node.span.clone(), problem));
                }
                is_known
            });
        }
        let outcome = visitor.visit_map(Fields {
            rest: fields.into_iter(),
            next: None,
        });
        Self::located(self.path, self.span, outcome)
    }
}

impl<'de> de::Deserializer<'de> for Node<'_, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = match self.value {
            Value::Table(table) => return self.visit_table(table, None, visitor),
            Value::Other(value) => value,
        };
        let outcome = match value {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(n) => visitor.visit_i64(n),
                Err(_) => match u64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(n) => visitor.visit_u64(n),
                    Err(_) => Err(de::Error::custom(format_args!(
                        "{number} is beyond all whole numbers that are read"
                    ))),
                },
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(n) => visitor.visit_f64(n),
                Err(_) => Err(de::Error::custom(format_args!("{number} is not a number"))),
            },
            DeValue::Boolean(flag) => visitor.visit_bool(*flag),
            DeValue::Datetime(time) => visitor.visit_str(&time.to_string()),
            DeValue::Array(items) => {
                let nodes = items
                    .iter()
                    .enumerate()
                    .map(|(n, item)| self.child(format!("[{n}]"), None, item))
                    .filter(|node| !node.is_wrong())
                    .collect::<Vec<_>>();
                visitor.visit_seq(Items(nodes.into_iter()))
            }
            DeValue::Table(table) => return self.visit_table(table, None, visitor),
        };
        Self::located(self.path, self.span, outcome)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.value {
            Value::Table(table) => self.visit_table(table, Some(fields), visitor),
            Value::Other(other) => {
                let fault = de::Error::custom(format_args!("expected a table, found {}", kind(other)));
                Self::located(self.path, self.span, Err(fault))
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let outcome = match self.value {
            Value::Other(DeValue::String(text)) => {
                let variant: StrDeserializer<'_, Fault> = text.as_ref().into_deserializer();
                visitor.visit_enum(variant)
            }
            Value::Other(other) => Err(de::Error::custom(format_args!(
                "expected one of a few words, found {}",
                kind(other)
            ))),
            Value::Table(table) => visitor.visit_enum(MapAccessDeserializer::new(Fields {
                rest: self.fields(table).into_iter(),
                next: None,
            })),
        };
        Self::located(self.path, self.span, outcome)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

struct Fields<'p, 'v> {
    rest: std::vec::IntoIter<(String, Node<'p, 'v>)>,
    next: Option<Node<'p, 'v>>,
}

impl<'de> de::MapAccess<'de> for Fields<'_, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((name, node)) = self.rest.next() else {
            return Ok(None);
        };
        let (path, span) = (node.path.clone(), node.span.clone());
        self.next = Some(node);
        Node::located(path, span, seed.deserialize(name.into_deserializer())).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let node = self
            .next
            .take()
            .ok_or_else(|| Fault::from_text("a value was asked for before its key"))?;
        let (path, span) = (node.path.clone(), node.span.clone());
        // A newtype's own check fails outside the value's deserializer, so the place is given here.
        Node::located(path, span, seed.deserialize(node))
    }
}

struct Items<'p, 'v>(std::vec::IntoIter<Node<'p, 'v>>);

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.0.next() else {
            return Ok(None);
        };
        let (path, span) = (node.path.clone(), node.span.clone());
        Node::located(path, span, seed.deserialize(node)).map(Some)
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with decimals",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// What stopped one pass.
#[derive(Debug)]
pub(crate) struct Fault {
    cause: Cause,
    at: Option<(Path, Range<usize>)>,
}

#[derive(Debug)]
enum Cause {
    Missing(&'static str),
    Value(String),
}

impl Fault {
    fn from_text(text: impl Into<String>) -> Self {
        Self {
            cause: Cause::Value(text.into()),
            at: None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Missing(name) => write!(f, "key `{name}` is missing"),
            Cause::Value(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::from_text(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::from_text(format!(
            "expected {}, found {}",
            plain(expected),
            found_as(&found)
        ))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            cause: Cause::Missing(field),
            at: None,
        }
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let found = signet_fault::shown(found, 64);
        let list = known.join(", ");
        Self::from_text(match nearest(&found, known.iter().copied()) {
            Some(name) => format!("`{found}` is not one of {list}; did you mean `{name}`?"),
            None => format!("`{found}` is not one of {list}"),
        })
    }
}

/// What `serde` expects, without Rust's names of types.
fn plain(expected: &dyn de::Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" | "u64" | "u128" | "usize" => "a whole number, not negative".into(),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "an array".into(),
        "a map" => "a table".into(),
        _ => text,
    }
}

fn found_as(found: &de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Str(text) => {
            format!("the string `{}`", signet_fault::shown(text, 64))
        }
        de::Unexpected::Bool(flag) => flag.to_string(),
        de::Unexpected::Signed(n) => n.to_string(),
        de::Unexpected::Unsigned(n) => n.to_string(),
        de::Unexpected::Float(n) => n.to_string(),
        de::Unexpected::Seq => "an array".into(),
        de::Unexpected::Map => "a table".into(),
        other => other.to_string(),
    }
}
