use crate::{CryptoError, LocalKey, PublicKey, SignatureAlgorithm, SignatureEncoding};
use core::fmt;
use core::pin::Pin;
use std::sync::Arc;

/// What a [`RemoteSigner`] answers with.
pub type SignFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, CryptoError>> + Send + 'a>>;

/// A key that lives elsewhere: a KMS, an HSM, a TPM.
pub trait RemoteSigner: Send + Sync {
    /// The public half. It does not change for as long as the signer lives.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` as [`LocalKey::sign`] does.
    fn sign<'a>(
        &'a self,
        algorithm: SignatureAlgorithm,
        encoding: SignatureEncoding,
        message: &'a [u8],
    ) -> SignFuture<'a>;
}

/// A key that signs, wherever it lives. Cheap to clone.
#[derive(Clone)]
pub enum Signer {
    /// In this process's memory.
    Local(Arc<LocalKey>),
    /// Behind a [`RemoteSigner`].
    Remote(Arc<dyn RemoteSigner>),
}

impl Signer {
    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        match self {
            Self::Local(key) => key.public_key(),
            Self::Remote(remote) => remote.public_key(),
        }
    }

    /// Signs `message`. A local key signs at once, without giving up the thread.
    ///
    /// # Errors
    /// [`CryptoError::Mismatch`] before anybody is asked, [`CryptoError::Sign`] where signing fails.
    pub async fn sign(
        &self,
        algorithm: SignatureAlgorithm,
        encoding: SignatureEncoding,
        message: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        match self {
            Self::Local(key) => key.sign(algorithm, encoding, message),
            Self::Remote(remote) => {
                let kind = remote.public_key().kind();
                if !kind.supports(algorithm) {
                    return Err(CryptoError::Mismatch { kind, algorithm });
                }
                remote.sign(algorithm, encoding, message).await
            }
        }
    }
}

impl From<LocalKey> for Signer {
    fn from(key: LocalKey) -> Self {
        Self::Local(Arc::new(key))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Local(_) => "Signer::Local",
            Self::Remote(_) => "Signer::Remote",
        };
        f.debug_tuple(name).field(self.public_key()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyKind;

    struct Elsewhere(LocalKey);

    impl RemoteSigner for Elsewhere {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }

        fn sign<'a>(
            &'a self,
            algorithm: SignatureAlgorithm,
            encoding: SignatureEncoding,
            message: &'a [u8],
        ) -> SignFuture<'a> {
            Box::pin(async move {
                tokio::task::yield_now().await;
                self.0.sign(algorithm, encoding, message)
            })
        }
    }

    #[tokio::test]
    async fn local_and_remote_sign_alike() {
        let (algorithm, encoding) = (SignatureAlgorithm::EcdsaP256Sha256, SignatureEncoding::Asn1);
        let make = || LocalKey::generate(KeyKind::P256).unwrap();
        for signer in [Signer::from(make()), Signer::Remote(Arc::new(Elsewhere(make())))] {
            let signature = signer.sign(algorithm, encoding, b"m").await.unwrap();
            signer
                .public_key()
                .verify(algorithm, encoding, b"m", &signature)
                .unwrap();
            let wrong = SignatureAlgorithm::Ed25519;
            assert_eq!(
                signer.sign(wrong, encoding, b"m").await,
                Err(CryptoError::Mismatch {
                    kind: KeyKind::P256,
                    algorithm: wrong
                })
            );
        }
    }
}
