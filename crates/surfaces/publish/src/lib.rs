//! What everybody may read: the documents by which others find out whom to trust, on the public HTTPS port.
//!
//! [`routes`] is the whole table. [`Publisher`] encodes every document once for each change of trust and hands the same
//! bytes to every request; [`router`] answers from them and asks nobody who they are.
//!
//! | path | what |
//! |---|---|
//! | `/bundle` | the SPIFFE bundle (SPIFFE Trust Domain and Bundle §4, SPIFFE Federation §5) |
//! | `/ca/root.pem` | the roots that may be relied on |
//! | `/workload/...` | discovery and key set of the issuer of JWT-SVIDs, `https://HOST/workload` |
//! | `/.well-known/...`, `/oauth2/jwks` | discovery and key set of the issuer of access tokens, `https://HOST` |
//!
//! * The two issuers are different, and so are their keys: a JWT-SVID, whose audience a workload chooses, can never
//!   pass for an access token. Access tokens do not exist yet: their key set is empty and their metadata names no grant.
//! * URLs in documents come from the settings ([`PublicUrl`]) and never from a request (RFC 8414 §3.3).
//! * How long a document may lie in a cache follows from [`CachePolicy`], one rule for all: shorter than any new key
//!   waits before it signs.
//!
//! TLS, and which certificate is shown, are `signet-tls`'s and the server's.

mod answer;
mod caching;
mod discovery;
mod documents;
mod error;
mod metrics;
mod publisher;
mod routes;
mod url;

pub use caching::CachePolicy;
pub use error::{PublishError, REGISTER};
pub use publisher::Publisher;
pub use routes::{Route, router, routes};
pub use url::{PublicUrl, UrlError};
