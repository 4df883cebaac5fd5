use signet_crypto::{KeyKind, LocalKey};
use signet_time::UnixTime;
use signet_x509::{Certificate, NODE_COMMON_NAME, self_signed_node};

#[test]
fn a_nodes_own_certificate_names_nobody() {
    let now = UnixTime::from_secs(1_800_000_000);
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let certificate = Certificate::parse(&self_signed_node(&key, now).unwrap()).unwrap();
    assert_eq!(certificate.name_count(), 0);
    assert!(certificate.is_self_issued() && !certificate.is_ca());
    assert_eq!(certificate.subject().text(), format!("CN={NODE_COMMON_NAME}"));
    assert!(certificate.not_before() < now && now < certificate.not_after());
    certificate.verify_signed_by(key.public_key()).unwrap();
    let other = LocalKey::generate(KeyKind::P256).unwrap();
    certificate.verify_signed_by(other.public_key()).unwrap_err();
    let other = LocalKey::generate(KeyKind::Ed25519).unwrap();
    certificate.verify_signed_by(other.public_key()).unwrap_err();
}

#[test]
fn two_certificates_of_one_key_have_two_serials() {
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let serial = || {
        let der = self_signed_node(&key, UnixTime::from_secs(1_800_000_000)).unwrap();
        Certificate::parse(&der).unwrap().serial_hex()
    };
    assert_ne!(serial(), serial());
}
