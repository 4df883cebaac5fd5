//! The last look at the bytes before a key signs them.
//!
//! The lints read the final to-be-signed bytes with a parser that shares no code with the encoder, and compare them
//! with what was admitted. A finding is a defect of ours, never a caller's fault; nothing is signed then.

use crate::der::{Reader, SEQUENCE};
use crate::names::AltNames;
use crate::{CaKind, Serial, algorithm};
use core::net::IpAddr;
use signet_crypto::{KeyKind, PublicKey, SignatureAlgorithm};
use signet_id::{SpiffeId, TrustDomain};
use signet_time::UnixTime;
use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::{FromDer, X509Version};

/// The rule that the to-be-signed bytes broke.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LintError {
    /// Not a TBSCertificate.
    #[error("the bytes are no TBSCertificate")]
    Malformed,
    /// Bytes after it.
    #[error("bytes follow the TBSCertificate")]
    Trailing,
    /// Not version 3.
    #[error("version is not 3")]
    Version,
    /// Not 1 to 20 bytes, not positive, zero, or not the one that was reserved.
    #[error("serial number is not the reserved one or not a positive number of at most 20 bytes")]
    Serial,
    /// Not the issuer's subject, byte for byte.
    #[error("issuer name differs from the issuer's subject")]
    IssuerName,
    /// Not the times that were admitted.
    #[error("validity differs from what was admitted")]
    Validity,
    /// A leaf with subject, or a CA without.
    #[error("subject is empty where it must not be, or not empty where it must")]
    Subject,
    /// Not the algorithm that the issuer signs with, in its one form.
    #[error("signature algorithm is not the issuer's, or has other parameters")]
    SignatureAlgorithm,
    /// Not the admitted key.
    #[error("public key differs from what was admitted")]
    PublicKey,
    /// issuerUniqueID or subjectUniqueID.
    #[error("unique identifiers are present")]
    UniqueId,
    /// An extension stands twice.
    #[error("an extension stands twice")]
    DuplicateExtension,
    /// An extension that the profile does not have.
    #[error("an extension that the profile does not have")]
    UnknownExtension,
    /// An extension of the profile is absent.
    #[error("an extension of the profile is missing")]
    MissingExtension,
    /// subjectAltName must be critical exactly where the subject is empty.
    #[error("subjectAltName is critical with a subject, or not critical without one")]
    AltNameCritical,
    /// Not exactly the admitted ID as URI name; one where none was admitted.
    #[error("uri names are not exactly the admitted id")]
    UriName,
    /// The other names differ from what was admitted.
    #[error("names beside the uri differ from what was admitted")]
    OtherName,
    /// keyUsage is not critical.
    #[error("keyUsage is not critical")]
    KeyUsageCritical,
    /// keyUsage is not exactly the profile's.
    #[error("keyUsage differs from the profile's")]
    KeyUsage,
    /// keyUsage of an ML-DSA key holds a use other than signing, or none (RFC 9881 §5).
    #[error("keyUsage of an ml-dsa key allows something other than signatures")]
    MlDsaKeyUsage,
    /// extendedKeyUsage is critical, or not exactly the profile's: server and client authentication, or the server's.
    #[error("extendedKeyUsage is critical or differs from the profile's")]
    ExtendedKeyUsage,
    /// Not the issuer's key identifier.
    #[error("authorityKeyIdentifier differs from the issuer's key identifier")]
    AuthorityKeyId,
    /// Not the key's identifier.
    #[error("subjectKeyIdentifier is not the key's")]
    SubjectKeyId,
    /// Not critical, or not what the profile says about CA and path length.
    #[error("basicConstraints differ from the profile's")]
    BasicConstraints,
    /// noRevAvail is critical or not NULL.
    #[error("noRevAvail is critical or not null")]
    NoRevAvail,
}

/// What was admitted.
pub(crate) struct Expected<'a> {
    pub(crate) issuer_name: &'a [u8],
    /// `None` for a certificate that signs itself.
    pub(crate) issuer_key_id: Option<&'a [u8]>,
    /// What the issuer signs with.
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) public_key: &'a PublicKey,
    pub(crate) serial: Serial,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
    pub(crate) subject: Subject<'a>,
}

/// What was admitted of the three profiles.
pub(crate) enum Subject<'a> {
    Leaf {
        id: &'a SpiffeId,
        dns_names: &'a [String],
    },
    TlsServer {
        dns_names: &'a [String],
        ip_addresses: &'a [IpAddr],
    },
    Ca {
        trust_domain: &'a TrustDomain,
        path_len: Option<u8>,
        kind: CaKind,
    },
}

/// The subject's bytes: the issuer name of a certificate that signs itself.
pub(crate) fn subject_of(tbs: &[u8]) -> Result<&[u8], LintError> {
    let (_, tbs) = TbsCertificate::from_der(tbs).map_err(|_| LintError::Malformed)?;
    Ok(tbs.subject.as_raw())
}

/// Compares `tbs` with what was admitted, bit by bit of the profile.
pub(crate) fn check(bytes: &[u8], expected: &Expected<'_>) -> Result<(), LintError> {
    let (rest, tbs) = TbsCertificate::from_der(bytes).map_err(|_| LintError::Malformed)?;
    ensure(rest.is_empty(), LintError::Trailing)?;
    ensure(tbs.version() == X509Version::V3, LintError::Version)?;
    ensure(serial_is(tbs.raw_serial(), expected.serial), LintError::Serial)?;
    ensure(tbs.issuer.as_raw() == expected.issuer_name, LintError::IssuerName)?;
    ensure(
        is_algorithm(bytes, expected.algorithm),
        LintError::SignatureAlgorithm,
    )?;
    let is_at = |found: i64, time: UnixTime| u64::try_from(found).is_ok_and(|secs| secs == time.as_secs());
    let validity = tbs.validity();
    ensure(
        is_at(validity.not_before.timestamp(), expected.not_before)
            && is_at(validity.not_after.timestamp(), expected.not_after)
            && validity.not_before < validity.not_after,
        LintError::Validity,
    )?;
    let nameless = tbs.subject.iter().next().is_none();
    ensure(
        nameless != matches!(expected.subject, Subject::Ca { .. }),
        LintError::Subject,
    )?;
    ensure(
        tbs.subject_pki.raw == expected.public_key.spki_der(),
        LintError::PublicKey,
    )?;
    ensure(
        tbs.issuer_uid.is_none() && tbs.subject_uid.is_none(),
        LintError::UniqueId,
    )?;
    let mut seen = 0_u8;
    for extension in tbs.extensions() {
        let bit = check_extension(extension, nameless, expected)?;
        ensure(seen & bit == 0, LintError::DuplicateExtension)?;
        seen |= bit;
    }
    let mut wanted = ALT_NAME | KEY_USAGE | SUBJECT_KEY | CONSTRAINTS;
    if expected.issuer_key_id.is_some() {
        wanted |= AUTHORITY_KEY;
    }
    if nameless {
        wanted |= EXTENDED_USAGE | NO_REV_AVAIL;
    }
    ensure(seen & !wanted == 0, LintError::UnknownExtension)?;
    ensure(seen == wanted, LintError::MissingExtension)
}

const ALT_NAME: u8 = 1;
const KEY_USAGE: u8 = 1 << 1;
const EXTENDED_USAGE: u8 = 1 << 2;
const AUTHORITY_KEY: u8 = 1 << 3;
const SUBJECT_KEY: u8 = 1 << 4;
const CONSTRAINTS: u8 = 1 << 5;
const NO_REV_AVAIL: u8 = 1 << 6;

/// 2.5.29.56.
const NO_REV_AVAIL_OID: &[u8] = &[0x55, 0x1d, 0x38];

/// Bits as x509-parser counts them: the first bit of the extension is the lowest.
const DIGITAL_SIGNATURE: u16 = 1;
const NON_REPUDIATION: u16 = 1 << 1;
const KEY_CERT_SIGN: u16 = 1 << 5;
const CRL_SIGN: u16 = 1 << 6;

/// All that a key usage of an ML-DSA key may hold (RFC 9881 §5), and it must hold one of them.
const ML_DSA_USAGES: u16 = DIGITAL_SIGNATURE | NON_REPUDIATION | KEY_CERT_SIGN | CRL_SIGN;

/// Checks one extension and names it by its bit.
fn check_extension(
    extension: &X509Extension<'_>,
    nameless: bool,
    expected: &Expected<'_>,
) -> Result<u8, LintError> {
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(_) => {
            ensure(extension.critical == nameless, LintError::AltNameCritical)?;
            check_names(extension.value, expected).map(|()| ALT_NAME)
        }
        ParsedExtension::KeyUsage(usage) => {
            ensure(extension.critical, LintError::KeyUsageCritical)?;
            if is_ml_dsa(expected.public_key) {
                let allowed = usage.flags != 0 && usage.flags & !ML_DSA_USAGES == 0;
                ensure(allowed, LintError::MlDsaKeyUsage)?;
            }
            let wanted = match expected.subject {
                Subject::Leaf { .. } | Subject::TlsServer { .. } => DIGITAL_SIGNATURE,
                Subject::Ca {
                    kind: CaKind::Root, ..
                } => KEY_CERT_SIGN | CRL_SIGN,
                Subject::Ca {
                    kind: CaKind::Intermediate,
                    ..
                } => KEY_CERT_SIGN,
            };
            ensure(usage.flags == wanted, LintError::KeyUsage).map(|()| KEY_USAGE)
        }
        ParsedExtension::ExtendedKeyUsage(usage) => {
            let others = usage.any
                || usage.code_signing
                || usage.email_protection
                || usage.time_stamping
                || usage.ocsp_signing
                || !usage.other.is_empty();
            // A certificate without identity is no client's.
            let client = !matches!(expected.subject, Subject::TlsServer { .. });
            let exact = usage.server_auth && usage.client_auth == client && !others && !extension.critical;
            ensure(exact, LintError::ExtendedKeyUsage).map(|()| EXTENDED_USAGE)
        }
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            let found = id.key_identifier.as_ref().map(|id| id.0);
            let bare = id.authority_cert_issuer.is_none() && id.authority_cert_serial.is_none();
            let same = found.is_some() && found == expected.issuer_key_id;
            ensure(same && bare && !extension.critical, LintError::AuthorityKeyId).map(|()| AUTHORITY_KEY)
        }
        ParsedExtension::SubjectKeyIdentifier(id) => {
            let same = id.0 == expected.public_key.key_id();
            ensure(same && !extension.critical, LintError::SubjectKeyId).map(|()| SUBJECT_KEY)
        }
        ParsedExtension::BasicConstraints(found) => {
            let (ca, path_len) = match expected.subject {
                Subject::Leaf { .. } | Subject::TlsServer { .. } => (false, None),
                Subject::Ca { path_len, .. } => (true, path_len.map(u32::from)),
            };
            let same = found.ca == ca && found.path_len_constraint == path_len;
            ensure(same && extension.critical, LintError::BasicConstraints).map(|()| CONSTRAINTS)
        }
        _ if extension.oid.as_bytes() == NO_REV_AVAIL_OID => {
            let bare = extension.value == [0x05, 0x00] && !extension.critical;
            ensure(bare, LintError::NoRevAvail).map(|()| NO_REV_AVAIL)
        }
        _ => Err(LintError::UnknownExtension),
    }
}

fn is_ml_dsa(key: &PublicKey) -> bool {
    matches!(key.kind(), KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87)
}

/// Whether the bytes name `wanted` as their signature's algorithm, with NULL as parameters for RSA and none for any
/// other (RFC 4055 §5, RFC 5758 §3.2, RFC 8410 §3, RFC 9881 §2).
fn is_algorithm(tbs: &[u8], wanted: SignatureAlgorithm) -> bool {
    let named = crate::tbs::algorithm_of(tbs)
        .and_then(|raw| Reader::only(raw, SEQUENCE))
        .map(|identifier| identifier.content);
    named.is_ok_and(|content| algorithm::is_identifier(content, wanted))
}

fn check_names(value: &[u8], expected: &Expected<'_>) -> Result<(), LintError> {
    let names = AltNames::parse(value).map_err(|_| LintError::Malformed)?;
    let (uri, dns_names, ip_addresses) = match expected.subject {
        Subject::Leaf { id, dns_names } => (Some(id.as_str().to_owned()), dns_names, &[][..]),
        Subject::TlsServer {
            dns_names,
            ip_addresses,
        } => (None, dns_names, ip_addresses),
        Subject::Ca { trust_domain, .. } => (Some(trust_domain.id()), &[][..], &[][..]),
    };
    ensure(names.uris == Vec::from_iter(uri), LintError::UriName)?;
    let others = names.addresses == ip_addresses && names.others == ip_addresses.len();
    ensure(names.dns == dns_names && others, LintError::OtherName)
}

/// Whether `raw` is `serial` as a DER INTEGER: positive, in the fewest bytes, not more than 20.
fn serial_is(raw: &[u8], serial: Serial) -> bool {
    let digits = match raw {
        [0, rest @ ..] if rest.first().is_some_and(|b| b & 0x80 != 0) => rest,
        [first, ..] if (1..=0x7f).contains(first) => raw,
        _ => return false,
    };
    let start = serial.as_bytes().iter().position(|b| *b != 0).unwrap_or(0);
    raw.len() <= 20 && serial.as_bytes().get(start..) == Some(digits)
}

fn ensure(holds: bool, broken: LintError) -> Result<(), LintError> {
    if holds { Ok(()) } else { Err(broken) }
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
