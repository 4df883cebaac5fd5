//! The verifiers that rustls asks: the SPIFFE one for both ends, and the one of a first contact.

use crate::error::refuse;
use crate::provider::provider;
use crate::{ClientPolicy, PeerRule, TlsError};
use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use signet_check::x509::{CHAIN_MAX, X509SvidError, verify_svid_parts};
use signet_crypto::digest;
use signet_id::TrustDomain;
use signet_time::{Clock as _, SharedClock};
use signet_trust::{Bundle, TrustView, X509Authority};
use signet_x509::{Certificate, Der};
use std::fmt;
use std::sync::Arc;

/// What both ends verify with: the trust of this moment, at this moment.
pub(crate) struct Trust {
    pub(crate) view: Arc<ArcSwap<TrustView>>,
    pub(crate) clock: SharedClock,
}

/// Verifies clients.
pub(crate) struct ClientVerifier {
    trust: Trust,
    policy: ClientPolicy,
    signatures: Signatures,
}

/// Verifies servers that are already known.
pub(crate) struct ServerVerifier {
    trust: Trust,
    expect: PeerRule,
    signatures: Signatures,
}

/// Verifies the server of a first contact, of which only hashes of its roots are known.
pub(crate) struct JoinVerifier {
    trust_domain: TrustDomain,
    root_hashes: Vec<[u8; 32]>,
    clock: SharedClock,
    signatures: Signatures,
}

impl ClientVerifier {
    pub(crate) fn new(trust: Trust, policy: ClientPolicy) -> Self {
        Self {
            trust,
            policy,
            signatures: Signatures::new(),
        }
    }

    fn accept(&self, leaf: &CertificateDer<'_>, behind: &[CertificateDer<'_>]) -> Result<(), TlsError> {
        let refusal = match verify_svid_parts(leaf, behind, &self.trust.view.load(), self.trust.clock.now()) {
            Ok(_) => return Ok(()),
            Err(refusal) => refusal,
        };
        if self.policy != ClientPolicy::SpiffeOrProof {
            return Err(TlsError::Svid(refusal));
        }
        match refusal {
            X509SvidError::NoUriName => accept_proof(leaf, behind),
            // Somebody made an identity up for itself: said so plainly.
            _ if is_self_signed(leaf) => Err(TlsError::ProofWithNames),
            refusal => Err(TlsError::Svid(refusal)),
        }
    }
}

/// A certificate that stands for its key alone. Its dates are not looked at: a node that joins may not know the time
/// yet, and the handshake's signature is fresh by itself.
fn accept_proof(leaf: &CertificateDer<'_>, behind: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    let leaf = Certificate::parse(leaf).map_err(TlsError::Proof)?;
    let key = leaf.public_key().map_err(TlsError::Proof)?;
    if !behind.is_empty() || !leaf.is_self_issued() || leaf.is_ca() {
        return Err(TlsError::NotSelfSigned);
    }
    leaf.verify_signed_by(&key).map_err(|_| TlsError::NotSelfSigned)?;
    if leaf.name_count() > 0 {
        return Err(TlsError::ProofWithNames);
    }
    Ok(())
}

fn is_self_signed(leaf: &CertificateDer<'_>) -> bool {
    Certificate::parse(leaf).is_ok_and(|leaf| {
        leaf.public_key()
            .is_ok_and(|key| leaf.verify_signed_by(&key).is_ok())
    })
}

impl ServerVerifier {
    pub(crate) fn new(trust: Trust, expect: PeerRule) -> Self {
        Self {
            trust,
            expect,
            signatures: Signatures::new(),
        }
    }

    fn accept(&self, leaf: &CertificateDer<'_>, behind: &[CertificateDer<'_>]) -> Result<(), TlsError> {
        let view = self.trust.view.load();
        let svid = verify_svid_parts(leaf, behind, &view, self.trust.clock.now()).map_err(TlsError::Svid)?;
        if !self.expect.admits(&svid.id, view.own()) {
            return Err(TlsError::UnexpectedPeer {
                id: svid.id,
                expected: self.expect.to_string(),
            });
        }
        Ok(())
    }
}

impl JoinVerifier {
    pub(crate) fn new(trust_domain: TrustDomain, root_hashes: Vec<[u8; 32]>, clock: SharedClock) -> Self {
        Self {
            trust_domain,
            root_hashes,
            clock,
            signatures: Signatures::new(),
        }
    }

    fn accept(&self, leaf: &CertificateDer<'_>, behind: &[CertificateDer<'_>]) -> Result<(), TlsError> {
        let is_pinned = |der: &&CertificateDer<'_>| self.root_hashes.contains(&digest::sha256(der));
        let root = behind
            .iter()
            .take(CHAIN_MAX)
            .find(is_pinned)
            .ok_or_else(|| TlsError::OtherRoot {
                trust_domain: self.trust_domain.clone(),
                hashes: self.root_hashes.len(),
            })?;
        let root = X509Authority {
            certificate: Der::from(root.to_vec()),
            tainted: false,
        };
        // One authority and no key with a name: nothing that the constructor refuses.
        let bundle = Bundle::new(self.trust_domain.clone(), 0, None, vec![root], Vec::new())
            .unwrap_or_else(|_| Bundle::empty(self.trust_domain.clone()));
        let view = TrustView::new(self.trust_domain.clone()).with_bundle(bundle);
        let svid = verify_svid_parts(leaf, behind, &view, self.clock.now()).map_err(TlsError::Svid)?;
        let expect = PeerRule::server();
        if !expect.admits(&svid.id, &self.trust_domain) {
            return Err(TlsError::UnexpectedPeer {
                id: svid.id,
                expected: expect.to_string(),
            });
        }
        Ok(())
    }
}

/// Verification of the handshake's own signature: that the peer has the key of the certificate it shows.
#[derive(Clone, Copy)]
struct Signatures(WebPkiSupportedAlgorithms);

impl Signatures {
    fn new() -> Self {
        Self(provider().signature_verification_algorithms)
    }

    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }
}

/// TLS 1.2 is never negotiated; were it, nobody's signature would be good.
fn no_tls12() -> rustls::Error {
    rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered)
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Authorities rotate, and their names say nothing to clients that have one identity.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        behind: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.accept(leaf, behind)
            .map(|()| ClientCertVerified::assertion())
            .map_err(refuse)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.0.supported_schemes()
    }
}

/// The same for both verifiers of servers: they differ in `accept` only. The name that was dialled is no part of it;
/// identities are SPIFFE IDs.
macro_rules! verifies_servers {
    ($verifier:ty) => {
        impl ServerCertVerifier for $verifier {
            fn verify_server_cert(
                &self,
                leaf: &CertificateDer<'_>,
                behind: &[CertificateDer<'_>],
                _server_name: &ServerName<'_>,
                _ocsp_response: &[u8],
                _now: UnixTime,
            ) -> Result<ServerCertVerified, rustls::Error> {
                self.accept(leaf, behind)
                    .map(|()| ServerCertVerified::assertion())
                    .map_err(refuse)
            }

            fn verify_tls12_signature(
                &self,
                _message: &[u8],
                _certificate: &CertificateDer<'_>,
                _signature: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, rustls::Error> {
                Err(no_tls12())
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signature: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, rustls::Error> {
                self.signatures.verify(message, certificate, signature)
            }

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                self.signatures.0.supported_schemes()
            }
        }
    };
}

verifies_servers!(ServerVerifier);
verifies_servers!(JoinVerifier);

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier")
            .field("expect", &self.expect)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for JoinVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinVerifier")
            .field("trust_domain", &self.trust_domain)
            .finish_non_exhaustive()
    }
}
