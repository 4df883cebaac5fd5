use crate::algorithm::{self, SubjectKey};
use crate::{Certificate, Der, X509Error};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, Issuer, KeyIdMethod, PublicKeyData, SigningKey,
};
use signet_crypto::{PublicKey, SignatureAlgorithm};
use signet_id::TrustDomain;
use signet_time::UnixTime;
use std::sync::Mutex;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A CA certificate in the role of issuer: what a certificate below it takes from it.
#[derive(Debug)]
pub struct IssuerCert {
    certificate: Certificate,
    public_key: PublicKey,
    key_id: Vec<u8>,
    trust_domain: Option<TrustDomain>,
    chain: Vec<Der>,
    /// Only name, key identifier and usages are read by rcgen.
    parameters: CertificateParams,
}

impl IssuerCert {
    /// Reads the issuer's own certificate.
    ///
    /// # Errors
    /// [`X509Error::Malformed`], [`X509Error::Crypto`], and [`X509Error::NotAnIssuer`] where it is no CA's, lacks
    /// keyCertSign or a key identifier, or has a name that cannot be written again byte for byte.
    pub fn parse(certificate: &[u8]) -> Result<Self, X509Error> {
        Self::with_chain(certificate, Vec::new())
    }

    /// Reads the issuer's own certificate; `above` are the intermediates between it and the root, nearest first.
    ///
    /// # Errors
    /// As [`IssuerCert::parse`].
    pub fn with_chain(certificate: &[u8], above: Vec<Der>) -> Result<Self, X509Error> {
        let refuse = |why| X509Error::NotAnIssuer { why };
        let distinguished_name = read_name(certificate)?;
        let certificate = Certificate::parse(certificate)?;
        if !certificate.is_ca() {
            return Err(refuse("basicConstraints do not make it a CA's"));
        }
        if !certificate.key_usage().is_some_and(|usage| usage.key_cert_sign) {
            return Err(refuse("keyUsage lacks keyCertSign"));
        }
        let key_id = certificate
            .subject_key_id()
            .ok_or(refuse("it has no subjectKeyIdentifier"))?
            .to_vec();
        let trust_domain = match certificate.uri_names() {
            [] => None,
            [id] => {
                Some(TrustDomain::parse_id(id).map_err(|_| refuse("its URI name is no trust domain's ID"))?)
            }
            _ => return Err(refuse("it has several URI names")),
        };
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = distinguished_name;
        parameters.key_identifier_method = KeyIdMethod::PreSpecified(key_id.clone());
        let chain = if certificate.is_self_issued() {
            Vec::new()
        } else {
            core::iter::once(certificate.der().clone()).chain(above).collect()
        };
        Ok(Self {
            public_key: certificate.public_key()?,
            key_id,
            trust_domain,
            chain,
            parameters,
            certificate,
        })
    }

    /// The issuer's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What goes behind a leaf on the wire: the issuer's certificate and the intermediates above it; never a root,
    /// so nothing where the issuer is one.
    #[must_use]
    pub fn chain(&self) -> &[Der] {
        &self.chain
    }

    /// The key that signs.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The subject key identifier: the authority key identifier of what it signs.
    #[must_use]
    pub fn key_id(&self) -> &[u8] {
        &self.key_id
    }

    /// The end of the issuer, which nothing signed by it outlives.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.certificate.not_after()
    }

    /// The trust domain whose ID the certificate carries, if it carries one.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        self.trust_domain.as_ref()
    }

    pub(crate) fn parameters(&self) -> &CertificateParams {
        &self.parameters
    }
}

/// Takes the bytes that rcgen would have signed, and signs nothing.
pub(crate) struct Capture<'a> {
    key: SubjectKey<'a>,
    algorithm: &'static rcgen::SignatureAlgorithm,
    tbs: Mutex<Vec<u8>>,
}

impl PublicKeyData for Capture<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for Capture<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        if let Ok(mut tbs) = self.tbs.lock() {
            *tbs = message.to_vec();
        }
        // An error, so that no half-built certificate leaves rcgen.
        Err(rcgen::Error::RemoteKeyError)
    }
}

/// The to-be-signed bytes of `template` for `subject`, signed by `key` under the name and key identifier in
/// `issuer`.
pub(crate) fn capture(
    template: &CertificateParams,
    subject: &PublicKey,
    issuer: &CertificateParams,
    key: &PublicKey,
    algorithm: SignatureAlgorithm,
) -> Result<Vec<u8>, X509Error> {
    let misfit = || X509Error::Algorithm {
        algorithm,
        key: key.kind(),
    };
    if !key.kind().supports(algorithm) {
        return Err(misfit());
    }
    let capture = Capture {
        key: SubjectKey::new(key).ok_or_else(misfit)?,
        algorithm: algorithm::signature(algorithm).ok_or_else(misfit)?,
        tbs: Mutex::new(Vec::new()),
    };
    let subject = SubjectKey::new(subject).ok_or_else(misfit)?;
    let issuer = Issuer::from_params(issuer, capture);
    let why = match template.signed_by(&subject, &issuer) {
        Ok(_) => "the capturing signer was not asked".to_owned(),
        Err(rcgen::Error::RemoteKeyError) => {
            let tbs = issuer.key().tbs.lock().map(|mut tbs| core::mem::take(&mut *tbs));
            return Ok(tbs.unwrap_or_default());
        }
        Err(error) => error.to_string(),
    };
    Err(X509Error::Encode { why })
}

/// The subject of `certificate` in rcgen's form. Names that would not come out the same are refused.
fn read_name(certificate: &[u8]) -> Result<DistinguishedName, X509Error> {
    let refuse = X509Error::NotAnIssuer {
        why: "its name has parts that cannot be written again",
    };
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Err(X509Error::Malformed {
            what: "not an X.509 certificate",
        });
    };
    let mut name = DistinguishedName::new();
    let mut parts = 0;
    for part in parsed.subject().iter() {
        let mut attributes = part.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else {
            return Err(refuse);
        };
        let (Some(oid), Ok(text)) = (attribute.attr_type().iter(), attribute.as_str()) else {
            return Err(refuse);
        };
        let value = match attribute.attr_value().tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => match text.try_into() {
                Ok(text) => DnValue::PrintableString(text),
                Err(_) => return Err(refuse),
            },
            Tag::Ia5String => match text.try_into() {
                Ok(text) => DnValue::Ia5String(text),
                Err(_) => return Err(refuse),
            },
            _ => return Err(refuse),
        };
        name.push(DnType::from_oid(&oid.collect::<Vec<_>>()), value);
        parts += 1;
    }
    // rcgen keeps one value per type; a name with two OUs would lose one. An issuer without name cannot be found.
    if parts == 0 || name.iter().count() != parts {
        return Err(refuse);
    }
    Ok(name)
}
