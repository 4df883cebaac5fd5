//! PEM (RFC 7468), for files that people and other programs read.

use crate::{Der, X509Error};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use signet_crypto::Secret;

/// The most certificates that are read from one file.
pub const CERTIFICATES_MAX: usize = 1_000;

/// Certificates as PEM, in their order.
#[must_use]
pub fn encode_certs<C: AsRef<[u8]>>(certificates: &[C]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        push_block(&mut text, "CERTIFICATE", &STANDARD.encode(certificate.as_ref()));
    }
    text
}

/// A private key in PKCS #8 as PEM.
#[must_use]
pub fn encode_key(pkcs8: &Secret) -> Secret {
    let body = Secret::new(STANDARD.encode(pkcs8.expose()).into_bytes());
    let body = core::str::from_utf8(body.expose()).unwrap_or_default();
    // Room for all of it, so that growing leaves no copy behind.
    let mut text = String::with_capacity(body.len() + body.len() / LINE + 64);
    push_block(&mut text, "PRIVATE KEY", body);
    Secret::new(text.into_bytes())
}

/// A certificate request in DER as PEM.
#[must_use]
pub fn encode_csr(der: &[u8]) -> String {
    let mut text = String::new();
    push_block(&mut text, "CERTIFICATE REQUEST", &STANDARD.encode(der));
    text
}

/// The DER of the one certificate request in `text`; other blocks are passed over.
///
/// # Errors
/// [`X509Error::Pem`] where there is none, more than one, or a broken block.
pub fn parse_csr(text: &[u8]) -> Result<Vec<u8>, X509Error> {
    let broken = |_| X509Error::Pem {
        why: "a block is broken",
    };
    let mut requests = CertificateSigningRequestDer::pem_slice_iter(text);
    let why = match (requests.next(), requests.next()) {
        (Some(request), None) => return Ok(request.map_err(broken)?.to_vec()),
        (Some(_), Some(_)) => "more than one CERTIFICATE REQUEST block",
        (None, _) => "no CERTIFICATE REQUEST block",
    };
    Err(X509Error::Pem { why })
}

/// All certificates in `text`, in their order; other blocks are passed over.
///
/// # Errors
/// [`X509Error::Pem`] where there is none, too many, or a broken block.
pub fn parse_certs(text: &[u8]) -> Result<Vec<Der>, X509Error> {
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text) {
        if certificates.len() == CERTIFICATES_MAX {
            return Err(X509Error::Pem {
                why: "more than 1000 certificates",
            });
        }
        certificates.push(certificate.map_err(|_| X509Error::Pem {
            why: "a block is broken",
        })?);
    }
    if certificates.is_empty() {
        return Err(X509Error::Pem {
            why: "no CERTIFICATE block",
        });
    }
    Ok(certificates)
}

/// The first unencrypted private key in PKCS #8 in `text`, as DER.
///
/// # Errors
/// [`X509Error::Pem`] where there is none, or its block is broken.
pub fn parse_key(text: &[u8]) -> Result<Secret, X509Error> {
    let pem = |why| X509Error::Pem { why };
    let text = core::str::from_utf8(text).map_err(|_| pem("not text"))?;
    let (_, rest) = text
        .split_once("-----BEGIN PRIVATE KEY-----")
        .ok_or_else(|| pem("no PRIVATE KEY block"))?;
    let (body, _) = rest
        .split_once("-----END PRIVATE KEY-----")
        .ok_or_else(|| pem("a block is broken"))?;
    // Room for all of it, so that growing leaves no copy behind.
    let mut base64 = Vec::with_capacity(body.len());
    base64.extend(body.bytes().filter(|b| !b.is_ascii_whitespace()));
    let base64 = Secret::new(base64);
    let der = STANDARD
        .decode(base64.expose())
        .map_err(|_| pem("a block is broken"))?;
    Ok(Secret::new(der))
}

const LINE: usize = 64;

fn push_block(text: &mut String, label: &str, body: &str) {
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body;
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_other_blocks_are_none() {
        let key = signet_crypto::LocalKey::generate(signet_crypto::KeyKind::P256).unwrap();
        let der = key.to_pkcs8().unwrap();
        let text = encode_key(&der);
        let text = core::str::from_utf8(text.expose()).unwrap();
        for good in [
            text.to_owned(),
            format!("words\n{text}"),
            text.replace('\n', "\r\n"),
        ] {
            assert!(parse_key(good.as_bytes()).unwrap().ct_eq(der.expose()));
        }
        for bad in [
            "",
            "x",
            &text.replace("PRIVATE", "EC PRIVATE"),
            &text.replace("PRIVATE", "ENCRYPTED PRIVATE"),
            &text.replace("-----END PRIVATE", "-----END"),
            &text.replacen('M', "*", 1),
        ] {
            assert!(parse_key(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse_key(b"\xff").is_err());
    }

    #[test]
    fn certificates_read_back() {
        let certificates = [Der::from(vec![7; 100]), Der::from(vec![8; 1])];
        let text = encode_certs(&certificates);
        assert!(text.lines().all(|line| line.len() <= LINE));
        assert_eq!(parse_certs(text.as_bytes()).unwrap(), certificates);
        assert!(parse_certs(b"nothing").is_err());
        let request = encode_csr(&[9; 80]);
        assert_eq!(parse_csr(format!("{text}{request}").as_bytes()).unwrap(), [9; 80]);
        for refused in [text.clone(), request.repeat(2), request.replace('C', "!")] {
            assert!(parse_csr(refused.as_bytes()).is_err(), "{refused}");
        }
        assert!(parse_certs(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").is_err());
    }
}
