//! What a node signs with its own key: requests, and the certificate that proves possession.

use crate::algorithm::{self, SubjectKey};
use crate::{Der, Serial, X509Error};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SigningKey,
};
use signet_crypto::{LocalKey, SignatureAlgorithm, SignatureEncoding};
use signet_id::SpiffeId;
use signet_time::UnixTime;
use std::time::Duration;

/// A key of ours that rcgen may sign with.
struct LocalSigner<'a> {
    key: &'a LocalKey,
    subject: SubjectKey<'a>,
    algorithm: SignatureAlgorithm,
    name: &'static rcgen::SignatureAlgorithm,
}

impl<'a> LocalSigner<'a> {
    fn new(key: &'a LocalKey) -> Result<Self, X509Error> {
        let kind = key.public_key().kind();
        let algorithm = kind.default_algorithm();
        let misfit = || X509Error::Algorithm { algorithm, key: kind };
        Ok(Self {
            key,
            subject: SubjectKey::new(key.public_key()).ok_or_else(misfit)?,
            algorithm,
            name: algorithm::signature(algorithm).ok_or_else(misfit)?,
        })
    }
}

impl PublicKeyData for LocalSigner<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.subject.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.name
    }
}

impl SigningKey for LocalSigner<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key
            .sign(self.algorithm, SignatureEncoding::Asn1, message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// A certificate request for `key`, asking for the identity `id` and the names `dns_names`.
///
/// # Errors
/// [`X509Error::Algorithm`], [`X509Error::DnsName`], [`X509Error::Encode`].
pub fn make_csr(key: &LocalKey, id: Option<&SpiffeId>, dns_names: &[String]) -> Result<Vec<u8>, X509Error> {
    let mut template = nameless();
    if let Some(id) = id {
        let uri = Ia5String::try_from(id.as_str()).map_err(encode)?;
        template.subject_alt_names.push(SanType::URI(uri));
    }
    for name in dns_names {
        if !crate::is_dns_name(name) {
            return Err(X509Error::DnsName { name: name.clone() });
        }
        let name = Ia5String::try_from(name.as_str()).map_err(encode)?;
        template.subject_alt_names.push(SanType::DnsName(name));
    }
    let request = template
        .serialize_request(&LocalSigner::new(key)?)
        .map_err(encode)?;
    Ok(request.der().to_vec())
}

/// The common name of a node's own certificate.
pub const NODE_COMMON_NAME: &str = "signet node";

/// How far a node's clock may be behind before its fresh certificate looks not yet valid.
const BACKDATED: Duration = Duration::from_hours(1);

/// Long enough for a node that waits for its join token; the handshake is what proves possession.
const NODE_CERTIFICATE_LIFE: Duration = Duration::from_hours(24);

/// A certificate that `key` signs for itself: shown on the first contact as proof of possession, and nothing else.
/// It has no alternative names, so no identity can be read from it.
///
/// # Errors
/// [`X509Error::Algorithm`], [`X509Error::Encode`], [`X509Error::Crypto`].
pub fn self_signed_node(key: &LocalKey, now: UnixTime) -> Result<Der, X509Error> {
    let mut serial = signet_crypto::random::<16>()?;
    serial[0] |= 1;
    let serial = Serial::new(serial)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |time: UnixTime| epoch + Duration::from_secs(time.as_secs());
    let mut template = nameless();
    template.not_before = at(now - BACKDATED);
    template.not_after = at(now + NODE_CERTIFICATE_LIFE);
    template.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    template
        .distinguished_name
        .push(DnType::CommonName, NODE_COMMON_NAME);
    template.is_ca = IsCa::ExplicitNoCa;
    template.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    template.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    template.key_identifier_method = KeyIdMethod::PreSpecified(key.public_key().key_id().to_vec());
    let certificate = template.self_signed(&LocalSigner::new(key)?).map_err(encode)?;
    Ok(certificate.into())
}

fn nameless() -> CertificateParams {
    let mut template = CertificateParams::default();
    template.distinguished_name = DistinguishedName::new();
    template
}

fn encode(error: rcgen::Error) -> X509Error {
    X509Error::Encode {
        why: error.to_string(),
    }
}
