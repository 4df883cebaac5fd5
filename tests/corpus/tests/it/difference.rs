//! Where two files differ, by the names of the parts that their format has.

use serde_json::Value;
use signet_corpus::{Case, Kind, certificates};
use signet_jose::base64url;
use std::collections::{BTreeMap, BTreeSet};
use x509_parser::prelude::*;

/// Parts by name. Two files differ where one has a part that the other has not, or has otherwise.
type Parts = BTreeMap<String, Vec<u8>>;

/// Every place at which the file or the circumstances of `broken` differ from those of `twin`.
pub(crate) fn places(broken: (&Case, &[u8]), twin: (&Case, &[u8])) -> BTreeSet<String> {
    let kind = broken.0.kind;
    let mut places = BTreeSet::new();
    let json = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    if let (Some(mine), Some(theirs)) = (parts(kind, broken.1), parts(kind, twin.1)) {
        places = differences(&mine, &theirs);
    } else if let (Some(mine), Some(theirs)) = (json(broken.1), json(twin.1)) {
        members("bundle: ", &mine, &theirs, &mut places);
    }
    // What cannot be taken apart differs as a whole.
    if places.is_empty() && broken.1 != twin.1 {
        places.insert("form".to_owned());
    }
    let (mine, theirs) = (broken.0, twin.0);
    for (what, differs) in [
        ("time", mine.now != theirs.now),
        ("bundles", mine.bundles != theirs.bundles),
        ("tainted", mine.tainted != theirs.tainted),
        ("audience", mine.audience != theirs.audience),
        ("key", mine.key != theirs.key),
        ("then", mine.then != theirs.then),
    ] {
        if differs {
            places.insert(format!("verifier: {what}"));
        }
    }
    places
}

fn differences(mine: &Parts, theirs: &Parts) -> BTreeSet<String> {
    let names: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
    let mut places: BTreeSet<String> = names
        .into_iter()
        .filter(|name| mine.get(*name) != theirs.get(*name))
        .cloned()
        .collect();
    // What is signed decides its signature, a key its identifier, and an algorithm the key: no differences of their own.
    for name in places.clone() {
        let Some((where_, what)) = name.rsplit_once(": ") else {
            continue;
        };
        let beside = |what: &str| places.contains(&format!("{where_}: {what}"));
        let others = places
            .iter()
            .filter(|p| p.starts_with(&format!("{where_}: ")))
            .count();
        let follows = match what {
            SIGNATURE => others > 1,
            "2.5.29.14" => beside(KEY),
            "header `kid`" => beside("header `alg`"),
            part if part.starts_with("payload `") => beside("payload"),
            _ => false,
        };
        if follows {
            places.remove(&name);
        }
    }
    places
}

const SIGNATURE: &str = "signature";
const KEY: &str = "key";

fn parts(kind: Kind, bytes: &[u8]) -> Option<Parts> {
    match kind {
        Kind::Chain => chain(bytes),
        Kind::Request => request(bytes),
        Kind::Token => token(bytes),
        Kind::Bundle | Kind::BundleMap | Kind::NextBundle => None,
    }
}

fn chain(bytes: &[u8]) -> Option<Parts> {
    let mut parts = Parts::new();
    if bytes.is_empty() {
        return None;
    }
    for (index, der) in certificates(bytes).ok()?.iter().enumerate() {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let tbs = &certificate.tbs_certificate;
        let mut put = |name: &str, bytes: Vec<u8>| {
            parts.insert(format!("certificate {index}: {name}"), bytes);
        };
        put("version", tbs.version.0.to_be_bytes().to_vec());
        put("serial number", tbs.raw_serial().to_vec());
        put("algorithm", tbs.signature.algorithm.as_bytes().to_vec());
        put("issuer", tbs.issuer.as_raw().to_vec());
        put("validity", format!("{:?}", tbs.validity).into_bytes());
        put("subject", tbs.subject.as_raw().to_vec());
        put(KEY, tbs.subject_pki.raw.to_vec());
        for extension in tbs.extensions() {
            put(&extension.oid.to_id_string(), extension_bytes(extension));
        }
        put(SIGNATURE, certificate.signature_value.data.to_vec());
    }
    Some(parts)
}

fn extension_bytes(extension: &X509Extension<'_>) -> Vec<u8> {
    [&[u8::from(extension.critical)], extension.value].concat()
}

fn request(bytes: &[u8]) -> Option<Parts> {
    let (rest, request) = X509CertificationRequest::from_der(bytes).ok()?;
    let info = &request.certification_request_info;
    let mut parts = Parts::new();
    let mut put = |name: &str, bytes: Vec<u8>| {
        parts.insert(format!("request: {name}"), bytes);
    };
    put("subject", info.subject.as_raw().to_vec());
    put(KEY, info.subject_pki.raw.to_vec());
    put(
        "algorithm",
        request.signature_algorithm.algorithm.as_bytes().to_vec(),
    );
    for attribute in info.iter_attributes() {
        match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(asked) => {
                for extension in &asked.extensions {
                    put(&extension.oid.to_id_string(), extension_bytes(extension));
                }
            }
            _ => put(&attribute.oid.to_id_string(), attribute.value.to_vec()),
        }
    }
    put(SIGNATURE, request.signature_value.data.to_vec());
    if !rest.is_empty() {
        put("behind it", rest.to_vec());
    }
    Some(parts)
}

fn token(bytes: &[u8]) -> Option<Parts> {
    let text = std::str::from_utf8(bytes).ok()?;
    let [header, payload, signature]: [&str; 3] = text.split('.').collect::<Vec<_>>().try_into().ok()?;
    let mut parts = Parts::new();
    for (name, part) in [("header", header), ("payload", payload)] {
        let decoded = base64url::decode(part)?;
        let Value::Object(members) = serde_json::from_slice(&decoded).ok()? else {
            parts.insert(format!("token: {name}"), decoded);
            continue;
        };
        // A member that stands twice is no other value, but it makes the text longer.
        let again = Value::Object(members.clone()).to_string();
        if again.len() != decoded.len() {
            parts.insert(format!("token: {name}"), decoded);
        }
        for (member, value) in members {
            parts.insert(format!("token: {name} `{member}`"), value.to_string().into());
        }
    }
    parts.insert(format!("token: {SIGNATURE}"), signature.into());
    Some(parts)
}

/// The paths at which two JSON documents differ.
fn members(path: &str, mine: &Value, theirs: &Value, places: &mut BTreeSet<String>) {
    let below = |name: &dyn std::fmt::Display| format!("{path}/{name}");
    match (mine, theirs) {
        (Value::Object(mine), Value::Object(theirs)) => {
            for (name, mine) in mine {
                if let Some(theirs) = theirs.get(name) {
                    members(&below(name), mine, theirs, places);
                }
            }
            let only = |a: &serde_json::Map<_, _>, b: &serde_json::Map<_, _>| {
                a.keys()
                    .filter(|name| !b.contains_key(*name))
                    .cloned()
                    .collect::<Vec<String>>()
            };
            match (&only(mine, theirs)[..], &only(theirs, mine)[..]) {
                // One member under another name.
                ([_], [name]) => drop(places.insert(below(name))),
                (added, missing) => places.extend(added.iter().chain(missing).map(|name| below(name))),
            }
        }
        (Value::Array(mine), Value::Array(theirs)) if !mine.is_empty() && !theirs.is_empty() => {
            for (index, (mine, theirs)) in mine.iter().zip(theirs).enumerate() {
                members(&below(&index), mine, theirs, places);
            }
            let (fewer, more) = (mine.len().min(theirs.len()), mine.len().max(theirs.len()));
            places.extend((fewer..more).map(|index| below(&index)));
        }
        _ if mine != theirs => drop(places.insert(path.to_owned())),
        _ => {}
    }
}
