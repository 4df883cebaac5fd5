//! The profiles: what a certificate of ours looks like, before anyone signs it.

use crate::issuer::capture;
use crate::lint::{self, Expected, Subject};
use crate::{IssuerCert, Serial, Tbs, X509Error, is_dns_name};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
};
use signet_crypto::{PublicKey, SignatureAlgorithm};
use signet_id::{SpiffeId, TrustDomain};
use signet_time::UnixTime;

/// An X.509-SVID leaf: one URI name, no subject, digitalSignature, server and client authentication, noRevAvail.
#[derive(Clone, Debug)]
pub struct SvidLeaf {
    /// The identity; it has a path.
    pub id: SpiffeId,
    /// DNS names beside it; at most [`SvidLeaf::DNS_NAMES_MAX`].
    pub dns_names: Vec<String>,
    /// The workload's key.
    pub public_key: PublicKey,
    /// The serial number.
    pub serial: Serial,
    /// From when on it is valid; cut to the second.
    pub not_before: UnixTime,
    /// Until when it is valid; cut to the second, and not after the issuer's end.
    pub not_after: UnixTime,
}

/// Which place an authority has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaKind {
    /// Signs itself; signs intermediates and their revocation list.
    Root,
    /// Signed by a root; signs leaves.
    Intermediate,
}

/// A CA certificate of a trust domain. Its URI name is the trust domain's ID, without path (X509-SVID §3.1).
///
/// It carries no URI name constraints: verifiers on rustls-webpki refuse every URI name below such a CA, so the trust
/// domain is enforced by the verifier, which chooses the bundle by it.
#[derive(Clone, Debug)]
pub struct CaCert {
    /// Whose authority it is.
    pub trust_domain: TrustDomain,
    /// Subject common name, 1 to 64 characters. Make it unique among the domain's authorities.
    pub common_name: String,
    /// The authority's key.
    pub public_key: PublicKey,
    /// The serial number.
    pub serial: Serial,
    /// From when on it is valid; cut to the second.
    pub not_before: UnixTime,
    /// Until when it is valid; cut to the second, and not after the issuer's end.
    pub not_after: UnixTime,
    /// How many CAs may follow below it; `None` is any number.
    pub path_len: Option<u8>,
    /// Its place.
    pub kind: CaKind,
}

/// RFC 9608: no revocation information will ever be available. For short-lived leaves.
const NO_REV_AVAIL: &[u64] = &[2, 5, 29, 56];
const DER_NULL: [u8; 2] = [0x05, 0x00];

/// 9999-12-31T23:59:59Z: the last time that a certificate can say (RFC 5280 §4.1.2.5).
const LAST_SECOND: u64 = 253_402_300_799;

impl SvidLeaf {
    /// More DNS names than a workload has need of; as many as a certificate request may ask for.
    pub const DNS_NAMES_MAX: usize = 64;

    /// The exact bytes to be signed by `issuer` with `algorithm`, linted.
    ///
    /// # Errors
    /// Where the template breaks a rule or does not fit the issuer; [`X509Error::Lint`] where the bytes do.
    pub fn tbs(&self, issuer: &IssuerCert, algorithm: SignatureAlgorithm) -> Result<Tbs, X509Error> {
        if !self.id.has_path() {
            return Err(X509Error::IdWithoutPath { id: self.id.clone() });
        }
        may_issue(issuer, Some(self.id.trust_domain()), self.not_after)?;
        let template = self.parameters()?;
        let bytes = capture(
            &template,
            &self.public_key,
            issuer.parameters(),
            issuer.public_key(),
            algorithm,
        )?;
        lint::check(
            &bytes,
            &Expected {
                issuer_name: issuer.certificate().subject().der(),
                issuer_key_id: Some(issuer.key_id()),
                algorithm,
                public_key: &self.public_key,
                serial: self.serial,
                not_before: self.not_before,
                not_after: self.not_after,
                subject: Subject::Leaf {
                    id: &self.id,
                    dns_names: &self.dns_names,
                },
            },
        )?;
        Ok(Tbs::new(bytes, algorithm))
    }

    pub(crate) fn parameters(&self) -> Result<CertificateParams, X509Error> {
        if self.dns_names.len() > Self::DNS_NAMES_MAX {
            let (count, max) = (self.dns_names.len(), Self::DNS_NAMES_MAX);
            return Err(X509Error::ManyNames { count, max });
        }
        let mut template = common(&self.public_key, self.serial, self.not_before, self.not_after)?;
        // The subject stays empty: the name is the URI, and the SAN is critical by that (RFC 5280 §4.1.2.6).
        template.subject_alt_names.push(uri(self.id.as_str())?);
        push_dns_names(&mut template, &self.dns_names)?;
        leaf_extensions(&mut template);
        template.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        Ok(template)
    }
}

impl CaCert {
    /// Every CA of ours has this organisation; the common name tells them apart.
    pub const ORGANIZATION: &'static str = "Signet";

    /// The exact bytes to be signed by `issuer` with `algorithm`, linted.
    ///
    /// # Errors
    /// As [`SvidLeaf::tbs`].
    pub fn tbs(&self, issuer: &IssuerCert, algorithm: SignatureAlgorithm) -> Result<Tbs, X509Error> {
        may_issue(issuer, Some(&self.trust_domain), self.not_after)?;
        let mut template = self.parameters()?;
        template.use_authority_key_identifier_extension = true;
        let bytes = capture(
            &template,
            &self.public_key,
            issuer.parameters(),
            issuer.public_key(),
            algorithm,
        )?;
        lint::check(
            &bytes,
            &self.expected(
                issuer.certificate().subject().der(),
                Some(issuer.key_id()),
                algorithm,
            ),
        )?;
        Ok(Tbs::new(bytes, algorithm))
    }

    /// The exact bytes to be signed by the authority's own key with `algorithm`, linted.
    ///
    /// # Errors
    /// As [`SvidLeaf::tbs`].
    pub fn tbs_self(&self, algorithm: SignatureAlgorithm) -> Result<Tbs, X509Error> {
        let template = self.parameters()?;
        let bytes = capture(
            &template,
            &self.public_key,
            &template,
            &self.public_key,
            algorithm,
        )?;
        let subject = lint::subject_of(&bytes)?;
        lint::check(&bytes, &self.expected(subject, None, algorithm))?;
        Ok(Tbs::new(bytes, algorithm))
    }

    fn expected<'a>(
        &'a self,
        issuer_name: &'a [u8],
        issuer_key_id: Option<&'a [u8]>,
        algorithm: SignatureAlgorithm,
    ) -> Expected<'a> {
        Expected {
            issuer_name,
            issuer_key_id,
            algorithm,
            public_key: &self.public_key,
            serial: self.serial,
            not_before: self.not_before,
            not_after: self.not_after,
            subject: Subject::Ca {
                trust_domain: &self.trust_domain,
                path_len: self.path_len,
                kind: self.kind,
            },
        }
    }

    pub(crate) fn parameters(&self) -> Result<CertificateParams, X509Error> {
        if !(1..=64).contains(&self.common_name.chars().count()) {
            return Err(X509Error::CommonName {
                name: self.common_name.clone(),
            });
        }
        let mut template = common(&self.public_key, self.serial, self.not_before, self.not_after)?;
        template
            .distinguished_name
            .push(DnType::OrganizationName, Self::ORGANIZATION);
        template
            .distinguished_name
            .push(DnType::CommonName, self.common_name.as_str());
        template.subject_alt_names.push(uri(&self.trust_domain.id())?);
        template.is_ca = IsCa::Ca(match self.path_len {
            Some(length) => BasicConstraints::Constrained(length),
            None => BasicConstraints::Unconstrained,
        });
        template.key_usages = match self.kind {
            CaKind::Root => vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
            CaKind::Intermediate => vec![KeyUsagePurpose::KeyCertSign],
        };
        Ok(template)
    }
}

/// `subject` is the trust domain that the certificate names, if it names one.
pub(crate) fn may_issue(
    issuer: &IssuerCert,
    subject: Option<&TrustDomain>,
    not_after: UnixTime,
) -> Result<(), X509Error> {
    if let (Some(domain), Some(subject)) = (issuer.trust_domain(), subject)
        && domain != subject
    {
        return Err(X509Error::OtherTrustDomain {
            issuer: domain.clone(),
            subject: subject.clone(),
        });
    }
    if not_after.floor_secs() > issuer.not_after() {
        return Err(X509Error::OutlivesIssuer {
            not_after,
            issuer_not_after: issuer.not_after(),
        });
    }
    Ok(())
}

pub(crate) fn push_dns_names(template: &mut CertificateParams, names: &[String]) -> Result<(), X509Error> {
    for name in names {
        let refuse = || X509Error::DnsName { name: name.clone() };
        if !is_dns_name(name) {
            return Err(refuse());
        }
        let name = Ia5String::try_from(name.as_str()).map_err(|_| refuse())?;
        template.subject_alt_names.push(SanType::DnsName(name));
    }
    Ok(())
}

/// What every leaf has beside its names and what it may be used for.
pub(crate) fn leaf_extensions(template: &mut CertificateParams) {
    // Not `NoCa`: that writes neither basicConstraints nor a subject key identifier.
    template.is_ca = IsCa::ExplicitNoCa;
    template.use_authority_key_identifier_extension = true;
    template.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    template.custom_extensions = vec![CustomExtension::from_oid_content(NO_REV_AVAIL, DER_NULL.to_vec())];
}

/// What every profile starts from: none of rcgen's own defaults for name, validity, serial or key identifier.
pub(crate) fn common(
    public_key: &PublicKey,
    serial: Serial,
    not_before: UnixTime,
    not_after: UnixTime,
) -> Result<CertificateParams, X509Error> {
    if not_before.as_secs() >= not_after.as_secs() || not_after.as_secs() > LAST_SECOND {
        return Err(X509Error::Validity {
            not_before,
            not_after,
        });
    }
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |time: UnixTime| epoch + core::time::Duration::from_secs(time.as_secs());
    let mut template = CertificateParams::default();
    template.distinguished_name = DistinguishedName::new();
    template.not_before = at(not_before);
    template.not_after = at(not_after);
    template.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    template.key_identifier_method = KeyIdMethod::PreSpecified(public_key.key_id().to_vec());
    Ok(template)
}

fn uri(id: &str) -> Result<SanType, X509Error> {
    let id = Ia5String::try_from(id).map_err(|_| X509Error::Encode {
        why: "uri name is not ascii".to_owned(),
    })?;
    Ok(SanType::URI(id))
}

#[cfg(test)]
#[path = "template_tests.rs"]
pub(crate) mod tests;
