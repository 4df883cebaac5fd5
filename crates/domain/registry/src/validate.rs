//! What an entry may hold. Every problem is found, not only the first.

use crate::entry::{Entry, NewEntry};
use crate::{EntryId, Problem};
use core::time::Duration;
use signet_id::{Fact, IdPattern, IdTemplate, Selector, SpiffeId, TrustDomain};
use signet_store::Seq;
use signet_time::{UnixTime, format_duration, parse_duration};
use std::collections::BTreeSet;

/// The bounds of entries, join tokens and commits.
pub mod limits {
    use core::time::Duration;

    /// Entries in one commit.
    pub const ENTRIES_PER_COMMIT_MAX: usize = 10_000;
    /// Entries that are templates, in one trust domain: each is compared with the name of every node that joins.
    pub const TEMPLATES_MAX: usize = 1_000;
    /// Selectors of one entry. The agent compares them one by one for every caller.
    pub const SELECTORS_MAX: usize = 32;
    /// DNS names of one entry: they all stand in each certificate.
    pub const DNS_NAMES_MAX: usize = 16;
    /// The longest DNS name (RFC 1035 §2.3.4, in text form).
    pub const DNS_NAME_BYTES_MAX: usize = 253;
    /// The longest hint (SPIFFE Workload API §8).
    pub const HINT_BYTES_MAX: usize = 1024;
    /// The longest owner.
    pub const OWNER_BYTES_MAX: usize = 256;
    /// Foreign trust domains of one entry: each is a bundle in every response.
    pub const FEDERATES_WITH_MAX: usize = 32;
    /// Audiences that one entry may be bound to.
    pub const JWT_AUDIENCES_MAX: usize = 16;
    /// The longest audience.
    pub const AUDIENCE_BYTES_MAX: usize = 512;
    /// The shortest life of an SVID that can still be rotated in time.
    pub const TTL_MIN: Duration = Duration::from_secs(5);
    /// The longest life of an X.509-SVID: leaves have no revocation list.
    pub const X509_TTL_MAX: Duration = Duration::from_secs(6 * 3_600);
    /// The longest life of a JWT-SVID.
    pub const JWT_TTL_MAX: Duration = Duration::from_secs(24 * 3_600);
    /// What an X.509-SVID lives if nobody says otherwise.
    pub const X509_TTL_DEFAULT: Duration = Duration::from_secs(3_600);
    /// What a JWT-SVID lives if nobody says otherwise.
    pub const JWT_TTL_DEFAULT: Duration = Duration::from_secs(300);
    /// How long a join token may be used if nobody says otherwise.
    pub const JOIN_TTL_DEFAULT: Duration = Duration::from_secs(600);
    /// The shortest life of a join token.
    pub const JOIN_TTL_MIN: Duration = Duration::from_secs(10);
    /// The longest life of a join token: one is for a planned installation, not for keeping.
    pub const JOIN_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
    /// The longest reason for a ban.
    pub const REASON_BYTES_MAX: usize = 1024;
}

/// Collects problems while fields are read.
struct Reader<'a> {
    own: &'a TrustDomain,
    problems: Vec<Problem>,
}

impl NewEntry {
    /// Checks the draft for the trust domain `own` and gives the entry that it describes.
    ///
    /// # Errors
    /// Every problem it has, in the order of the fields.
    pub fn check(&self, own: &TrustDomain, now: UnixTime) -> Result<Entry, Vec<Problem>> {
        let mut reader = Reader {
            own,
            problems: Vec::new(),
        };
        let spiffe_id = reader.given_id("spiffe_id", &self.spiffe_id);
        let parent_id = self.parent_id.as_deref().map(|id| reader.node_id(id));
        let entry = Entry {
            id: EntryId::from_bytes([0; 16]),
            selectors: reader.selectors(&self.selectors),
            x509_ttl: reader.ttl(
                "x509_ttl",
                self.x509_ttl.as_deref(),
                limits::X509_TTL_DEFAULT,
                limits::X509_TTL_MAX,
            ),
            jwt_ttl: reader.ttl(
                "jwt_ttl",
                self.jwt_ttl.as_deref(),
                limits::JWT_TTL_DEFAULT,
                limits::JWT_TTL_MAX,
            ),
            dns_names: reader.dns_names(&self.dns_names),
            hint: reader.text("hint", &self.hint, limits::HINT_BYTES_MAX),
            owner: reader.text("owner", &self.owner, limits::OWNER_BYTES_MAX),
            federates_with: reader.federates_with(&self.federates_with),
            jwt_audiences: reader.audiences(&self.jwt_audiences),
            expires_at: self.expires_at.as_deref().and_then(|at| reader.expiry(at, now)),
            created_at: now,
            seq: Seq(0),
            // What could not be read left a problem behind, so these stand-ins are never returned.
            spiffe_id: spiffe_id.unwrap_or_else(|| own_id(own).into()),
            parent_id: parent_id.map(|id| id.unwrap_or_else(|| own_id(own))),
        };
        if reader.problems.is_empty() {
            Ok(entry)
        } else {
            Err(reader.problems)
        }
    }
}

/// Reads an identity that a workload or a joining node may have: in `own`, with a path, not below `/signet/`.
pub(crate) fn workload_id(field: &str, text: &str, own: &TrustDomain) -> Result<SpiffeId, Problem> {
    let id = own_path(field, text, own)?;
    if id.is_reserved() {
        return Err(reserved(field));
    }
    Ok(id)
}

/// Checks a template as [`workload_id`] checks an identity, and that it is bound to what is proved.
fn own_template(field: &str, template: IdTemplate, own: &TrustDomain) -> Result<IdTemplate, Problem> {
    if template.trust_domain() != own {
        return Err(other_domain(field, template.trust_domain(), own));
    }
    if template.is_reserved() {
        return Err(reserved(field));
    }
    template.check_bound().map_err(|e| Problem::new(field, e))?;
    Ok(template)
}

fn reserved(field: &str) -> Problem {
    Problem::new(field, "paths below `/signet` are kept for our own processes")
}

fn other_domain(field: &str, named: &TrustDomain, own: &TrustDomain) -> Problem {
    Problem::new(
        field,
        format_args!("the trust domain is `{named}`, this server's is `{own}`"),
    )
}

fn own_path(field: &str, text: &str, own: &TrustDomain) -> Result<SpiffeId, Problem> {
    let id = SpiffeId::parse(text).map_err(|e| Problem::new(field, e))?;
    if id.trust_domain() != own {
        return Err(other_domain(field, id.trust_domain(), own));
    }
    if !id.has_path() {
        return Err(Problem::new(
            field,
            "a path is missing: this names the whole trust domain",
        ));
    }
    Ok(id)
}

#[expect(
    clippy::expect_used,
    reason = "`spiffe://` before a trust domain is an ID of at most 264 bytes"
)]
fn own_id(own: &TrustDomain) -> SpiffeId {
    SpiffeId::new(own, "").expect("a trust domain has an ID")
}

impl Reader<'_> {
    fn problem(&mut self, field: impl Into<String>, message: impl core::fmt::Display) {
        self.problems.push(Problem::new(field, message));
    }

    fn keep<T>(&mut self, outcome: Result<T, Problem>) -> Option<T> {
        outcome.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn given_id(&mut self, field: &str, text: &str) -> Option<IdPattern> {
        let outcome = match IdPattern::parse(text) {
            Ok(IdPattern::Template(template)) => {
                own_template(field, template, self.own).map(IdPattern::Template)
            }
            Err(error) if text.contains(['{', '}']) => Err(Problem::new(field, error)),
            _ => workload_id(field, text, self.own).map(IdPattern::One),
        };
        self.keep(outcome)
    }

    fn node_id(&mut self, text: &str) -> Option<SpiffeId> {
        let outcome = own_path("parent_id", text, self.own);
        self.keep(outcome)
    }

    /// At most `max` of a list; the rest is not even looked at.
    fn bounded<'a>(&mut self, field: &str, list: &'a [String], max: usize) -> &'a [String] {
        if list.len() > max {
            self.problem(
                field,
                format_args!("at most {max} are allowed, these are {}", list.len()),
            );
        }
        list.get(..max).unwrap_or(list)
    }

    fn selectors(&mut self, texts: &[String]) -> Vec<Selector> {
        if texts.is_empty() {
            self.problem(
                "selectors",
                "at least one is needed: without any, every process would match",
            );
        }
        let mut seen = BTreeSet::new();
        for (n, text) in self
            .bounded("selectors", texts, limits::SELECTORS_MAX)
            .iter()
            .enumerate()
        {
            match Selector::parse(text) {
                Ok(selector) => {
                    if let Err(e) = Fact::check(&selector) {
                        self.problem(format!("selectors[{n}]"), e);
                    } else if !seen.insert(selector) {
                        self.problem(format!("selectors[{n}]"), format_args!("`{text}` stands twice"));
                    }
                }
                Err(e) => self.problem(format!("selectors[{n}]"), e),
            }
        }
        seen.into_iter().collect()
    }

    fn ttl(&mut self, field: &str, text: Option<&str>, default: Duration, max: Duration) -> Duration {
        let Some(text) = text else {
            return default;
        };
        match parse_duration(text) {
            Ok(span) if (limits::TTL_MIN..=max).contains(&span) => return span,
            Ok(span) => {
                let [span, min, max] = [span, limits::TTL_MIN, max].map(format_duration);
                self.problem(field, format_args!("{span} is outside {min} to {max}"));
            }
            Err(e) => self.problem(field, e),
        }
        default
    }

    fn dns_names(&mut self, names: &[String]) -> Vec<String> {
        let mut seen = BTreeSet::new();
        for (n, name) in self
            .bounded("dns_names", names, limits::DNS_NAMES_MAX)
            .iter()
            .enumerate()
        {
            if !is_dns_name(name) {
                let shown = signet_fault::shown(name, 64);
                self.problem(
                    format!("dns_names[{n}]"),
                    format_args!("`{shown}` is not a host name in lower case, such as db.internal"),
                );
            } else if !seen.insert(name) {
                self.problem(format!("dns_names[{n}]"), format_args!("`{name}` stands twice"));
            }
        }
        // The order is the user's: the first name is what some software shows.
        names.to_vec()
    }

    fn text(&mut self, field: &str, text: &str, max: usize) -> String {
        if text.len() > max {
            self.problem(
                field,
                format_args!("at most {max} bytes are allowed, these are {}", text.len()),
            );
        }
        if text.chars().any(char::is_control) {
            self.problem(field, "control characters are not allowed");
        }
        text.to_owned()
    }

    fn federates_with(&mut self, names: &[String]) -> Vec<TrustDomain> {
        let mut seen = BTreeSet::new();
        for (n, name) in self
            .bounded("federates_with", names, limits::FEDERATES_WITH_MAX)
            .iter()
            .enumerate()
        {
            let field = format!("federates_with[{n}]");
            match TrustDomain::parse(name) {
                Ok(domain) if domain == *self.own => {
                    self.problem(field, format_args!("`{name}` is this server's own trust domain"));
                }
                Ok(domain) => {
                    if !seen.insert(domain) {
                        self.problem(field, format_args!("`{name}` stands twice"));
                    }
                }
                Err(e) => self.problem(field, e),
            }
        }
        seen.into_iter().collect()
    }

    fn audiences(&mut self, texts: &[String]) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let texts = self.bounded("jwt_audiences", texts, limits::JWT_AUDIENCES_MAX);
        for (n, text) in texts.iter().enumerate() {
            let field = format!("jwt_audiences[{n}]");
            if text.is_empty() {
                self.problem(&field, "an audience cannot be empty");
            }
            let text = self.text(&field, text, limits::AUDIENCE_BYTES_MAX);
            if !seen.insert(text) {
                self.problem(field, "stands twice");
            }
        }
        texts.to_vec()
    }

    fn expiry(&mut self, text: &str, now: UnixTime) -> Option<UnixTime> {
        match UnixTime::parse_rfc3339(text) {
            Ok(at) if at <= now => {
                self.problem("expires_at", format_args!("`{text}` is in the past"));
                None
            }
            Ok(at) => Some(at),
            Err(e) => {
                self.problem("expires_at", e);
                None
            }
        }
    }
}

/// Whether `name` is a host name in lower case (RFC 1123 §2.1). No wildcard: a workload's certificate names it alone.
fn is_dns_name(name: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name whose last label is a number reads as an address (RFC 1123 §2.1, WHATWG URL "ends in a number").
    let numeric_end = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= limits::DNS_NAME_BYTES_MAX && name.split('.').all(is_label) && !numeric_end
}
