use zeroize::Zeroizing;

/// Bytes that must not leak: zeroed when dropped, never printed, cloned or compared with `==`.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over. Copies that the caller made before are the caller's to clear.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes. The name is there to be looked for in reviews.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether these are `other`'s bytes, in time that depends on the length alone.
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        ct_eq(&self.0, other)
    }
}

impl zeroize::ZeroizeOnDrop for Secret {}

/// Whether the two are equal, in time that depends on their lengths alone.
#[must_use]
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroize;

    #[test]
    fn equality_is_of_length_and_content() {
        let secret = Secret::new(b"abc".to_vec());
        assert!(secret.ct_eq(b"abc"));
        for other in [&b"abd"[..], b"ab", b"abcd", b""] {
            assert!(!secret.ct_eq(other), "{other:?}");
        }
        assert!(ct_eq(b"", b""));
    }

    /// The wrapped type clears on drop; that it does so for the whole of its buffer is shown on the same type, for
    /// safe code cannot look at memory after it was given back.
    #[test]
    fn secrets_are_cleared() {
        fn clears_on_drop<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let mut secret = Secret::new(vec![7; 64]);
        clears_on_drop(&secret);
        clears_on_drop(&secret.0);
        secret.0.as_mut_slice().zeroize();
        assert_eq!(secret.expose(), [0; 64]);
        secret.0.zeroize();
        assert!(secret.expose().is_empty());
    }
}
