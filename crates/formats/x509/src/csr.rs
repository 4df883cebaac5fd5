use crate::algorithm;
use crate::der::{
    BIT_STRING, BOOLEAN, CONTEXT_0, Element, INTEGER, NotDer, OCTET_STRING, OID, Reader, SEQUENCE, SET,
    whole_bits,
};
use crate::names::AltNames;
use crate::{CsrError, is_dns_name};
use signet_crypto::{PublicKey, SignatureEncoding};

/// A certificate request that was read and whose signature proves possession of its key (PKCS #10, RFC 2986).
///
/// What it asks for beyond the key are wishes: the template decides. The names are here so that the authority can
/// refuse a request that wishes for more than it may have, instead of silently giving less. Subject, extended key
/// usages and unknown attributes are not looked at.
#[derive(Clone, Debug)]
pub struct Csr {
    /// The key; the sender has its private half.
    pub public_key: PublicKey,
    /// The URI names asked for: none or one, unchecked text otherwise.
    pub uri_names: Vec<String>,
    /// The DNS names asked for, each a legal one.
    pub dns_names: Vec<String>,
}

impl Csr {
    /// The longest request that is read: an ML-DSA-87 key with its signature and full names takes half of it.
    pub const BYTES_MAX: usize = 16 << 10;

    /// The most names that a request may ask for.
    pub const NAMES_MAX: usize = 64;

    /// Attributes that a request may have; one is known.
    const ATTRIBUTES_MAX: usize = 16;

    /// Extensions that a request may ask for.
    const EXTENSIONS_MAX: usize = 32;

    /// Reads a request and verifies its signature, which is looked at last.
    ///
    /// # Errors
    /// One variant of [`CsrError`] for each reason.
    pub fn parse(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > Self::BYTES_MAX {
            return Err(CsrError::TooLong {
                bytes: der.len(),
                max: Self::BYTES_MAX,
            });
        }
        let mut reader = Reader::new(der);
        let request = reader.expect(SEQUENCE).map_err(malformed("not a SEQUENCE"))?;
        if !reader.is_empty() {
            return Err(CsrError::Trailing {
                bytes: der.len() - request.raw.len(),
            });
        }
        let mut parts = Reader::new(request.content);
        let info = parts
            .expect(SEQUENCE)
            .map_err(malformed("certificationRequestInfo"))?;
        let algorithm = parts.expect(SEQUENCE).map_err(malformed("signatureAlgorithm"))?;
        let signature = parts.expect(BIT_STRING).map_err(malformed("signature"))?;
        let signature = whole_bits(&signature).map_err(malformed("signature"))?;
        parts.finish().map_err(malformed("more than three parts"))?;

        let mut fields = Reader::new(info.content);
        let version = fields.expect(INTEGER).map_err(malformed("version"))?;
        if version.content != [0] {
            return Err(CsrError::Malformed {
                what: "version is not 1",
            });
        }
        fields.expect(SEQUENCE).map_err(malformed("subject"))?;
        let spki = fields
            .expect(SEQUENCE)
            .map_err(malformed("subjectPublicKeyInfo"))?;
        let attributes = fields.expect(CONTEXT_0).map_err(malformed("attributes"))?;
        fields.finish().map_err(malformed("more than four fields"))?;

        let names = wishes(attributes)?;
        let public_key = PublicKey::from_spki_der(spki.raw).map_err(CsrError::Key)?;
        let algorithm = algorithm::from_identifier(algorithm.content)
            .filter(|algorithm| public_key.kind().supports(*algorithm))
            .ok_or(CsrError::Algorithm)?;
        public_key
            .verify(algorithm, SignatureEncoding::Asn1, info.raw, signature)
            .map_err(CsrError::Signature)?;
        Ok(Self {
            public_key,
            uri_names: names.uris,
            dns_names: names.dns,
        })
    }
}

/// 1.2.840.113549.1.9.14.
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];

fn malformed(what: &'static str) -> impl Fn(NotDer) -> CsrError {
    move |NotDer| CsrError::Malformed { what }
}

/// What the attributes ask for. The first extensionRequest must be the only one, with one value: a second one that
/// another reader would take instead is how requests get past checks.
fn wishes(attributes: Element<'_>) -> Result<AltNames, CsrError> {
    let bad = malformed("attributes");
    let mut reader = Reader::new(attributes.content);
    let mut seen: Vec<&[u8]> = Vec::new();
    let mut names = AltNames::default();
    while !reader.is_empty() {
        let mut attribute = Reader::new(reader.expect(SEQUENCE).map_err(&bad)?.content);
        let oid = attribute.expect(OID).map_err(&bad)?.content;
        let values = attribute.expect(SET).map_err(&bad)?.content;
        attribute.finish().map_err(&bad)?;
        note(&mut seen, oid, Csr::ATTRIBUTES_MAX)?;
        if oid == EXTENSION_REQUEST {
            let extensions = Reader::only(values, SEQUENCE).map_err(malformed("extensionRequest"))?;
            names = extension_wishes(extensions.content)?;
        }
    }
    Ok(names)
}

fn note<'a>(seen: &mut Vec<&'a [u8]>, oid: &'a [u8], max: usize) -> Result<(), CsrError> {
    if seen.contains(&oid) {
        return Err(CsrError::Duplicate);
    }
    if seen.len() == max {
        return Err(CsrError::Malformed {
            what: "too many attributes or extensions",
        });
    }
    seen.push(oid);
    Ok(())
}

fn extension_wishes(extensions: &[u8]) -> Result<AltNames, CsrError> {
    let bad = malformed("extensionRequest");
    let mut reader = Reader::new(extensions);
    let mut seen: Vec<&[u8]> = Vec::new();
    let mut names = AltNames::default();
    while !reader.is_empty() {
        let mut extension = Reader::new(reader.expect(SEQUENCE).map_err(&bad)?.content);
        let oid = extension.expect(OID).map_err(&bad)?.content;
        let critical = extension
            .optional(BOOLEAN)
            .map_err(&bad)?
            .is_some_and(|b| b.content != [0]);
        let value = extension.expect(OCTET_STRING).map_err(&bad)?.content;
        extension.finish().map_err(&bad)?;
        note(&mut seen, oid, Csr::EXTENSIONS_MAX)?;
        match oid {
            SUBJECT_ALT_NAME => names = alt_names(value)?,
            BASIC_CONSTRAINTS => no_ca(value)?,
            KEY_USAGE => no_cert_sign(value)?,
            EXTENDED_KEY_USAGE => {}
            _ if critical => return Err(CsrError::CriticalExtension),
            _ => {}
        }
    }
    Ok(names)
}

fn alt_names(value: &[u8]) -> Result<AltNames, CsrError> {
    let names = AltNames::parse(value).map_err(malformed("subjectAltName"))?;
    if names.count() > Csr::NAMES_MAX {
        return Err(CsrError::ManyNames {
            count: names.count(),
            max: Csr::NAMES_MAX,
        });
    }
    if names.uris.len() > 1 {
        return Err(CsrError::ManyUriNames {
            count: names.uris.len(),
        });
    }
    if names.others > 0 {
        return Err(CsrError::NameKind);
    }
    match names.dns.iter().find(|name| !is_dns_name(name)) {
        Some(name) => Err(CsrError::DnsName {
            name: signet_fault::shown(name, 64),
        }),
        None => Ok(names),
    }
}

fn no_ca(value: &[u8]) -> Result<(), CsrError> {
    let bad = malformed("basicConstraints");
    let mut fields = Reader::new(Reader::only(value, SEQUENCE).map_err(&bad)?.content);
    // FALSE is the default and should be absent; some write it out.
    match fields.optional(BOOLEAN).map_err(&bad)? {
        Some(ca) if ca.content != [0] => Err(CsrError::WantsCa),
        _ => fields.finish().map_err(&bad),
    }
}

fn no_cert_sign(value: &[u8]) -> Result<(), CsrError> {
    let bits = Reader::only(value, BIT_STRING)
        .map_err(malformed("keyUsage"))?
        .content;
    // Bits 5 and 6 of the BIT STRING, behind the byte that counts the unused ones.
    match bits {
        [_, first, ..] if first & 0b0000_0110 != 0 => Err(CsrError::WantsCertSign),
        [] => Err(CsrError::Malformed { what: "keyUsage" }),
        _ => Ok(()),
    }
}
