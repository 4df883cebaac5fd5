//! The one cryptography provider, cut to what we offer, and the clock that rustls sees.

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::time_provider::TimeProvider;
use signet_time::{Clock as _, SharedClock};
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// TLS 1.3 suites only; the hybrid key exchange first, so that what is recorded today stays closed to a quantum
/// computer of tomorrow.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![
                kx_group::X25519MLKEM768,
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
            ],
            ..default_provider()
        })
    });
    Arc::clone(&PROVIDER)
}

/// The same for the public port, with TLS 1.2 for clients that have nothing newer: forward secrecy and authenticated
/// ciphers only, the suites of Mozilla's intermediate configuration (SPIFFE Federation §5.2).
pub(crate) fn web_provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let modern = provider();
        let mut suites = modern.cipher_suites.clone();
        suites.extend([
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ]);
        Arc::new(CryptoProvider {
            cipher_suites: suites,
            ..(*modern).clone()
        })
    });
    Arc::clone(&PROVIDER)
}

/// Our clock in rustls's words.
pub(crate) struct TlsTime(pub(crate) SharedClock);

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        let now = Duration::from_secs(self.0.now().as_secs());
        Some(rustls_pki_types::UnixTime::since_unix_epoch(now))
    }
}

impl fmt::Debug for TlsTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTime")
    }
}
