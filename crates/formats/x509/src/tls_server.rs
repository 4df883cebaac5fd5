use crate::issuer::capture;
use crate::lint::{self, Expected, Subject};
use crate::template::{common, leaf_extensions, may_issue, push_dns_names};
use crate::{IssuerCert, Serial, SvidLeaf, Tbs, X509Error};
use core::net::IpAddr;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use signet_crypto::{PublicKey, SignatureAlgorithm};
use signet_time::UnixTime;

/// The certificate of an HTTPS server for clients that know names and no identities: DNS names and addresses, no
/// subject, digitalSignature, server authentication, noRevAvail.
///
/// It has no URI name, so no verifier of SVIDs takes it for one (X509-SVID §2).
#[derive(Clone, Debug)]
pub struct TlsServerLeaf {
    /// The DNS names.
    pub dns_names: Vec<String>,
    /// The addresses. There is at least one name of either kind, and at most [`SvidLeaf::DNS_NAMES_MAX`] in all.
    pub ip_addresses: Vec<IpAddr>,
    /// The server's key.
    pub public_key: PublicKey,
    /// The serial number.
    pub serial: Serial,
    /// From when on it is valid; cut to the second.
    pub not_before: UnixTime,
    /// Until when it is valid; cut to the second, and not after the issuer's end.
    pub not_after: UnixTime,
}

impl TlsServerLeaf {
    /// The exact bytes to be signed by `issuer` with `algorithm`, linted.
    ///
    /// # Errors
    /// Where the template breaks a rule or does not fit the issuer; [`X509Error::Lint`] where the bytes do.
    pub fn tbs(&self, issuer: &IssuerCert, algorithm: SignatureAlgorithm) -> Result<Tbs, X509Error> {
        may_issue(issuer, None, self.not_after)?;
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
                subject: Subject::TlsServer {
                    dns_names: &self.dns_names,
                    ip_addresses: &self.ip_addresses,
                },
            },
        )?;
        Ok(Tbs::new(bytes, algorithm))
    }

    fn parameters(&self) -> Result<CertificateParams, X509Error> {
        let (count, max) = (
            self.dns_names.len() + self.ip_addresses.len(),
            SvidLeaf::DNS_NAMES_MAX,
        );
        if count == 0 {
            return Err(X509Error::NoNames);
        }
        if count > max {
            return Err(X509Error::ManyNames { count, max });
        }
        let mut template = common(&self.public_key, self.serial, self.not_before, self.not_after)?;
        push_dns_names(&mut template, &self.dns_names)?;
        let addresses = self.ip_addresses.iter().copied().map(SanType::IpAddress);
        template.subject_alt_names.extend(addresses);
        leaf_extensions(&mut template);
        template.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Certificate;
    use crate::lint::LintError;
    use crate::template::tests::{END, Fixture, START};
    use signet_crypto::{KeyKind, LocalKey, SignatureEncoding};
    use std::time::Duration;

    const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::Ed25519;

    fn leaf() -> TlsServerLeaf {
        TlsServerLeaf {
            dns_names: vec!["localhost".to_owned(), "host.example.org".to_owned()],
            ip_addresses: vec![[127, 0, 0, 1].into(), [0x20_u16, 1, 0, 0, 0, 0, 0, 1].into()],
            public_key: LocalKey::generate(KeyKind::P256).unwrap().public_key().clone(),
            serial: Serial::new([0x12; 16]).unwrap(),
            not_before: START,
            not_after: END,
        }
    }

    #[test]
    fn it_has_its_names_and_no_identity() {
        let fixture = Fixture::new(KeyKind::Ed25519);
        let leaf = leaf();
        let tbs = leaf.tbs(&fixture.issuer, ALGORITHM).unwrap();
        let signature = fixture
            .key
            .sign(ALGORITHM, SignatureEncoding::Asn1, tbs.bytes())
            .unwrap();
        let read = Certificate::parse(&tbs.assemble(&signature).unwrap()).unwrap();
        assert_eq!(read.dns_names(), leaf.dns_names);
        assert_eq!(read.ip_addresses(), leaf.ip_addresses);
        assert!(read.uri_names().is_empty() && !read.is_ca());
        assert_eq!(read.name_count(), 4);
        assert_eq!((read.not_before(), read.not_after()), (START, END));
    }

    /// Each case changes one thing between what was admitted and what is to be signed.
    #[test]
    fn the_lints_know_the_profile() {
        let fixture = Fixture::new(KeyKind::Ed25519);
        let leaf = leaf();
        let check = |change: &dyn Fn(&mut CertificateParams), ip_addresses: &[IpAddr]| {
            let mut template = leaf.parameters().unwrap();
            change(&mut template);
            let (issuer, key) = (fixture.issuer.parameters(), fixture.issuer.public_key());
            let tbs = capture(&template, &leaf.public_key, issuer, key, ALGORITHM).unwrap();
            lint::check(
                &tbs,
                &Expected {
                    issuer_name: fixture.issuer.certificate().subject().der(),
                    issuer_key_id: Some(fixture.issuer.key_id()),
                    algorithm: ALGORITHM,
                    public_key: &leaf.public_key,
                    serial: leaf.serial,
                    not_before: leaf.not_before,
                    not_after: leaf.not_after,
                    subject: Subject::TlsServer {
                        dns_names: &leaf.dns_names,
                        ip_addresses,
                    },
                },
            )
        };
        let all = leaf.ip_addresses.as_slice();
        assert_eq!(check(&|_| (), all), Ok(()));
        assert_eq!(check(&|_| (), &all[..1]), Err(LintError::OtherName));
        assert_eq!(check(&|_| (), &[all[1], all[0]]), Err(LintError::OtherName));
        let identity = |template: &mut CertificateParams| {
            let id = "spiffe://example.org/a".try_into().unwrap();
            template.subject_alt_names.push(SanType::URI(id));
        };
        assert_eq!(check(&identity, all), Err(LintError::UriName));
        let client = |template: &mut CertificateParams| {
            template
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
        };
        assert_eq!(check(&client, all), Err(LintError::ExtendedKeyUsage));
        let mail = |template: &mut CertificateParams| {
            let mail = "a@example.org".try_into().unwrap();
            template.subject_alt_names.push(SanType::Rfc822Name(mail));
        };
        assert_eq!(check(&mail, all), Err(LintError::OtherName));
    }

    #[test]
    fn names_are_bounded_and_checked() {
        let fixture = Fixture::new(KeyKind::Ed25519);
        let refused = |change: &dyn Fn(&mut TlsServerLeaf)| {
            let mut leaf = leaf();
            change(&mut leaf);
            leaf.tbs(&fixture.issuer, ALGORITHM).unwrap_err()
        };
        let none = refused(&|leaf| {
            leaf.dns_names.clear();
            leaf.ip_addresses.clear();
        });
        assert!(matches!(none, X509Error::NoNames), "{none}");
        let many = refused(&|leaf| leaf.ip_addresses = vec![[127, 0, 0, 1].into(); 63]);
        assert!(matches!(many, X509Error::ManyNames { count: 65, .. }), "{many}");
        let wild = refused(&|leaf| leaf.dns_names[0] = "*.example.org".to_owned());
        assert!(matches!(wild, X509Error::DnsName { .. }), "{wild}");
        let late = refused(&|leaf| leaf.not_after = END + Duration::from_hours(48));
        assert!(matches!(late, X509Error::OutlivesIssuer { .. }), "{late}");
    }
}
