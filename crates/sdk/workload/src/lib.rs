//! A client of the SPIFFE Workload API, for any Rust program.
//!
//! [`WorkloadClient`] makes the seven calls. [`X509Source`], [`JwtSource`] and [`WitSource`] keep what they get up to
//! date in the background, so that a program asks its source at each handshake and never thinks of rotation.
//!
//! Covers SPIFFE_Workload_Endpoint §4 (finding the endpoint) and SPIFFE_Workload_API §5 to §7, the last of which
//! (WIT-SVIDs) is incubating. Checking SVIDs is
//! `signet-check`'s part, TLS is `signet-tls`'s.
//!
//! ```no_run
//! # async fn example() -> Result<(), signet_workload::WorkloadError> {
//! use signet_workload::{Endpoint, X509Source};
//! let source = X509Source::start(Endpoint::from_env()?).await?;
//! println!("I am {}", source.current().default_svid().id);
//! # Ok(()) }
//! ```

mod answers;
mod client;
mod endpoint;
mod error;
mod follow;
mod jwt_source;
mod retry;
mod wit;
mod wit_source;
mod x509_source;

pub use answers::{JwtSvid, ValidJwt, X509Context, X509Svid};
pub use client::{JwtBundleStream, WitBundleStream, WitStream, WorkloadClient, X509Stream};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{REGISTER, WorkloadError};
pub use jwt_source::JwtSource;
pub use retry::Pauses;
pub use wit::WitSvid;
pub use wit_source::WitSource;
pub use x509_source::X509Source;
