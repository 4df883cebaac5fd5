//! What strict verification of Ed25519 asks for beyond the provider's own checks.
//!
//! The provider refuses S >= L and compares R byte for byte, but takes public keys of small order, for which one
//! signature can match many messages, and encodings of y that are not reduced. No honest signer makes either.

/// y of the points whose order divides 8, sign bit cleared; the last two are 0 and 1 written as p and p + 1.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    first_byte(1),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    below_2_255(0xec),
    below_2_255(0xed),
    below_2_255(0xee),
];

const fn first_byte(first: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = first;
    bytes
}

const fn below_2_255(first: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = first;
    bytes[31] = 0x7f;
    bytes
}

/// Whether `point` is an encoding that strict verification takes, for a public key or for R.
pub(crate) fn is_strict_point(point: &[u8; 32]) -> bool {
    let mut y = *point;
    y[31] &= 0x7f;
    let unreduced = matches!(y, [0xed..=0xff, middle @ .., 0x7f] if middle == [0xff; 30]);
    !unreduced && !SMALL_ORDER.contains(&y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_j11_points_of_small_order_and_unreduced_ones_are_refused() {
        for y in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut point = y;
                point[31] |= sign;
                assert!(!is_strict_point(&point), "{point:x?}");
            }
        }
        for first in 0xed..=0xff {
            assert!(!is_strict_point(&below_2_255(first)), "{first:x}");
        }
        assert!(is_strict_point(&below_2_255(0xeb)));
        // The base point.
        let mut base = [0x66; 32];
        base[0] = 0x58;
        assert!(is_strict_point(&base));
    }
}
