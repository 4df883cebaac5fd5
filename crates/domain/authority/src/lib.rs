//! The only way to issue: admit, sign, release.
//!
//! Three values that no code can skip, each consumed by the next: [`Authority::admit_x509`],
//! [`Authority::admit_jwt`] and [`Authority::admit_wit`] check a request against its profile, a decision and the issuer, and give [`Admitted`],
//! which holds the exact bytes to be signed; [`Authority::sign`] gives an `Unrecorded` credential, whose bytes cannot
//! be read; `Recorder::release` hands it out once its record is durable. [`Authority::issue_x509`],
//! [`Authority::issue_jwt`] and [`Authority::issue_wit`] are these three in a row.
//!
//! What is checked here, whoever decided what:
//!
//! * the decision allows this very action on this very identity;
//! * the identity is of the own trust domain, has a path, and lies below `/signet/` only where the [`Profile`] says
//!   so: entries can never give one of those;
//! * of a certificate request only the key is used; names in it must be the admitted ones, and the key must be none
//!   of our own;
//! * what an operator asks for ([`Profile::Minted`], and tokens by the action `mint.jwt`) says why, in its record;
//! * lives: `notBefore` lies 30 s back, X.509-SVIDs live at most 6 h, nothing outlives its issuer, and what the
//!   issuer's end would shorten below min(asked life, 10 min) is refused instead;
//! * the certificate of a server's own public port ([`TlsServerRequest`]) carries names and no identity, and nobody but
//!   the server itself may ask for it;
//! * JWT-SVIDs name 1 to 16 audiences, none of them an OAuth resource ([`ReservedAudiences`]).
//! * WIT-SVIDs are bound to a key that was proven, of a kind that one of the nine algorithms of SVIDs has, and name
//!   neither audience nor issuer.
//!
//! What was admitted is signed once, and what was signed cannot be read:
//!
//! ```compile_fail,E0382
//! # use signet_authority::{Admitted, Authority, JwtSvid};
//! async fn twice(authority: &Authority, admitted: Admitted<JwtSvid>) {
//!     let _first = authority.sign(admitted).await;
//!     let _second = authority.sign(admitted).await;
//! }
//! ```
//!
//! ```compile_fail,E0616
//! # use signet_authority::{Admitted, Authority, JwtSvid};
//! async fn early(authority: &Authority, admitted: Admitted<JwtSvid>) -> Option<String> {
//!     Some(authority.sign(admitted).await.ok()?.credential.token)
//! }
//! ```
//!
//! Covers the issue side of X509-SVID §2 to §4 and JWT-SVID §2 and §3 and WIT-SVID §2 and §3. Not here: SSH
//! certificates, certificates of the `durable` class.

mod admitted;
mod audience;
mod authority;
mod error;
mod jwt;
mod profile;
mod tls;
mod wit;
mod x509;

pub use admitted::{Admitted, Credential};
pub use audience::{NoneReserved, ReservedAudiences};
pub use authority::{Authority, Context};
pub use error::{IssueError, REGISTER};
pub use jwt::{JwtRequest, JwtSvid};
pub use profile::{Profile, limits};
pub use tls::{TlsServerCertificate, TlsServerRequest};
pub use wit::{WitRequest, WitSvid};
pub use x509::{X509Request, X509Svid};
