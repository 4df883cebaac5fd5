//! What proves to whoever has the seal that something is of a server that had it.

use crate::Seal;
use signet_crypto::CryptoError;

/// What `seal` makes of the SHA-256 `of` for `purpose`: nothing at all, sealed so that it opens only beside these. As the
/// seal authenticates what it is bound to, nobody without its key can make another that opens.
///
/// # Errors
/// [`CryptoError`], where the seal fails.
pub fn prove(seal: &dyn Seal, purpose: &'static str, of: &[u8; 32]) -> Result<Vec<u8>, CryptoError> {
    seal.seal(&bound_to(purpose, of), b"")
}

/// Checks what [`prove`] made.
///
/// # Errors
/// [`CryptoError::Open`] where it was made with another seal, for another purpose or of something else.
pub fn check_proof(
    seal: &dyn Seal,
    purpose: &'static str,
    of: &[u8; 32],
    proof: &[u8],
) -> Result<(), CryptoError> {
    let opened = seal.open(&bound_to(purpose, of), proof)?;
    if opened.expose().is_empty() {
        Ok(())
    } else {
        Err(CryptoError::Open)
    }
}

/// Unlike all that sealed keys are bound to, so that none of them is a proof of anything.
fn bound_to(purpose: &'static str, of: &[u8; 32]) -> Vec<u8> {
    let mut aad = format!("signet proof v1\0{purpose}\0").into_bytes();
    aad.extend_from_slice(of);
    aad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemorySeal;

    #[test]
    fn a_proof_is_of_one_seal_one_purpose_and_one_thing() {
        let (seal, other) = (MemorySeal::random().unwrap(), MemorySeal::random().unwrap());
        let proof = prove(&seal, "backup", &[1; 32]).unwrap();
        assert_eq!(check_proof(&seal, "backup", &[1; 32], &proof), Ok(()));
        let refused = Err(CryptoError::Open);
        assert_eq!(check_proof(&other, "backup", &[1; 32], &proof), refused);
        assert_eq!(check_proof(&seal, "another", &[1; 32], &proof), refused);
        assert_eq!(check_proof(&seal, "backup", &[2; 32], &proof), refused);
        assert_eq!(check_proof(&seal, "backup", &[1; 32], b""), refused);
        for at in 0..proof.len() {
            let mut changed = proof.clone();
            changed[at] ^= 1;
            assert_eq!(check_proof(&seal, "backup", &[1; 32], &changed), refused, "{at}");
        }
        // Something that was sealed beside it proves nothing.
        let full = seal.seal(&bound_to("backup", &[1; 32]), b"full").unwrap();
        assert_eq!(check_proof(&seal, "backup", &[1; 32], &full), refused);
    }
}
