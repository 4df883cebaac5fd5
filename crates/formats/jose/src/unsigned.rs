use crate::{JoseError, JwsAlgorithm, TOKEN_BYTES_MAX, base64url};
use serde::Serialize;
use signet_crypto::{LocalKey, SignatureEncoding, Signer};

/// A token that lacks only its signature. The header has `alg`, `kid` and `typ` and nothing else (JWT-SVID §2); that of
/// a proof has no `kid`.
pub struct Unsigned {
    algorithm: JwsAlgorithm,
    signing_input: String,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    typ: Option<&'a str>,
}

impl Unsigned {
    /// The token with these claims, to be signed by the key that `kid` names.
    ///
    /// # Errors
    /// [`JoseError::Claims`] where `claims` does not serialise to an object, [`JoseError::TooLong`] beyond what
    /// verifiers read.
    pub fn new(
        algorithm: JwsAlgorithm,
        kid: &str,
        typ: Option<&str>,
        claims: &impl Serialize,
    ) -> Result<Self, JoseError> {
        Self::with_header(algorithm, Some(kid), typ, claims)
    }

    /// A proof with these claims, to be signed by a key that its reader knows from elsewhere, such as from the token
    /// that it is about: the header has `alg` and `typ` and nothing else.
    ///
    /// # Errors
    /// As [`Unsigned::new`].
    pub fn proof(algorithm: JwsAlgorithm, typ: &str, claims: &impl Serialize) -> Result<Self, JoseError> {
        Self::with_header(algorithm, None, Some(typ), claims)
    }

    fn with_header(
        algorithm: JwsAlgorithm,
        kid: Option<&str>,
        typ: Option<&str>,
        claims: &impl Serialize,
    ) -> Result<Self, JoseError> {
        let header = Header {
            alg: algorithm.as_str(),
            kid,
            typ,
        };
        let header = serde_json::to_vec(&header).map_err(|_| JoseError::Claims)?;
        let claims = serde_json::to_vec(claims).map_err(|_| JoseError::Claims)?;
        if claims.first() != Some(&b'{') {
            return Err(JoseError::Claims);
        }
        let mut signing_input = String::with_capacity((header.len() + claims.len()) * 4 / 3 + 128);
        base64url::encode_into(&header, &mut signing_input);
        signing_input.push('.');
        base64url::encode_into(&claims, &mut signing_input);
        let bytes = signing_input.len();
        if bytes > TOKEN_BYTES_MAX {
            return Err(JoseError::TooLong {
                what: "token to be signed",
                bytes,
                bytes_max: TOKEN_BYTES_MAX,
            });
        }
        Ok(Self {
            algorithm,
            signing_input,
        })
    }

    /// What is to be signed.
    #[must_use]
    pub fn signing_input(&self) -> &[u8] {
        self.signing_input.as_bytes()
    }

    /// What it is to be signed with, in [`SignatureEncoding::Fixed`].
    #[must_use]
    pub fn algorithm(&self) -> JwsAlgorithm {
        self.algorithm
    }

    /// The token, once signed.
    #[must_use]
    pub fn assemble(self, signature: &[u8]) -> String {
        let mut token = self.signing_input;
        token.push('.');
        base64url::encode_into(signature, &mut token);
        token
    }

    /// Signs with a key in memory.
    ///
    /// # Errors
    /// [`JoseError::Sign`] where the key is of another kind or fails.
    pub fn sign_with(self, key: &LocalKey) -> Result<String, JoseError> {
        let algorithm = self.algorithm.signature_algorithm();
        let signature = key
            .sign(algorithm, SignatureEncoding::Fixed, self.signing_input())
            .map_err(JoseError::Sign)?;
        Ok(self.assemble(&signature))
    }

    /// Signs with a key wherever it lives.
    ///
    /// # Errors
    /// [`JoseError::Sign`] where the key is of another kind or fails.
    pub async fn sign(self, signer: &Signer) -> Result<String, JoseError> {
        let algorithm = self.algorithm.signature_algorithm();
        let signature = signer
            .sign(algorithm, SignatureEncoding::Fixed, self.signing_input())
            .await
            .map_err(JoseError::Sign)?;
        Ok(self.assemble(&signature))
    }
}
