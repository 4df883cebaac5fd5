//! Signet's own verdict.

use crate::manifest::file;
use crate::{Case, Failure, Kind, Manifest, Refusal, certificates};
use signet_check::jwt::validate_svid;
use signet_check::x509::{match_private_key, verify_svid};
use signet_crypto::LocalKey;
use signet_fault::{Coded, chain};
use signet_id::TrustDomain;
use signet_trust::{Bundle, Offer, TrustView, X509Authority};
use signet_x509::Csr;

/// What a verifier makes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is taken.
    Accepted,
    /// It is not.
    Refused(Refusal),
}

impl Verdict {
    fn of<T, E: Coded + 'static>(outcome: Result<T, E>) -> Self {
        match outcome {
            Ok(_) => Self::Accepted,
            Err(error) => Self::Refused(Refusal {
                code: error.code().to_owned(),
                says: chain(&error),
            }),
        }
    }
}

impl Case {
    /// What Signet says of `bytes` as the file of this case. Files that the case names lie in the folder;
    /// `manifest` has the cases of the other files.
    ///
    /// # Errors
    /// Where the corpus itself is broken: that is no verdict.
    pub fn judge(&self, bytes: &[u8], manifest: &Manifest) -> Result<Verdict, Failure> {
        match self.kind {
            Kind::Chain => self.judge_chain(bytes, &self.view()?),
            Kind::Token => Ok(self.judge_token(bytes, &self.view()?)),
            Kind::Request => Ok(Verdict::of(Csr::parse(bytes))),
            Kind::BundleMap => Ok(Verdict::of(Bundle::parse_map(bytes))),
            Kind::Bundle => self.judge_bundle(bytes, manifest),
            Kind::NextBundle => {
                let twin = self.twin.as_deref().unwrap_or(&self.file);
                let view = TrustView::new(own()?).with_bundle(Bundle::parse_spiffe(own()?, &file(twin)?)?);
                match view.with_newer(Bundle::parse_spiffe(own()?, bytes)?).1 {
                    Offer::Taken => Ok(Verdict::Accepted),
                    Offer::Older => Ok(Verdict::Refused(Refusal {
                        code: "older".to_owned(),
                        says: "the newer bundle stays".to_owned(),
                    })),
                }
            }
        }
    }

    fn judge_chain(&self, bytes: &[u8], view: &TrustView) -> Result<Verdict, Failure> {
        let certificates = certificates(bytes)?;
        let verdict = Verdict::of(verify_svid(&certificates, view, self.now));
        match (&self.key, certificates.first(), &verdict) {
            (Some(key), Some(leaf), Verdict::Accepted) => {
                let key = LocalKey::from_pkcs8(&file(key)?)?;
                Ok(Verdict::of(match_private_key(leaf, &key)))
            }
            _ => Ok(verdict),
        }
    }

    fn judge_token(&self, bytes: &[u8], view: &TrustView) -> Verdict {
        // Not one byte less or more: a line break at the end would be a fault of its own.
        let text = String::from_utf8_lossy(bytes);
        let audience = self.audience.as_deref().unwrap_or_default();
        Verdict::of(validate_svid(&text, audience, view, self.now))
    }

    /// The document as such, and then what is believed because of it.
    fn judge_bundle(&self, bytes: &[u8], manifest: &Manifest) -> Result<Verdict, Failure> {
        let bundle = match Bundle::parse_spiffe(own()?, bytes) {
            Ok(bundle) => bundle,
            refused => return Ok(Verdict::of(refused)),
        };
        let Some(then) = &self.then else {
            return Ok(Verdict::Accepted);
        };
        let view = TrustView::new(own()?).with_bundle(bundle);
        let then = manifest.case(then)?;
        match then.kind {
            Kind::Chain => then.judge_chain(&then.bytes()?, &view),
            Kind::Token => Ok(then.judge_token(&then.bytes()?, &view)),
            kind => Err(format!("{kind:?} is not checked against a bundle").into()),
        }
    }

    fn view(&self) -> Result<TrustView, Failure> {
        let mut view = TrustView::new(own()?);
        for (domain, name) in &self.bundles {
            let read = Bundle::parse_spiffe(TrustDomain::parse(domain)?, &file(name)?)?;
            view = view.with_bundle(self.with_tainted(read)?);
        }
        Ok(view)
    }

    fn with_tainted(&self, bundle: Bundle) -> Result<Bundle, Failure> {
        let mut authorities = bundle.x509().to_vec();
        for name in &self.tainted {
            authorities.push(X509Authority {
                certificate: file(name)?.into(),
                tainted: true,
            });
        }
        let (domain, sequence, hint) = (
            bundle.trust_domain().clone(),
            bundle.sequence(),
            bundle.refresh_hint(),
        );
        Ok(Bundle::new(
            domain,
            sequence,
            hint,
            authorities,
            bundle.jwt().to_vec(),
        )?)
    }
}

/// The verifier's own trust domain, and that of bundles whose case names no other.
fn own() -> Result<TrustDomain, Failure> {
    Ok(TrustDomain::parse("example.org")?)
}
