use crate::der::{BIT_STRING, NotDer, Reader, SEQUENCE, whole_bits};
use crate::names::AltNames;
use crate::serial::hex;
use crate::{Der, X509Error, algorithm};
use core::net::IpAddr;
use signet_crypto::{PublicKey, SignatureEncoding, digest};
use signet_time::UnixTime;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

/// A certificate that was read, for looking at. Nothing about it is verified.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Der,
    serial: Vec<u8>,
    not_before: UnixTime,
    not_after: UnixTime,
    subject: Name,
    issuer: Name,
    spki: Vec<u8>,
    names: AltNames,
    constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
}

/// A distinguished name, as bytes to compare and as text to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    der: Vec<u8>,
    text: String,
}

impl Name {
    /// The DER bytes: two names are the same where these are.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// For people: `O=Signet, CN=...`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What basicConstraints says (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether the key may sign certificates.
    pub ca: bool,
    /// How many intermediates may follow.
    pub path_len: Option<u32>,
}

/// What keyUsage says (RFC 5280 §4.2.1.3), as far as anyone here asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// Whether the extension is critical.
    pub critical: bool,
    /// Signatures other than on certificates and lists: what TLS 1.3 needs.
    pub digital_signature: bool,
    /// Signatures on certificates.
    pub key_cert_sign: bool,
    /// Signatures on revocation lists.
    pub crl_sign: bool,
}

impl Certificate {
    /// The longest certificate that is read: the largest that ML-DSA-87 key and signature make, several times.
    pub const BYTES_MAX: usize = 64 << 10;

    /// More extensions than any certificate in use has.
    const EXTENSIONS_MAX: usize = 64;

    /// Reads one certificate, and nothing after it.
    ///
    /// # Errors
    /// [`X509Error::Malformed`].
    pub fn parse(der: &[u8]) -> Result<Self, X509Error> {
        let malformed = |what| X509Error::Malformed { what };
        if der.len() > Self::BYTES_MAX {
            return Err(malformed("longer than 64 KiB"));
        }
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|_| malformed("not an X.509 certificate"))?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow the certificate"));
        }
        let tbs = &parsed.tbs_certificate;
        if tbs.version() != X509Version::V3 {
            return Err(malformed("not of version 3"));
        }
        let mut certificate = Self {
            der: Der::from(der.to_vec()),
            serial: tbs.raw_serial().to_vec(),
            not_before: time(tbs.validity().not_before.timestamp()),
            not_after: time(tbs.validity().not_after.timestamp()),
            subject: name(tbs.subject()),
            issuer: name(tbs.issuer()),
            spki: tbs.subject_pki.raw.to_vec(),
            names: AltNames::default(),
            constraints: None,
            key_usage: None,
            subject_key_id: None,
            authority_key_id: None,
        };
        let extensions = tbs.extensions();
        if extensions.len() > Self::EXTENSIONS_MAX {
            return Err(malformed("more than 64 extensions"));
        }
        for (index, extension) in extensions.iter().enumerate() {
            if extensions.iter().take(index).any(|e| e.oid == extension.oid) {
                return Err(malformed("an extension stands twice"));
            }
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(_) => {
                    certificate.names =
                        AltNames::parse(extension.value).map_err(|_| malformed("subjectAltName"))?;
                }
                ParsedExtension::BasicConstraints(found) => {
                    certificate.constraints = Some(BasicConstraints {
                        ca: found.ca,
                        path_len: found.path_len_constraint,
                    });
                }
                ParsedExtension::KeyUsage(found) => {
                    certificate.key_usage = Some(KeyUsage {
                        critical: extension.critical,
                        digital_signature: found.digital_signature(),
                        key_cert_sign: found.key_cert_sign(),
                        crl_sign: found.crl_sign(),
                    });
                }
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    certificate.subject_key_id = Some(id.0.to_vec());
                }
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    certificate.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                ParsedExtension::ParseError { .. } => return Err(malformed("an extension")),
                _ => {}
            }
        }
        Ok(certificate)
    }

    /// The bytes that were read.
    #[must_use]
    pub fn der(&self) -> &Der {
        &self.der
    }

    /// The serial number as [`crate::Serial::hex`] shows it.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        hex(&self.serial)
    }

    /// From when on it is valid.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// Until when it is valid, that second included.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Whom it names.
    #[must_use]
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// Who is said to have signed it.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// Whether it names itself as issuer.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject.der == self.issuer.der
    }

    /// Its key.
    ///
    /// # Errors
    /// [`X509Error::Crypto`] where the key's kind or size is not one we use.
    pub fn public_key(&self) -> Result<PublicKey, X509Error> {
        Ok(PublicKey::from_spki_der(&self.spki)?)
    }

    /// The SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The URI names, in their order.
    #[must_use]
    pub fn uri_names(&self) -> &[String] {
        &self.names.uris
    }

    /// The DNS names, in their order.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.names.dns
    }

    /// The IP addresses, in their order.
    #[must_use]
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.names.addresses
    }

    /// How many subject alternative names it has, of all kinds.
    #[must_use]
    pub fn name_count(&self) -> usize {
        self.names.count()
    }

    /// basicConstraints, if it has any.
    #[must_use]
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.constraints
    }

    /// keyUsage, if it has any.
    #[must_use]
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.key_usage
    }

    /// Whether basicConstraints says that it is an authority's.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.constraints.is_some_and(|c| c.ca)
    }

    /// subjectKeyIdentifier.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// The key identifier in authorityKeyIdentifier.
    #[must_use]
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    /// That `key` signed the certificate. Looks at nothing else: names, times and usages are the caller's to check.
    ///
    /// # Errors
    /// [`X509Error::Malformed`] where the algorithm is unknown or not the key's, [`X509Error::Crypto`] where the
    /// signature does not verify.
    pub fn verify_signed_by(&self, key: &PublicKey) -> Result<(), X509Error> {
        let malformed = |what| X509Error::Malformed { what };
        let parts = parts(&self.der).map_err(|NotDer| malformed("outermost parts"))?;
        let algorithm = algorithm::from_identifier(parts.algorithm)
            .filter(|algorithm| key.kind().supports(*algorithm))
            .ok_or(malformed("signature algorithm"))?;
        Ok(key.verify(algorithm, SignatureEncoding::Asn1, parts.tbs, parts.signature)?)
    }

    /// SHA-256 of the whole certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        digest::sha256(&self.der)
    }
}

/// The three parts of a certificate: to-be-signed bytes, contents of the AlgorithmIdentifier, signature.
struct Parts<'a> {
    tbs: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

fn parts(der: &[u8]) -> Result<Parts<'_>, NotDer> {
    let mut reader = Reader::new(Reader::only(der, SEQUENCE)?.content);
    let tbs = reader.expect(SEQUENCE)?.raw;
    let algorithm = reader.expect(SEQUENCE)?.content;
    let signature = whole_bits(&reader.expect(BIT_STRING)?)?;
    reader.finish()?;
    Ok(Parts {
        tbs,
        algorithm,
        signature,
    })
}

fn time(secs: i64) -> UnixTime {
    // What began before 1970 began long enough ago.
    UnixTime::from_secs(u64::try_from(secs).unwrap_or(0))
}

fn name(name: &x509_parser::x509::X509Name<'_>) -> Name {
    Name {
        der: name.as_raw().to_vec(),
        text: name.to_string(),
    }
}
