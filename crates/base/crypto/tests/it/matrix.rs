use signet_crypto::{CryptoError, KeyKind, LocalKey, SignatureAlgorithm, SignatureEncoding};
use std::sync::OnceLock;

/// One key of each kind, made when first asked for: RSA takes long.
static KEYS: [OnceLock<LocalKey>; KeyKind::ALL.len()] = [const { OnceLock::new() }; KeyKind::ALL.len()];

pub(crate) fn key(kind: KeyKind) -> &'static LocalKey {
    KEYS[kind as usize].get_or_init(|| LocalKey::generate(kind).unwrap())
}

/// A key of every kind.
pub(crate) fn keys() -> impl Iterator<Item = (KeyKind, &'static LocalKey)> {
    KeyKind::ALL.into_iter().map(|kind| (kind, key(kind)))
}

const ENCODINGS: [SignatureEncoding; 2] = [SignatureEncoding::Asn1, SignatureEncoding::Fixed];

fn supported() -> impl Iterator<Item = (&'static LocalKey, SignatureAlgorithm, SignatureEncoding)> {
    keys().flat_map(|(kind, key)| {
        SignatureAlgorithm::ALL
            .into_iter()
            .filter(move |algorithm| kind.supports(*algorithm))
            .flat_map(move |algorithm| ENCODINGS.map(|encoding| (key, algorithm, encoding)))
    })
}

#[test]
fn a_key_signs_and_verifies_with_what_its_kind_supports_and_nothing_else() {
    for (kind, key) in keys() {
        assert!(kind.can_sign());
        assert_eq!(key.public_key().kind(), kind);
        for algorithm in SignatureAlgorithm::ALL {
            for encoding in ENCODINGS {
                let signed = key.sign(algorithm, encoding, b"message");
                if kind.supports(algorithm) {
                    let signature = signed.unwrap();
                    let verified = key
                        .public_key()
                        .verify(algorithm, encoding, b"message", &signature);
                    assert_eq!(verified, Ok(()), "{kind:?} {algorithm:?} {encoding:?}");
                } else {
                    let mismatch = CryptoError::Mismatch { kind, algorithm };
                    assert_eq!(signed, Err(mismatch.clone()));
                    let verified = key.public_key().verify(algorithm, encoding, b"message", &[1; 64]);
                    assert_eq!(verified, Err(mismatch));
                }
            }
        }
    }
}

#[test]
fn a_signature_verifies_with_its_own_message_key_algorithm_and_encoding_only() {
    for (key, algorithm, encoding) in supported() {
        let name = format!("{:?} {algorithm:?} {encoding:?}", key.public_key().kind());
        let signature = key.sign(algorithm, encoding, b"message").unwrap();
        let public = key.public_key();
        let refused = |signature: &[u8], message: &[u8]| {
            public.verify(algorithm, encoding, message, signature) == Err(CryptoError::Signature)
        };
        assert!(refused(&signature, b"other message"), "{name}");
        assert!(refused(&[], b"message"), "{name}: empty");
        assert!(
            refused(&signature[..signature.len() - 1], b"message"),
            "{name}: truncated"
        );
        assert!(
            refused(&[&signature[..], &[0]].concat(), b"message"),
            "{name}: longer"
        );
        assert!(refused(&vec![0; signature.len()], b"message"), "{name}: zeros");
        assert!(refused(&vec![0xff; signature.len()], b"message"), "{name}: ones");
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 0x10;
            assert!(refused(&changed, b"message"), "{name}: bit at {at}");
        }
        for (other, other_algorithm, other_encoding) in supported() {
            let same = other.public_key() == public && other_algorithm == algorithm;
            let is_ecdsa = public.kind().coordinate_bytes().is_some();
            if same && (!is_ecdsa || other_encoding == encoding) {
                continue;
            }
            let verified = other
                .public_key()
                .verify(other_algorithm, other_encoding, b"message", &signature);
            assert_eq!(
                verified,
                Err(CryptoError::Signature),
                "{name} taken by {:?} {other_algorithm:?} {other_encoding:?}",
                other.public_key().kind()
            );
        }
    }
}

#[test]
fn another_key_of_the_same_kind_does_not_verify() {
    for kind in [
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::P521,
        KeyKind::Ed25519,
        KeyKind::MlDsa65,
    ] {
        let (algorithm, encoding) = (kind.default_algorithm(), SignatureEncoding::Fixed);
        let signature = key(kind).sign(algorithm, encoding, b"m").unwrap();
        let other = LocalKey::generate(kind).unwrap();
        let verified = other.public_key().verify(algorithm, encoding, b"m", &signature);
        assert_eq!(verified, Err(CryptoError::Signature), "{kind:?}");
    }
}

#[test]
fn token_j11_fixed_signatures_have_exactly_the_curves_width_and_r_and_s_in_range() {
    for (kind, width) in [(KeyKind::P256, 32), (KeyKind::P384, 48), (KeyKind::P521, 66)] {
        let (algorithm, encoding) = (kind.default_algorithm(), SignatureEncoding::Fixed);
        let key = key(kind);
        let signature = key.sign(algorithm, encoding, b"m").unwrap();
        assert_eq!(signature.len(), 2 * width);
        let (r, s) = signature.split_at(width);
        let (zero, large) = (vec![0; width], vec![0xff; width]);
        let padded = |n: &[u8]| [&[0], n].concat();
        for bad in [
            [&zero[..], s].concat(),
            [r, &zero].concat(),
            [&large[..], s].concat(),
            [r, &large].concat(),
            [padded(r), padded(s)].concat(),
            [&r[1..], &s[1..]].concat(),
        ] {
            let verified = key.public_key().verify(algorithm, encoding, b"m", &bad);
            assert_eq!(verified, Err(CryptoError::Signature), "{kind:?} {bad:x?}");
        }
    }
}
