//! What is trusted, and for whom.
//!
//! A [`Bundle`] holds the X.509, JWT and WIT authorities of one trust domain; a [`TrustView`] holds the bundles that a
//! verifier goes by, one per domain. Bundles are read from and written to the SPIFFE bundle format (Trust Domain and
//! Bundle §4, X509-SVID §6, JWT-SVID §6, WIT-SVID §6) and written as the plain JWK sets and the concatenated DER of the Workload
//! API. An authority may be tainted: still listed, no longer believed.
//!
//! Nothing is fetched here and nothing verified; how old a view may be is for its holder to say.
//!
//! ```
//! use signet_trust::{Bundle, TrustView};
//! let domain: signet_id::TrustDomain = "example.org".parse()?;
//! let bundle = Bundle::parse_spiffe(domain.clone(), br#"{"keys": [], "spiffe_sequence": 7}"#)?;
//! let view = TrustView::new(domain.clone()).with_bundle(bundle);
//! assert_eq!(view.bundle(&domain).map(|bundle| bundle.sequence()), Some(7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundle;
mod error;
mod json;
mod view;

pub use bundle::{Bundle, JwtAuthority, WitAuthority, X509Authority};
pub use error::{REGISTER, TrustError};
pub use view::{Offer, TrustView};
