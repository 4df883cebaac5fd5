//! As much of JSON Schema (2020-12) as our document uses. What it does not know is a panic: nothing is passed over.

use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Why `value` is not what `schema` says; nothing if it is. References are looked up in `root`.
pub(crate) fn faults(root: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Check { root }.all(schema, value, "$", &mut found);
    found
}

struct Check<'a> {
    root: &'a Value,
}

impl Check<'_> {
    fn holds(&self, schema: &Value, value: &Value) -> bool {
        let mut found = Vec::new();
        self.all(schema, value, "$", &mut found);
        found.is_empty()
    }

    fn all(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        for (keyword, rule) in schema.as_object().expect("a schema is an object") {
            if !self.one(schema, keyword, rule, value, at, found) {
                found.push(format!("{at}: {value} breaks `{keyword}` {rule}"));
            }
        }
    }

    /// Whether `value` keeps this rule itself; what lies deeper is told where it is.
    fn one(
        &self,
        schema: &Value,
        keyword: &str,
        rule: &Value,
        value: &Value,
        at: &str,
        found: &mut Vec<String>,
    ) -> bool {
        let bound = || rule.as_f64().unwrap();
        let length = |value: &Value| value.as_str().map(|text| text.chars().count() as f64);
        let items = value.as_array();
        match keyword {
            "description" | "default" | "format" => {}
            "$ref" => {
                let target = rule.as_str().unwrap().strip_prefix('#').unwrap();
                let target = self.root.pointer(target).expect("a reference leads somewhere");
                self.all(target, value, at, found);
            }
            "type" => match rule {
                Value::Array(names) => return names.iter().any(|name| is_a(value, name)),
                name => return is_a(value, name),
            },
            "enum" => return rule.as_array().unwrap().contains(value),
            "const" => return rule == value,
            "minimum" => return value.as_f64().is_none_or(|n| n >= bound()),
            "maximum" => return value.as_f64().is_none_or(|n| n <= bound()),
            "minLength" => return length(value).is_none_or(|n| n >= bound()),
            "maxLength" => return length(value).is_none_or(|n| n <= bound()),
            "minItems" => return items.is_none_or(|items| items.len() as f64 >= bound()),
            "maxItems" => return items.is_none_or(|items| items.len() as f64 <= bound()),
            "uniqueItems" => {
                let twice = |items: &Vec<Value>| (1..items.len()).any(|n| items[..n].contains(&items[n]));
                return !items.is_some_and(twice);
            }
            "pattern" => {
                return value
                    .as_str()
                    .is_none_or(|text| matches(rule.as_str().unwrap(), text));
            }
            "required" => {
                let there = |name: &Value| value.get(name.as_str().unwrap()).is_some();
                return !value.is_object() || rule.as_array().unwrap().iter().all(there);
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(member) = value.get(name) {
                        self.all(schema, member, &format!("{at}.{name}"), found);
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(rule, &Value::Bool(false));
                let known = schema["properties"].as_object().unwrap();
                let names = value.as_object().into_iter().flat_map(|members| members.keys());
                return names.into_iter().all(|name| known.contains_key(name));
            }
            "items" => {
                for (n, item) in items.into_iter().flatten().enumerate() {
                    self.all(rule, item, &format!("{at}[{n}]"), found);
                }
            }
            "allOf" => {
                for part in rule.as_array().unwrap() {
                    self.all(part, value, at, found);
                }
            }
            "anyOf" => {
                return rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|part| self.holds(part, value));
            }
            "not" => return !self.holds(rule, value),
            unknown => panic!("`{unknown}` is not a keyword that is checked here"),
        }
        true
    }
}

/// Whether `pattern` is found in `text`. Each is compiled once.
fn matches(pattern: &str, text: &str) -> bool {
    static COMPILED: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap();
    let one = compiled
        .entry(pattern.to_owned())
        .or_insert_with(|| Regex::new(pattern).unwrap());
    one.is_match(text)
}

fn is_a(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        unknown => panic!("no type `{unknown}`"),
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    use serde_json::json;
    let root = json!({"n": {"type": "integer", "minimum": 1}});
    for (schema, good, bad) in [
        (json!({"$ref": "#/n"}), json!(1), json!(0)),
        (json!({"type": ["string", "null"]}), json!(null), json!(1)),
        (json!({"enum": ["a"]}), json!("a"), json!("b")),
        (json!({"maxLength": 1, "minLength": 1}), json!("ü"), json!("")),
        (json!({"maxItems": 1}), json!([1]), json!([1, 2])),
        (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 2, 1])),
        (json!({"pattern": "^a$"}), json!("a"), json!("ab")),
        (json!({"required": ["a"]}), json!({"a": 1}), json!({})),
        (
            json!({"properties": {"a": {"$ref": "#/n"}}}),
            json!({"b": 0}),
            json!({"a": 0}),
        ),
        (
            json!({"properties": {"a": {}}, "additionalProperties": false}),
            json!({"a": 0}),
            json!({"b": 0}),
        ),
        (json!({"items": {"$ref": "#/n"}}), json!([1]), json!([1, 0])),
        (
            json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}),
            json!(2),
            json!(3),
        ),
        (json!({"anyOf": [{"const": 1}, {"const": 2}]}), json!(2), json!(3)),
        (json!({"not": {"const": 1}}), json!(2), json!(1)),
    ] {
        assert_eq!(faults(&root, &schema, &good), [] as [String; 0], "{schema}");
        assert_ne!(faults(&root, &schema, &bad), [] as [String; 0], "{schema}");
    }
}
