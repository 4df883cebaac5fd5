//! The forms of text in JSON Schema, made of the bounds that the readers enforce.
//!
//! A test holds each against the reader of the same text. The patterns keep to what regular expressions of every
//! kind know: no look-around. JSON Schema counts characters where we count bytes; where text may be other than
//! ASCII, the bound in bytes is said in words as well.

use core::time::Duration;
use serde_json::{Value, json};
use signet_api::ORPHAN_DAYS_MAX;
use signet_id::{Fact, Selector, SpiffeId, TemplateFact, Trust, TrustDomain};
use signet_registry::limits;
use signet_time::DURATION_UNITS;

/// A segment of the path of a SPIFFE ID (SPIFFE-ID §2.2): anything of the alphabet but `.` and `..`.
const SEGMENT: &str = r"(?:\.*[a-zA-Z0-9_-][a-zA-Z0-9._-]*|\.{3,})";

/// Any character but those that end a line or steer a terminal.
const PRINTABLE: &str = r"[^\u0000-\u001f\u007f-\u009f]";

/// `object` with the member `name`, in place of an earlier one.
pub(crate) fn with(object: Value, name: &str, value: Value) -> Value {
    let mut object = object;
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    object
}

/// A moment in UTC (RFC 3339), as a reply writes it.
pub(crate) fn time() -> Value {
    json!({
        "type": "string", "format": "date-time",
        "pattern": r"^(?:19[7-9]|[2-9][0-9]{2})[0-9]-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z$",
        "description": "A moment in UTC (RFC 3339), from 1970 to 9999.",
    })
}

/// A day in UTC (RFC 3339 §5.6, `full-date`).
pub(crate) fn day() -> Value {
    json!({
        "type": "string", "format": "date",
        "pattern": "^(?:19[7-9]|2[0-9]{2})[0-9]-[0-9]{2}-[0-9]{2}$",
        "description": "A day in UTC.",
    })
}

/// After how many days without use an entry is orphaned.
pub(crate) fn orphan_days() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": ORPHAN_DAYS_MAX})
}

/// Any duration.
pub(crate) fn duration() -> Value {
    let units = DURATION_UNITS.map(|(unit, _)| unit).join("|");
    json!({"type": "string", "pattern": format!("^[0-9]+(?:{units})$")})
}

/// A duration from `min` to `max`.
pub(crate) fn duration_within(min: Duration, max: Duration) -> Value {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (min, max) = (millis(min), millis(max));
    let choices: Vec<String> = DURATION_UNITS
        .iter()
        .filter_map(|(unit, unit_ms)| {
            let (low, high) = (min.div_ceil(*unit_ms), max / unit_ms);
            (low <= high).then(|| format!("{}{unit}", numbers(low, high)))
        })
        .collect();
    let [min, max] = [min, max].map(|ms| signet_time::format_duration(Duration::from_millis(ms)));
    json!({
        "type": "string", "pattern": format!("^0*(?:{})$", choices.join("|")),
        "description": format!("From {min} to {max}."),
    })
}

/// A regular expression of the decimal numbers from `low` to `high`, without leading zeros.
pub(crate) fn numbers(low: u64, high: u64) -> String {
    let mut choices = Vec::new();
    let mut from = low;
    while from <= high {
        // As far as numbers have as many digits.
        let digits = from.checked_ilog10().unwrap_or(0) + 1;
        let last = 10_u64
            .checked_pow(digits)
            .map_or(high, |next| (next - 1).min(high));
        choices.push(same_length(
            from.to_string().as_bytes(),
            last.to_string().as_bytes(),
        ));
        let Some(next) = last.checked_add(1) else { break };
        from = next;
    }
    format!("(?:{})", choices.join("|"))
}

/// The numbers from `low` to `high`, which have as many digits; leading zeros count.
fn same_length(low: &[u8], high: &[u8]) -> String {
    let (Some((l, low_rest)), Some((h, high_rest))) = (low.split_first(), high.split_first()) else {
        return String::new();
    };
    let (first, last) = (char::from(*l), char::from(*h));
    let rest = low_rest.len();
    if low_rest.iter().all(|b| *b == b'0') && high_rest.iter().all(|b| *b == b'9') {
        let count = match rest {
            0 => String::new(),
            1 => "[0-9]".to_owned(),
            rest => format!("[0-9]{{{rest}}}"),
        };
        return if l == h {
            format!("{first}{count}")
        } else {
            format!("[{first}-{last}]{count}")
        };
    }
    if l == h {
        return format!("{first}{}", same_length(low_rest, high_rest));
    }
    let (nines, zeros) = (vec![b'9'; rest], vec![b'0'; rest]);
    let whole = |digit: u8| [&[digit][..], &zeros].concat();
    let mut choices = vec![format!("{first}{}", same_length(low_rest, &nines))];
    if l + 1 < *h {
        choices.push(same_length(&whole(l + 1), &[&[h - 1][..], &nines].concat()));
    }
    choices.push(format!("{last}{}", same_length(&zeros, high_rest)));
    format!("(?:{})", choices.join("|"))
}

/// The name of a trust domain (SPIFFE-ID §2.1).
pub(crate) fn trust_domain() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": TrustDomain::BYTES_MAX, "pattern": "^[a-z0-9._-]+$"})
}

/// A SPIFFE ID (SPIFFE-ID §2).
pub(crate) fn spiffe_id() -> Value {
    let max = TrustDomain::BYTES_MAX;
    json!({
        "type": "string", "maxLength": SpiffeId::BYTES_MAX,
        "pattern": format!("^spiffe://[a-z0-9._-]{{1,{max}}}(?:/{SEGMENT})*$"),
    })
}

/// A SPIFFE ID that has a path.
pub(crate) fn id_with_path() -> Value {
    let max = TrustDomain::BYTES_MAX;
    json!({
        "type": "string", "maxLength": SpiffeId::BYTES_MAX,
        "pattern": format!("^spiffe://[a-z0-9._-]{{1,{max}}}(?:/{SEGMENT})+$"),
        "description": "In the server's own trust domain, with a path.",
    })
}

/// A SPIFFE ID that an administrator may give away.
pub(crate) fn workload_id() -> Value {
    let reserved = json!({"pattern": "^spiffe://[^/]*/signet(?:/|$)"});
    let about = "In the server's own trust domain, with a path, which is not below `/signet`.";
    with(with(id_with_path(), "not", reserved), "description", json!(about))
}

/// A SPIFFE ID, or a template of such: the first segment is none, and each of the others may be a fact in braces.
pub(crate) fn id_pattern() -> Value {
    let about = "A SPIFFE ID, or a template of SPIFFE IDs in which whole segments are facts in braces.";
    json!({
        "anyOf": [spiffe_id(), {"type": "string", "maxLength": SpiffeId::BYTES_MAX, "pattern": template(&[])}],
        "description": about,
    })
}

/// The same as an administrator may give them away.
pub(crate) fn workload_pattern() -> Value {
    let reserved = json!({"pattern": "^spiffe://[^/]*/signet(?:/|$)"});
    // What names the node comes first, if agents have a word in it.
    let bound = template(&[TemplateFact::NodeId]);
    let proved = json!({"type": "string", "maxLength": SpiffeId::BYTES_MAX, "pattern": bound});
    let about = "In the server's own trust domain, with a path, which is not below `/signet`; or a template of such, in \
                 which facts of processes stand below `{node.id}`.";
    let any = json!({"anyOf": [id_with_path(), proved]});
    with(with(any, "not", reserved), "description", json!(about))
}

/// A template, in which facts that are an agent's word stand below one of `binding` where there is any of those.
fn template(binding: &[TemplateFact]) -> String {
    let facts = |wanted: &dyn Fn(&TemplateFact) -> bool| {
        let names: Vec<String> = TemplateFact::all()
            .filter(wanted)
            .map(|fact| fact.name().replace('.', r"\."))
            .collect();
        format!(r"\{{(?:{})\}}", names.join("|"))
    };
    let (all, max) = (facts(&|_| true), TrustDomain::BYTES_MAX);
    let head = format!("^spiffe://[a-z0-9._-]{{1,{max}}}/{SEGMENT}");
    let any = format!("(?:/(?:{SEGMENT}|{all}))*");
    if binding.is_empty() {
        return format!("{head}{any}/{all}{any}$");
    }
    let binds = facts(&|fact| binding.contains(fact));
    let proved = facts(&|fact| fact.trust() != Trust::Claimed);
    let free = format!("(?:/(?:{SEGMENT}|{proved}))*");
    format!("{head}{free}/(?:{proved}{free}|{binds}{any})$")
}

/// A selector, whether or not anything states it.
pub(crate) fn selector() -> Value {
    json!({"type": "string", "maxLength": Selector::BYTES_MAX, "pattern": format!("^[a-z0-9_-]+:{PRINTABLE}+$")})
}

/// A selector that an entry may ask for: of the kinds that are known only what can be stated.
pub(crate) fn fact() -> Value {
    let mut choices: Vec<Value> = Fact::ALL
        .map(|fact| json!({"pattern": fact.pattern(), "maxLength": fact.selector_bytes_max()}))
        .into();
    let mut kinds: Vec<&str> = Fact::ALL.map(Fact::kind).into();
    kinds.dedup();
    let known = format!("^(?:{}):", kinds.join("|"));
    choices.push(json!({"not": {"pattern": known}}));
    let about = format!(
        "`KIND:VALUE`. What can be asked of {} is listed; other kinds are for later attestors.",
        kinds.join(", ")
    );
    with(
        with(selector(), "anyOf", json!(choices)),
        "description",
        json!(about),
    )
}

/// A host name in lower case, which does not read as an address.
pub(crate) fn dns_name() -> Value {
    let label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
    json!({
        "type": "string", "maxLength": limits::DNS_NAME_BYTES_MAX,
        "pattern": format!(r"^(?:{label}\.)*{label}$"),
        "allOf": [{"pattern": "[a-z-][0-9]*$"}],
        "description": "A host name in lower case, whose last label is no number.",
    })
}

/// Text of `min` to `max` bytes on one line.
pub(crate) fn line(min: usize, max: usize) -> Value {
    json!({
        "type": "string", "minLength": min, "maxLength": max, "pattern": format!("^{PRINTABLE}*$"),
        "description": format!("At most {max} bytes of UTF-8, without control characters."),
    })
}

/// Text of `min` to `max` bytes.
pub(crate) fn text(min: usize, max: usize) -> Value {
    json!({"type": "string", "minLength": min, "maxLength": max, "description": format!("At most {max} bytes of UTF-8.")})
}

/// `bytes` bytes in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: usize) -> Value {
    json!({"type": "string", "pattern": format!("^[0-9a-f]{{{}}}$", bytes * 2)})
}
