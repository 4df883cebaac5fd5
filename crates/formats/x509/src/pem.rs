//! PEM (RFC 7468), for files that people and other programs read.

use crate::{Der, X509Error};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
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
    fn certificates_read_back() {
        let certificates = [Der::from(vec![7; 100]), Der::from(vec![8; 1])];
        let text = encode_certs(&certificates);
        assert!(text.lines().all(|line| line.len() <= LINE));
        assert_eq!(parse_certs(text.as_bytes()).unwrap(), certificates);
        assert!(parse_certs(b"nothing").is_err());
        assert!(parse_certs(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").is_err());
    }
}
