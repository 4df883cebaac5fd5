use crate::{CryptoError, Secret, random};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// An AES-256-GCM key that seals blobs for storage.
///
/// Nonces are random, so one key may seal at most 2^32 blobs (NIST SP 800-38D §8.3): plenty for keys at rest, too
/// few for traffic.
pub struct SealingKey(LessSafeKey);

impl SealingKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// [`CryptoError::Seal`] where the provider refuses it.
    pub fn new(key: &[u8; 32]) -> Result<Self, CryptoError> {
        let unbound = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CryptoError::Seal)?;
        Ok(Self(LessSafeKey::new(unbound)))
    }

    /// Nonce, ciphertext and tag of `plain`, bound to `aad`: it opens only with the same `aad`.
    ///
    /// # Errors
    /// [`CryptoError::Random`] without a nonce, [`CryptoError::Seal`] where the provider fails.
    pub fn seal(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let body = sealed.get_mut(NONCE_LEN..).ok_or(CryptoError::Seal)?;
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
            .map_err(|_| CryptoError::Seal)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// What [`SealingKey::seal`] was given.
    ///
    /// # Errors
    /// [`CryptoError::Open`] for another key, another `aad` or changed bytes.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Secret, CryptoError> {
        let (nonce, body) = sealed.split_first_chunk().ok_or(CryptoError::Open)?;
        let mut plain = zeroize::Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self
            .0
            .open_in_place(nonce, Aad::from(aad), &mut plain)
            .map_err(|_| CryptoError::Open)?
            .len();
        plain.truncate(len);
        Ok(Secret::new(core::mem::take(&mut *plain)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_blob_opens_with_its_key_and_its_aad_only() {
        let key = SealingKey::new(&[1; 32]).unwrap();
        let sealed = key.seal(b"aad", b"plain").unwrap();
        assert_eq!(sealed.len(), 12 + 5 + 16);
        assert!(key.open(b"aad", &sealed).unwrap().ct_eq(b"plain"));
        assert_eq!(key.open(b"aae", &sealed).err(), Some(CryptoError::Open));
        let other = SealingKey::new(&[2; 32]).unwrap();
        assert_eq!(other.open(b"aad", &sealed).err(), Some(CryptoError::Open));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(b"aad", &changed).err(), Some(CryptoError::Open), "{at}");
            assert_eq!(
                key.open(b"aad", &sealed[..at]).err(),
                Some(CryptoError::Open),
                "{at}"
            );
        }
    }

    #[test]
    fn the_same_plain_text_never_seals_to_the_same_bytes() {
        let key = SealingKey::new(&[1; 32]).unwrap();
        assert_ne!(key.seal(b"", b"x").unwrap(), key.seal(b"", b"x").unwrap());
        assert!(
            key.open(b"", &key.seal(b"", b"").unwrap())
                .unwrap()
                .expose()
                .is_empty()
        );
    }
}
