use crate::der::{BIT_STRING, CONTEXT_0, INTEGER, NotDer, Reader, SEQUENCE, put_length};
use crate::{Der, X509Error};
use signet_crypto::SignatureAlgorithm;

/// The exact bytes that an issuer signs, already linted. Made by the templates only.
///
/// Whoever holds the key, near or far, signs [`Tbs::bytes`] with [`Tbs::algorithm`] in the ASN.1 encoding;
/// [`Tbs::assemble`] puts the certificate together.
#[derive(Debug)]
pub struct Tbs {
    bytes: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl Tbs {
    pub(crate) fn new(bytes: Vec<u8>, algorithm: SignatureAlgorithm) -> Self {
        Self { bytes, algorithm }
    }

    /// What is to be signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How it is to be signed; the bytes name it.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The certificate with `signature`, which is not verified here.
    ///
    /// # Errors
    /// [`X509Error::Signature`] for one of no bytes or more than any algorithm makes.
    pub fn assemble(self, signature: &[u8]) -> Result<Der, X509Error> {
        if !(1..=SIGNATURE_BYTES_MAX).contains(&signature.len()) {
            return Err(X509Error::Signature {
                bytes: signature.len(),
            });
        }
        let algorithm = algorithm_of(&self.bytes).map_err(|NotDer| X509Error::Malformed {
            what: "to-be-signed bytes",
        })?;
        let mut bits = vec![BIT_STRING];
        put_length(&mut bits, signature.len() + 1);
        bits.push(0);
        bits.extend_from_slice(signature);
        let mut out = Vec::with_capacity(self.bytes.len() + algorithm.len() + bits.len() + 6);
        out.push(SEQUENCE);
        put_length(&mut out, self.bytes.len() + algorithm.len() + bits.len());
        out.extend_from_slice(&self.bytes);
        out.extend_from_slice(algorithm);
        out.extend_from_slice(&bits);
        Ok(Der::from(out))
    }
}

/// ML-DSA-87's 4,627 bytes are the longest.
const SIGNATURE_BYTES_MAX: usize = 5 << 10;

/// The AlgorithmIdentifier inside the bytes: copied to the outside, so that the two always agree.
pub(crate) fn algorithm_of(tbs: &[u8]) -> Result<&[u8], NotDer> {
    let mut reader = Reader::new(Reader::only(tbs, SEQUENCE)?.content);
    reader.expect(CONTEXT_0)?;
    reader.expect(INTEGER)?;
    Ok(reader.expect(SEQUENCE)?.raw)
}
