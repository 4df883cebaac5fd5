//! Certificates of machines, from authorities that an operator names: a TPM's, a manufacturer's (IEEE 802.1AR), a
//! company's. With one a machine proves which it is before it has any SPIFFE ID; the proof itself names none.
//!
//! [`MachineTrust::verify`] takes a chain and a signature by the leaf's key in one step: there is no way to learn of a
//! machine that did not show its key. The signature covers a [`statement`] of the TLS connection that it was made for
//! and of the key that this connection proves, so that nobody can show it elsewhere, pass it on, or put another key
//! in its place. Bounds come before any signature is verified.
//!
//! Not looked at: revocation lists of these authorities. A machine that is lost is banned by its node's name.

mod error;
mod statement;
#[cfg(test)]
mod tests;

pub use error::MachineError;
pub(crate) use error::REGISTER;
pub use statement::{Binding, sign, statement};

use crate::path;
use signet_crypto::PublicKey;
use signet_time::UnixTime;
use signet_x509::{Certificate, Der, X509Error};
use webpki::{
    Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext,
};

/// The longest chain that is looked at, leaf included.
pub const CHAIN_MAX: usize = 4;
/// The longest certificate of a chain, in bytes: twice what ML-DSA-87 makes of one.
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
/// The longest signature, in bytes: ML-DSA-87's has 4,627.
pub const SIGNATURE_BYTES_MAX: usize = 8 << 10;
/// The most authorities that one set has.
pub const AUTHORITIES_MAX: usize = 64;

/// The authorities whose machines may prove themselves.
#[derive(Clone, Debug)]
pub struct MachineTrust {
    authorities: Vec<Certificate>,
}

/// A machine that proved itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Machine {
    /// SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
    /// Its key, which outlives the certificate where that is renewed for the same one.
    pub key: PublicKey,
    /// The certificate's subject, for people.
    pub subject: String,
}

impl MachineTrust {
    /// Trusts `certificates`, each of which must be an authority's. Whether they are valid is looked at in time.
    ///
    /// # Errors
    /// [`MachineError::NoAuthorities`], [`MachineError::ManyAuthorities`], [`MachineError::Authority`].
    pub fn new(certificates: &[Der]) -> Result<Self, MachineError> {
        let count = certificates.len();
        if count == 0 {
            return Err(MachineError::NoAuthorities);
        }
        if count > AUTHORITIES_MAX {
            return Err(MachineError::ManyAuthorities {
                count,
                max: AUTHORITIES_MAX,
            });
        }
        let read = |(index, der): (usize, &Der)| {
            let refused = |source| MachineError::Authority { index, source };
            let certificate = Certificate::parse(der).map_err(|e| refused(Some(e)))?;
            certificate.public_key().map_err(|e| refused(Some(e)))?;
            if path::may_sign(&certificate) {
                Ok(certificate)
            } else {
                Err(refused(None))
            }
        };
        let authorities: Result<_, _> = certificates.iter().enumerate().map(read).collect();
        Ok(Self {
            authorities: authorities?,
        })
    }

    /// The machine that `chain`, leaf first, is of, at the time `now`: it leads to one of our authorities, and
    /// `signature` is its key's over the [`statement`] of `binding` and `node_key`.
    ///
    /// # Errors
    /// The first rule that is broken, as a variant of [`MachineError`].
    pub fn verify<C: AsRef<[u8]>>(
        &self,
        chain: &[C],
        signature: &[u8],
        binding: &Binding,
        node_key: &PublicKey,
        now: UnixTime,
    ) -> Result<Machine, MachineError> {
        let parsed = read_chain(chain, signature)?;
        let Some((leaf, behind)) = parsed.split_first() else {
            return Err(MachineError::NoCertificates);
        };
        let key = check_leaf(leaf)?;
        for (index, certificate) in (1..).zip(behind) {
            if !path::may_sign(certificate) {
                return Err(MachineError::NotAnAuthority { index });
            }
            key_of(index, certificate)?;
        }
        // The one signature that the caller alone can have made, before those of its authorities.
        statement::check(&key, signature, binding, node_key)?;
        let usable = self
            .authorities
            .iter()
            .filter(|authority| path::may_anchor(authority, now));
        let intermediates: Vec<Der> = behind.iter().map(|c| c.der().clone()).collect();
        path::verify(leaf.der(), &intermediates, usable, ForClients, now).map_err(error::refusal)?;
        Ok(Machine {
            fingerprint: leaf.fingerprint(),
            key,
            subject: leaf.subject().text().to_owned(),
        })
    }
}

/// The chain, within all bounds.
fn read_chain<C: AsRef<[u8]>>(chain: &[C], signature: &[u8]) -> Result<Vec<Certificate>, MachineError> {
    if chain.len() > CHAIN_MAX {
        return Err(MachineError::LongChain {
            count: chain.len(),
            max: CHAIN_MAX,
        });
    }
    if signature.len() > SIGNATURE_BYTES_MAX {
        return Err(MachineError::Possession);
    }
    let long = chain
        .iter()
        .position(|der| der.as_ref().len() > CERTIFICATE_BYTES_MAX);
    if let Some(index) = long {
        return Err(MachineError::LongCertificate {
            index,
            max: CERTIFICATE_BYTES_MAX,
        });
    }
    let read = |(index, der): (usize, &C)| {
        Certificate::parse(der.as_ref()).map_err(|source| MachineError::Malformed { index, source })
    };
    chain.iter().enumerate().map(read).collect()
}

/// Cuts concatenated DER where each certificate ends. What each of them is, is for [`MachineTrust::verify`] to say.
///
/// # Errors
/// [`MachineError::LongChain`] beyond [`CHAIN_MAX`]; [`MachineError::Malformed`] at what does not begin as a certificate of
/// up to 64 KiB or does not end.
pub fn split(mut chain: &[u8]) -> Result<Vec<&[u8]>, MachineError> {
    let mut certificates = Vec::new();
    while !chain.is_empty() {
        let index = certificates.len();
        if index == CHAIN_MAX {
            return Err(MachineError::LongChain {
                count: CHAIN_MAX + 1,
                max: CHAIN_MAX,
            });
        }
        let (certificate, rest) = length(chain)
            .and_then(|length| chain.split_at_checked(length))
            .ok_or(MachineError::Malformed {
                index,
                source: X509Error::Malformed {
                    what: "not an X.509 certificate",
                },
            })?;
        certificates.push(certificate);
        chain = rest;
    }
    Ok(certificates)
}

/// How long the sequence is that `der` begins with, its head included.
fn length(der: &[u8]) -> Option<usize> {
    match *der {
        [0x30, short @ ..=0x7f, ..] => Some(2 + usize::from(short)),
        [0x30, 0x81, long, ..] => Some(3 + usize::from(long)),
        [0x30, 0x82, high, low, ..] => Some(4 + usize::from(u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

/// What a machine's own certificate must be, whoever signed it.
fn check_leaf(leaf: &Certificate) -> Result<PublicKey, MachineError> {
    // An SVID is judged by its own trust domain's bundle, and by nothing else.
    let is_spiffe = |name: &String| {
        let scheme = name.split_once(':').map_or("", |(scheme, _)| scheme);
        scheme.eq_ignore_ascii_case("spiffe")
    };
    if leaf.uri_names().iter().any(is_spiffe) {
        return Err(MachineError::SpiffeId);
    }
    if leaf.is_ca() {
        return Err(MachineError::LeafIsCa);
    }
    match leaf.key_usage() {
        Some(usage) if usage.digital_signature && !usage.key_cert_sign && !usage.crl_sign => key_of(0, leaf),
        _ => Err(MachineError::KeyUsage),
    }
}

fn key_of(index: usize, certificate: &Certificate) -> Result<PublicKey, MachineError> {
    certificate
        .public_key()
        .map_err(|source| MachineError::Key { index, source })
}

/// Extended key usage, where a certificate has any, must allow to prove oneself as a client.
struct ForClients;

impl ExtendedKeyUsageValidator for ForClients {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let (mut any, mut for_clients) = (false, false);
        for usage in usages {
            any = true;
            for_clients |= FOR_CLIENTS.contains(&usage?);
        }
        if any && !for_clients {
            return Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
                required: KeyUsage::client_auth(),
                present: Vec::new(),
            }));
        }
        Ok(())
    }
}

/// clientAuth, anyExtendedKeyUsage.
const FOR_CLIENTS: [KeyPurposeId<'static>; 2] = [
    KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]),
    KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]),
];
