use crate::matrix::{key, keys};
use proptest::prelude::*;
use signet_crypto::{
    Components, CryptoError, KeyKind, LocalKey, PublicKey, SignatureEncoding, digest, random,
};
use signet_fault::Coded;

#[test]
fn public_keys_read_back_from_every_form() {
    for (kind, key) in keys() {
        let public = key.public_key();
        let from_spki = PublicKey::from_spki_der(public.spki_der()).unwrap();
        assert_eq!(&from_spki, public);
        assert_eq!(
            (from_spki.kind(), from_spki.key_bits()),
            (kind, public.key_bits())
        );
        let from_parts = match public.components() {
            Components::Ec { x, y } => PublicKey::from_ec_point(kind, x, y),
            Components::Ed25519(bytes) => PublicKey::from_ed25519(bytes),
            Components::Rsa { n, e } => PublicKey::from_rsa_components(n, e),
            Components::MlDsa(bytes) => PublicKey::from_mldsa(kind, bytes),
        };
        assert_eq!(from_parts.as_ref(), Ok(public), "{kind:?}");
        assert_eq!(public.key_id(), digest::sha256(public.key_bits())[..20]);
        assert_eq!(public.fingerprint(), digest::sha256(public.spki_der()));
    }
}

#[test]
fn private_keys_read_back_and_sign_for_the_same_public_key() {
    for (kind, key) in keys() {
        let copy = LocalKey::from_pkcs8(key.to_pkcs8().unwrap().expose()).unwrap();
        assert_eq!(copy.public_key(), key.public_key());
        let (algorithm, encoding) = (kind.default_algorithm(), SignatureEncoding::Fixed);
        let signature = copy.sign(algorithm, encoding, b"m").unwrap();
        assert_eq!(
            key.public_key().verify(algorithm, encoding, b"m", &signature),
            Ok(())
        );
    }
}

#[test]
fn nothing_may_follow_or_be_missing() {
    for (kind, key) in keys() {
        let spki = key.public_key().spki_der();
        assert!(
            PublicKey::from_spki_der(&[spki, &[0]].concat()).is_err(),
            "{kind:?}"
        );
        assert!(
            PublicKey::from_spki_der(&spki[..spki.len() - 1]).is_err(),
            "{kind:?}"
        );
        let secret = key.to_pkcs8().unwrap();
        let pkcs8 = secret.expose();
        assert!(LocalKey::from_pkcs8(&[pkcs8, &[0]].concat()).is_err(), "{kind:?}");
        assert!(
            LocalKey::from_pkcs8(&pkcs8[..pkcs8.len() - 1]).is_err(),
            "{kind:?}"
        );
        assert!(
            LocalKey::from_pkcs8(spki).is_err(),
            "{kind:?}: a public key is no private key"
        );
        assert!(
            PublicKey::from_spki_der(pkcs8).is_err(),
            "{kind:?}: nor the reverse"
        );
    }
    assert!(PublicKey::from_spki_der(&[0x30; 5000]).is_err());
    assert!(LocalKey::from_pkcs8(&[0x30; 20_000]).is_err());
}

#[test]
fn token_j2_weak_rsa_keys_are_refused() {
    let key = key(KeyKind::Rsa2048).public_key();
    let Components::Rsa { n, e } = key.components() else {
        panic!("an rsa key");
    };
    assert_eq!(e, [1, 0, 1]);
    let refused = |n: &[u8], e: &[u8]| {
        matches!(
            PublicKey::from_rsa_components(n, e),
            Err(CryptoError::Rsa { .. } | CryptoError::PublicKey { .. })
        )
    };
    for e in [
        &[][..],
        &[1],
        &[3],
        &[17],
        &[0xff, 0xff],
        &[1, 0, 0],
        &[1, 0, 2],
        &[0xff; 9],
    ] {
        assert!(refused(n, e), "exponent {e:x?}");
    }
    let small = [&[0xc1][..], &[0x55; 127]].concat();
    assert!(refused(&small, &[1, 0, 1]), "1024 bits");
    let mut short = n.to_vec();
    short[0] = 0x7f;
    assert!(refused(&short, &[1, 0, 1]), "2047 bits");
    let mut even = n.to_vec();
    even[255] &= 0xfe;
    assert!(refused(&even, &[1, 0, 1]), "even modulus");
    assert!(
        refused(&[&[0xc1][..], &[0x55; 1023]].concat(), &[1, 0, 1]),
        "8192 bits"
    );
    assert!(refused(&[0xc1; 5000], &[1, 0, 1]), "longer than any key");
    assert!(PublicKey::from_rsa_components(&[&[0, 0], n].concat(), &[0, 1, 0, 1]).is_ok());
}

#[test]
fn points_that_are_not_on_the_curve_or_compressed_are_refused() {
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::P521] {
        let Components::Ec { x, y } = key(kind).public_key().components() else {
            panic!("a point");
        };
        let mut off = y.to_vec();
        off[10] ^= 1;
        for (x, y) in [
            (x, &off[..]),
            (y, x),
            (x, &y[1..]),
            (&x[1..], y),
            (x, &[]),
            (&vec![0; x.len()], &vec![0; y.len()]),
        ] {
            assert!(PublicKey::from_ec_point(kind, x, y).is_err(), "{kind:?}");
        }
        let spki = key(kind).public_key().spki_der();
        let at = spki.len() - 1 - 2 * x.len();
        for form in [0, 2, 3, 6] {
            let mut other = spki.to_vec();
            other[at] = form;
            assert!(PublicKey::from_spki_der(&other).is_err(), "{kind:?} form {form}");
        }
        assert_eq!(
            PublicKey::from_ec_point(KeyKind::Ed25519, x, y),
            Err(CryptoError::Kind)
        );
    }
    let Components::Ec { x, y } = key(KeyKind::P256).public_key().components() else {
        panic!("a point");
    };
    assert!(PublicKey::from_ec_point(KeyKind::P384, x, y).is_err());
}

#[test]
fn token_j11_ed25519_keys_of_small_order_or_wrong_length_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    for bad in [&identity[..], &[0; 32], &[1; 31], &[1; 33], &[]] {
        assert!(PublicKey::from_ed25519(bad).is_err(), "{bad:x?}");
    }
    let key = key(KeyKind::Ed25519);
    let (algorithm, encoding) = (KeyKind::Ed25519.default_algorithm(), SignatureEncoding::Fixed);
    let mut signature = key.sign(algorithm, encoding, b"m").unwrap();
    let s = signature.split_off(32);
    let small_r = [&identity[..], &s].concat();
    assert_eq!(
        key.public_key().verify(algorithm, encoding, b"m", &small_r),
        Err(CryptoError::Signature)
    );
}

#[test]
fn other_kinds_of_keys_are_refused_by_name() {
    // X25519 (RFC 8410) and secp256k1.
    let x25519 = [
        &[
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00,
        ][..],
        &[9; 32],
    ]
    .concat();
    assert_eq!(PublicKey::from_spki_der(&x25519), Err(CryptoError::Kind));
    let ed448 = [
        &[
            0x30, 0x43, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71, 0x03, 0x3a, 0x00,
        ][..],
        &[9; 57],
    ]
    .concat();
    assert_eq!(PublicKey::from_spki_der(&ed448), Err(CryptoError::Kind));
    let mut k1 = key(KeyKind::P256).public_key().spki_der().to_vec();
    let curve = k1.windows(3).position(|w| w == [0x03, 0x01, 0x07]).unwrap();
    k1[curve + 2] = 6;
    assert_eq!(PublicKey::from_spki_der(&k1), Err(CryptoError::Kind));
    for kind in [KeyKind::P256, KeyKind::Rsa2048] {
        assert_eq!(PublicKey::from_mldsa(kind, &[0; 1312]), Err(CryptoError::Kind));
    }
    assert!(PublicKey::from_mldsa(KeyKind::MlDsa44, &[0; 1311]).is_err());
}

#[test]
fn algorithm_parameters_are_as_their_standard_says() {
    // Ed25519 with a NULL, RSA without one, P-256 with something after the curve.
    let ed = key(KeyKind::Ed25519).public_key().key_bits();
    let with_null = [
        &[
            0x30, 0x2c, 0x30, 0x07, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x05, 0x00, 0x03, 0x21, 0x00,
        ][..],
        ed,
    ]
    .concat();
    assert!(PublicKey::from_spki_der(&with_null).is_err());
    let mut rsa = key(KeyKind::Rsa2048).public_key().spki_der().to_vec();
    let null = rsa.windows(2).position(|w| w == [5, 0]).unwrap();
    rsa.drain(null..null + 2);
    let outer = u16::from_be_bytes([rsa[2], rsa[3]]) - 2;
    rsa[2..4].copy_from_slice(&outer.to_be_bytes());
    rsa[5] -= 2;
    assert!(PublicKey::from_spki_der(&rsa).is_err());
}

#[test]
fn keys_do_not_show_what_is_secret() {
    let key = key(KeyKind::P256);
    let shown = format!("{key:?} {:?}", key.public_key());
    let pkcs8 = key.to_pkcs8().unwrap();
    // The private number stands at bytes 36..68 of the document.
    let private = digest::hex(&pkcs8.expose()[36..68]);
    assert!(!shown.contains(&private) && shown.contains("p256"), "{shown}");
}

#[test]
fn the_generator_does_not_repeat_itself() {
    assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    random::<0>().unwrap();
}

#[test]
fn every_error_is_registered() {
    assert_eq!(signet_fault::flaws(&[signet_crypto::REGISTER]), []);
    assert_eq!(signet_crypto::REGISTER.len(), 11);
    assert!(!CryptoError::Open.remedy().is_empty());
}

proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = PublicKey::from_spki_der(&bytes);
        let _ = LocalKey::from_pkcs8(&bytes);
        let _ = PublicKey::from_ed25519(&bytes);
        let _ = PublicKey::from_rsa_components(&bytes, &bytes);
        let (kind, encoding) = (KeyKind::P256, SignatureEncoding::Asn1);
        let _ = key(kind).public_key().verify(kind.default_algorithm(), encoding, b"m", &bytes);
    }

    #[test]
    fn a_changed_document_is_refused_or_is_another_key(at in 0_usize..91, bit in 0_u8..8) {
        let spki = key(KeyKind::P256).public_key().spki_der();
        let mut changed = spki.to_vec();
        changed[at] ^= 1 << bit;
        if let Ok(key) = PublicKey::from_spki_der(&changed) {
            prop_assert_eq!(key.spki_der(), &changed[..]);
        }
    }
}

/// RFC 9881 §6: the seed alone, which is what Go and others read, and a small part of the expanded key.
#[test]
fn ml_dsa_private_keys_are_written_as_their_seed() {
    for kind in [KeyKind::MlDsa44, KeyKind::MlDsa65, KeyKind::MlDsa87] {
        let document = key(kind).to_pkcs8().unwrap();
        // SEQUENCE, version 0, AlgorithmIdentifier of 13 bytes, OCTET STRING that holds [0] with 32 bytes.
        assert_eq!(document.expose().len(), 54, "{kind:?}");
        assert_eq!(document.expose()[18..22], [4, 34, 0x80, 32], "{kind:?}");
    }
}
