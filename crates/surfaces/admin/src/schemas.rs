//! The schemas of what the API takes and answers, by the names that they have in the document.

use crate::patterns;
use crate::refusal::FAULTS_MAX;
use core::time::Duration;
use serde_json::{Map, Value, json};
use signet_api::{ENTRIES_MAX, LIST_LIMIT_MAX};
use signet_crypto::KeyKind;
use signet_keys::{KeyState, Purpose};
use signet_registry::{OrphanReason, limits};

/// A reference to the schema `name`.
pub(crate) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Every schema with its name.
pub(crate) fn all() -> Map<String, Value> {
    let named = [
        ("SpiffeId", patterns::spiffe_id()),
        ("WorkloadId", patterns::workload_id()),
        ("IdPattern", patterns::id_pattern()),
        ("WorkloadPattern", patterns::workload_pattern()),
        ("TrustDomain", patterns::trust_domain()),
        ("EntryId", patterns::hex(16)),
        ("Entry", entry()),
        ("EntryDraft", draft(&json!({"type": "null"}))),
        ("EntryUpdate", draft(&or_null(reference("EntryId")))),
        ("EntryChange", changed()),
        ("EntryPlan", entry_plan()),
        ("PlannedEntry", planned_entry()),
        ("ApplyRequest", apply_request()),
        ("EntriesApplied", entries_applied()),
        ("Orphan", orphan()),
        ("Orphans", orphans()),
        ("MintX509Request", mint_x509_request()),
        ("MintedX509Svid", minted_x509()),
        ("MintJwtRequest", mint_jwt_request()),
        ("MintedJwtSvid", minted_jwt()),
        ("MintWitRequest", mint_wit_request()),
        ("MintedWitSvid", minted_wit()),
        ("Node", node()),
        ("BanRequest", ban_request()),
        ("JoinTokenRequest", join_token_request()),
        ("JoinToken", join_token()),
        ("JwkSet", jwk_set()),
        ("Bundle", bundle()),
        ("Ca", ca()),
        ("Authority", authority()),
        ("Server", server()),
        ("Health", health()),
        ("Problem", problem()),
        ("Fault", fault()),
    ];
    named
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

/// An object with exactly `members` as far as is known today. Replies may grow, so others are not forbidden.
fn reply(about: &str, members: Value) -> Value {
    let required: Vec<&String> = members.as_object().into_iter().flat_map(Map::keys).collect();
    json!({"type": "object", "description": about, "required": required, "properties": members})
}

/// `schema`, or null.
fn or_null(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// `schema` with `text` beside it.
fn about(schema: Value, text: &str) -> Value {
    let mut schema = schema;
    if let Some(members) = schema.as_object_mut() {
        let text = match members.get("description").and_then(Value::as_str) {
            Some(earlier) => format!("{text} {earlier}"),
            None => text.to_owned(),
        };
        members.insert("description".to_owned(), Value::String(text));
    }
    schema
}

fn set(items: &Value, max: usize) -> Value {
    json!({"type": "array", "maxItems": max, "uniqueItems": true, "items": items})
}

fn whole_number() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn entry() -> Value {
    reply(
        "Who may have which name.",
        json!({
            "id": reference("EntryId"),
            "spiffe_id": about(reference("IdPattern"), "The name that is given, or a template of names."),
            "parent_id": about(or_null(reference("SpiffeId")), "The node it is given on; null means every node."),
            "selectors": about(set(&patterns::selector(), limits::SELECTORS_MAX),
                "What must all be true of a process."),
            "x509_ttl": about(patterns::duration(), "Life of an X.509-SVID."),
            "jwt_ttl": about(patterns::duration(), "Life of a JWT-SVID."),
            "dns_names": about(set(&patterns::dns_name(), limits::DNS_NAMES_MAX), "DNS names for the certificate."),
            "hint": about(or_null(patterns::line(1, limits::HINT_BYTES_MAX)),
                "What the workload is told to use this identity for."),
            "owner": about(or_null(patterns::line(1, limits::OWNER_BYTES_MAX)), "Who answers for it."),
            "federates_with": about(set(&reference("TrustDomain"), limits::FEDERATES_WITH_MAX),
                "Foreign trust domains whose bundles the workload gets."),
            "jwt_audiences": about(set(&patterns::line(1, limits::AUDIENCE_BYTES_MAX), limits::JWT_AUDIENCES_MAX),
                "The only audiences its JWT-SVIDs may name; empty means any."),
            "expires_at": about(or_null(patterns::time()), "When the entry ends; null means never."),
        }),
    )
}

/// What a request says of an entry; `id` is what its id may be.
fn draft(id: &Value) -> Value {
    let default = |text: &str, default| {
        let default = signet_time::format_duration(default);
        format!("{text}; null means the server's default, {default}.")
    };
    let selectors = set(&patterns::fact(), limits::SELECTORS_MAX);
    let selectors = patterns::with(selectors, "minItems", json!(1));
    let [x509, jwt] = [limits::X509_TTL_MAX, limits::JWT_TTL_MAX]
        .map(|max| or_null(patterns::duration_within(limits::TTL_MIN, max)));
    let audience = patterns::line(1, limits::AUDIENCE_BYTES_MAX);
    json!({
        "type": "object",
        "description": "What an entry shall say. A member that does not exist is refused, so that a misspelt wish is \
                        not silently dropped.",
        "required": ["spiffe_id", "selectors"],
        "additionalProperties": false,
        "properties": {
            "id": about(id.clone(), "Given by the server."),
            "spiffe_id": reference("WorkloadPattern"),
            "parent_id": about(or_null(patterns::id_with_path()), "The node it is given on; null means every node."),
            "selectors": about(selectors, "What must all be true of a process."),
            "x509_ttl": about(x509, &default("Life of an X.509-SVID", limits::X509_TTL_DEFAULT)),
            "jwt_ttl": about(jwt, &default("Life of a JWT-SVID", limits::JWT_TTL_DEFAULT)),
            "dns_names": about(set(&patterns::dns_name(), limits::DNS_NAMES_MAX), "DNS names for the certificate."),
            "hint": about(or_null(patterns::line(0, limits::HINT_BYTES_MAX)),
                "What the workload is told to use this identity for."),
            "owner": about(or_null(patterns::line(0, limits::OWNER_BYTES_MAX)), "Who answers for it."),
            "federates_with": about(set(&reference("TrustDomain"), limits::FEDERATES_WITH_MAX),
                "Foreign trust domains whose bundles the workload gets; not the server's own."),
            "jwt_audiences": about(set(&audience, limits::JWT_AUDIENCES_MAX),
                "The only audiences its JWT-SVIDs may name; empty means any."),
            "expires_at": about(or_null(patterns::time()),
                "When the entry ends, in the future; null means never."),
        },
    })
}

/// An entry that is to say something else: its id has to be there.
fn changed() -> Value {
    patterns::with(
        draft(&reference("EntryId")),
        "required",
        json!(["id", "spiffe_id", "selectors"]),
    )
}

fn list(items: &Value) -> Value {
    json!({"type": "array", "maxItems": ENTRIES_MAX, "items": items})
}

fn line() -> Value {
    json!({"type": "integer", "minimum": 1, "description": "The line, or the position in an array; from 1."})
}

fn entry_plan() -> Value {
    let unchanged = json!({"line": line(), "id": reference("EntryId"), "spiffe_id": reference("IdPattern")});
    let planned = || json!({"type": "array", "items": reference("PlannedEntry")});
    let unchanged = json!({"type": "array", "items": reply("An entry that is as its line says.", unchanged)});
    reply(
        "How a list differs from the entries that there are.",
        json!({
            "create": about(planned(), "Lines that no entry says."),
            "update": about(planned(), "Lines that an entry says with other details."),
            "unchanged": about(unchanged, "Lines that an entry says in every detail."),
            "delete": about(planned(), "Entries that no line says, where the plan is to prune."),
            "unlisted": about(whole_number(), "How many entries no line says, whether or not they are listed."),
        }),
    )
}

fn orphan() -> Value {
    let reasons: Vec<&str> = OrphanReason::ALL.iter().map(|why| why.as_str()).collect();
    reply(
        "An entry that nobody needs any more.",
        json!({
            "entry": reference("Entry"),
            "seq": about(whole_number(), "The change that touched it last."),
            "why": {"type": "string", "enum": reasons, "description": "Why; the first of these that holds."},
            "since": about(patterns::day(), "Since when it has been so."),
            "last_used": about(or_null(patterns::day()),
                "When something was signed for it last; null if that is not known."),
        }),
    )
}

fn orphans() -> Value {
    reply(
        "One page of entries that nobody needs any more.",
        json!({
            "items": {"type": "array", "maxItems": LIST_LIMIT_MAX, "items": reference("Orphan"),
                "description": "The entries, oldest first."},
            "next_cursor": {"type": ["string", "null"],
                "description": "Where the next page begins; null on the last."},
            "watched_since": about(or_null(patterns::day()),
                "Since when uses are known without a gap; null before the server wrote anything."),
            "days": {"type": "integer", "minimum": 1,
                "description": "After how many whole days without use an entry counts as orphaned."},
        }),
    )
}

/// One form for what is to be made, changed and deleted: the members that there are tell which it is.
fn planned_entry() -> Value {
    // A new one has no id yet.
    let members = entry().get("properties").cloned().unwrap_or_default();
    let members = patterns::with(members, "id", or_null(reference("EntryId")));
    let planned = reply("An entry as it would be.", members);
    let change = json!({"field": {"type": "string"}, "from": {}, "to": {}});
    let change = reply("A member that would change.", change);
    json!({
        "type": "object", "description": "An entry that a plan would make, change or delete.",
        "required": ["entry"],
        "properties": {
            "line": line(),
            "seq": about(whole_number(), "The change that touched the entry last."),
            "entry": planned,
            "changes": {"type": "array", "items": change, "description": "What would change."},
        },
    })
}

fn apply_request() -> Value {
    let number = || patterns::with(whole_number(), "maximum", json!(u64::MAX));
    let seq = || {
        about(
            number(),
            "The change that touched the entry last when this was planned.",
        )
    };
    let update = json!({
        "type": "object", "required": ["seq", "entry"], "additionalProperties": false,
        "properties": {"seq": seq(), "entry": reference("EntryChange")},
    });
    let delete = json!({
        "type": "object", "required": ["id", "seq"], "additionalProperties": false,
        "properties": {
            "id": reference("EntryId"),
            "seq": seq(),
            "orphaned_days": about(
                patterns::orphan_days(),
                "It goes only if it is still orphaned, by the rule of so many days, when the commit is handed over.",
            ),
        },
    });
    json!({
        "type": "object", "additionalProperties": false,
        "description": "Changes that are made together or not at all; 1 to 10000 of them in all.",
        "properties": {
            "create": about(list(&reference("EntryDraft")), "New entries."),
            "update": about(list(&update), "Entries that are to say something else."),
            "delete": about(list(&delete), "Entries that are to go."),
        },
    })
}

fn entries_applied() -> Value {
    reply(
        "What was applied.",
        json!({
            "created": about(list(&reference("Entry")), "The new entries with their ids."),
            "updated": about(list(&reference("Entry")), "The changed entries."),
            "deleted": about(list(&reference("EntryId")), "The ids of the deleted entries."),
        }),
    )
}

/// What all wishes for a credential say, with `members` beside it.
fn mint_request(members: Value, max: Duration, default: Duration, required: &[&str]) -> Value {
    let default = signet_time::format_duration(default);
    let mut properties = json!({
        "spiffe_id": reference("WorkloadId"),
        "ttl": about(or_null(patterns::duration_within(limits::TTL_MIN, max)),
            &format!("How long it is to live; null means the server's default, {default}.")),
        "reason": about(patterns::line(1, signet_authority::limits::REASON_BYTES_MAX),
            "What it is for. It stands in the record."),
    });
    for (name, schema) in members.as_object().into_iter().flatten() {
        properties = patterns::with(properties, name, schema.clone());
    }
    let required: Vec<&str> = ["spiffe_id", "reason"].iter().chain(required).copied().collect();
    json!({"type": "object", "required": required, "additionalProperties": false, "properties": properties})
}

fn mint_x509_request() -> Value {
    let members = json!({
        "csr": {"type": "string", "description": "The certificate request (PKCS #10) as PEM."},
        "dns_names": about(set(&patterns::dns_name(), limits::DNS_NAMES_MAX), "DNS names for the certificate."),
    });
    mint_request(members, limits::X509_TTL_MAX, limits::X509_TTL_DEFAULT, &["csr"])
}

fn minted_x509() -> Value {
    reply(
        "A minted X.509-SVID.",
        json!({
            "spiffe_id": reference("SpiffeId"),
            "serial": {"type": "string", "description": "The serial number in hexadecimal digits."},
            "not_before": about(patterns::time(), "From when on it is valid."),
            "not_after": about(patterns::time(), "Until when it is valid."),
            "x509_svid": {"type": "string", "description": "The leaf, then the intermediates, as PEM."},
            "bundle": {"type": "string", "description": "The roots as PEM."},
        }),
    )
}

fn mint_jwt_request() -> Value {
    let audience = patterns::line(1, limits::AUDIENCE_BYTES_MAX);
    let audience =
        json!({"type": "array", "minItems": 1, "maxItems": limits::JWT_AUDIENCES_MAX, "items": audience});
    let members = json!({"audience": about(audience, "Whom it is for.")});
    mint_request(
        members,
        limits::JWT_TTL_MAX,
        limits::JWT_TTL_DEFAULT,
        &["audience"],
    )
}

fn minted_jwt() -> Value {
    reply(
        "A minted JWT-SVID: a secret.",
        json!({
            "spiffe_id": reference("SpiffeId"),
            "jti": {"type": "string", "description": "As the record has it."},
            "issued_at": about(patterns::time(), "`iat`."),
            "expires_at": about(patterns::time(), "`exp`."),
            "svid": {"type": "string", "description": "The token in compact form."},
        }),
    )
}

fn mint_wit_request() -> Value {
    let members = json!({
        "csr": {"type": "string",
            "description": "The certificate request (PKCS #10) as PEM, by the key that the token is bound to: ECDSA or RSA."},
    });
    mint_request(
        members,
        signet_authority::limits::WIT_TTL_MAX,
        limits::X509_TTL_DEFAULT,
        &["csr"],
    )
}

fn minted_wit() -> Value {
    reply(
        "A minted WIT-SVID, worth nothing without the key that it is bound to.",
        json!({
            "spiffe_id": reference("SpiffeId"),
            "jti": {"type": "string", "description": "As the record has it."},
            "issued_at": about(patterns::time(), "`iat`."),
            "expires_at": about(patterns::time(), "`exp`."),
            "svid": {"type": "string", "description": "The token in compact form."},
        }),
    )
}

fn node() -> Value {
    let serial = json!({"type": "string", "pattern": "^[0-9a-f]+$"});
    reply(
        "A node that proved itself.",
        json!({
            "id": reference("SpiffeId"),
            "attestor": {"type": "string", "description": "How it proved itself, such as `join`."},
            "join_token": {"type": ["string", "null"],
                "description": "The public name of the join token it used, if it used one."},
            "key_sha256": about(patterns::hex(32), "SHA-256 of its public key (SubjectPublicKeyInfo)."),
            "attested_at": about(patterns::time(), "When it last proved itself."),
            "serial": about(or_null(serial), "The serial number of its newest certificate."),
            "expires_at": about(or_null(patterns::time()), "When that certificate ends."),
            "banned": {"type": "boolean", "description": "Whether it is barred from everything."},
            "banned_at": about(or_null(patterns::time()), "Since when, if it is."),
            "ban_reason": {"type": ["string", "null"], "description": "Why, if it is."},
            "renewals": {"type": "integer", "minimum": 0, "description": "How often it was given a certificate."},
            "copies": {"type": "integer", "minimum": 0,
                "description": "How often it renewed without going on from its renewal before: its key was copied."},
            "copied_at": about(or_null(patterns::time()), "When it last did."),
        }),
    )
}

fn ban_request() -> Value {
    let reason = patterns::text(1, limits::REASON_BYTES_MAX);
    json!({
        "type": "object", "description": "A wish to bar a node.", "required": ["reason"],
        "additionalProperties": false,
        "properties": {"reason": about(reason, "Why; shown to whoever asks about the node.")},
    })
}

fn join_token_request() -> Value {
    let ttl = or_null(patterns::duration_within(
        limits::JOIN_TTL_MIN,
        limits::JOIN_TTL_MAX,
    ));
    let default = signet_time::format_duration(limits::JOIN_TTL_DEFAULT);
    json!({
        "type": "object", "description": "A wish for a join string.", "additionalProperties": false,
        "properties": {
            "ttl": about(ttl, &format!("How long the token works; null means {default}.")),
            "spiffe_id": about(or_null(reference("WorkloadId")),
                "The ID the node gets; null means one below `/signet/node/join/`."),
        },
    })
}

fn join_token() -> Value {
    reply(
        "A join string, shown this once.",
        json!({
            "join": {"type": "string", "pattern": r"^sgjoin1\.", "description": "A secret until it is used."},
            "expires_at": about(patterns::time(), "When its token ends."),
            "spiffe_id": about(reference("SpiffeId"), "The ID that the node will have."),
        }),
    )
}

fn jwk_set() -> Value {
    json!({
        "type": "object", "description": "A JWK Set (RFC 7517 §5); a SPIFFE bundle is one with more members.",
        "required": ["keys"],
        "properties": {"keys": {"type": "array", "items": {"type": "object", "required": ["kty"],
            "properties": {"kty": {"type": "string"}}}}},
    })
}

fn bundle() -> Value {
    reply(
        "The trust bundle of the own domain in the forms that others read.",
        json!({
            "trust_domain": reference("TrustDomain"),
            "sequence": about(whole_number(), "Rises with every change."),
            "x509_pem": {"type": "string", "description": "The root certificates as PEM."},
            "spiffe": about(reference("JwkSet"), "The SPIFFE bundle document."),
            "jwks": about(reference("JwkSet"), "The keys of JWT-SVIDs alone."),
        }),
    )
}

fn ca() -> Value {
    reply(
        "The keys that a trust domain signs with.",
        json!({
            "trust_domain": reference("TrustDomain"),
            "sequence": about(whole_number(), "The change at which they were last different."),
            "keys": {"type": "array", "items": reference("Authority")},
        }),
    )
}

fn authority() -> Value {
    let names = |names: Vec<&str>, text: &str| json!({"type": "string", "enum": names, "description": text});
    let purposes = Purpose::ALL.map(Purpose::as_str).into();
    let states = KeyState::ALL.map(KeyState::as_str).into();
    let kinds = KeyKind::ALL.map(KeyKind::as_str).into();
    reply(
        "One key of the trust domain.",
        json!({
            "kid": {"type": "string", "minLength": 1,
                "description": "Its name: the `kid` of tokens, the key identifier of certificates."},
            "purpose": names(purposes, "What it signs."),
            "state": names(states, "Where it stands."),
            "tainted": {"type": "boolean", "description": "Whether it was called off."},
            "key_kind": names(kinds, "The kind of key."),
            "not_after": about(or_null(patterns::time()), "When it ends, if it does."),
            "certificate_sha256": about(or_null(patterns::hex(32)), "SHA-256 of its certificate, if it has one."),
        }),
    )
}

fn server() -> Value {
    reply(
        "What a server says of itself.",
        json!({
            "trust_domain": reference("TrustDomain"),
            "version": {"type": "string", "description": "The software's version."},
            "jwt_issuer": {"type": "string", "format": "uri", "description": "The issuer that JWT-SVIDs name."},
            "agents": {"type": "array", "items": {"type": "string"},
                "description": "Where agents connect, `HOST:PORT`, best first."},
            "time": about(patterns::time(), "What time it is there."),
        }),
    )
}

fn health() -> Value {
    reply(
        "Whether the server serves.",
        json!({
            "status": {"type": "string", "enum": ["ready", "starting", "draining", "failing"]},
            "reasons": {"type": "array", "items": {"type": "string"},
                "description": "What is wrong, if anything is."},
            "trust_domain": reference("TrustDomain"),
            "version": {"type": "string", "description": "The software's version."},
            "seq": about(whole_number(), "The newest change that the server knows."),
        }),
    )
}

fn problem() -> Value {
    json!({
        "type": "object", "description": "Why a request failed (RFC 9457).",
        "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
        "properties": {
            "type": {"type": "string", "pattern": "^urn:signet:error:SG[A-Z]{2}[0-9]{3}$",
                "description": "`urn:signet:error:` and the code."},
            "title": {"type": "string", "minLength": 1, "description": "The kind of problem in a few words."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status."},
            "detail": {"type": "string", "minLength": 1, "description": "What happened here."},
            "instance": {"type": "string", "pattern": "^/", "description": "The path that was asked."},
            "code": {"type": "string", "pattern": "^SG[A-Z]{2}[0-9]{3}$",
                "description": "The stable code: decide by this, not by the text."},
            "remedy": {"type": "string", "description": "The next step; left out if there is none."},
            "request_id": {"type": "string", "minLength": 1,
                "description": "As in `x-request-id` and in the server's log."},
            "errors": {"type": "array", "maxItems": FAULTS_MAX, "items": reference("Fault"),
                "description": "The faults one by one, where they have places."},
        },
    })
}

fn fault() -> Value {
    json!({
        "type": "object", "description": "One fault in a request.", "required": ["message"],
        "properties": {
            "code": {"type": "string", "description": "Its stable code, if it has one of its own."},
            "line": {"type": "integer", "minimum": 1,
                "description": "The line of a text, or the position in an array; from 1."},
            "column": {"type": "integer", "minimum": 1, "description": "Where in the line, in bytes from 1."},
            "field": {"type": "string", "description": "The member, if it is one member's fault."},
            "same_as": {"type": "integer", "minimum": 1, "description": "The line that says the same."},
            "message": {"type": "string", "minLength": 1, "description": "What is wrong."},
        },
    })
}
