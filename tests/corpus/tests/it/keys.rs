//! The keys of the corpus, checked in so that each file comes out the same.
//!
//! Authorities sign with RSA, whose PKCS #1 signatures are a function of key and message; what is signed with ECDSA
//! would differ each time.

use signet_corpus::folder;
use signet_crypto::{KeyKind, LocalKey};
use signet_testkit::forge::ForgeKey;

/// Every key: its file and its kind.
pub(crate) const ALL: [(&str, KeyKind); 15] = [
    ("root", KeyKind::Rsa2048),
    ("intermediate", KeyKind::Rsa2048),
    ("lower", KeyKind::Rsa2048),
    ("former-root", KeyKind::Rsa2048),
    ("other-root", KeyKind::Rsa2048),
    ("other-intermediate", KeyKind::Rsa2048),
    ("leaf", KeyKind::P256),
    ("stranger", KeyKind::P256),
    ("token-rsa", KeyKind::Rsa2048),
    ("token-rs256", KeyKind::Rsa2048),
    ("token-unlisted-use", KeyKind::Rsa2048),
    ("token-ec", KeyKind::P256),
    ("token-ed25519", KeyKind::Ed25519),
    ("other-token", KeyKind::Rsa2048),
    ("request", KeyKind::Rsa2048),
];

/// Where a key lies in the folder.
pub(crate) fn file(name: &str) -> String {
    format!("keys/{name}.p8")
}

/// A key for rcgen.
pub(crate) fn forge(name: &str) -> ForgeKey {
    ForgeKey::from_pkcs8(&std::fs::read(folder().join(file(name))).unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// The same as one of ours.
pub(crate) fn local(name: &str) -> LocalKey {
    forge(name).local()
}

/// Makes the keys that are not there.
pub(crate) fn make_missing() {
    std::fs::create_dir_all(folder().join("keys")).unwrap();
    for (name, kind) in ALL {
        let path = folder().join(file(name));
        if !path.exists() {
            std::fs::write(path, ForgeKey::generate(kind).pkcs8()).unwrap();
        }
    }
}
