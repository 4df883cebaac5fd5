use super::names::{Asked, unknown};
use crate::identity::{OneSvid, Sight, X509Svid, wiped};
use crate::{AgentError, IssueError};
use bytes::Bytes;
use prost::Message as _;
use signet_crypto::digest::Sha256;
use signet_id::SpiffeId;
use signet_proto::sds::envoy::config::core::v3::{DataSource, TypedExtensionConfig, data_source::Specifier};
use signet_proto::sds::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret as Message, SpiffeCertValidatorConfig, TlsCertificate, secret::Type,
    spiffe_cert_validator_config::TrustDomain as ValidatorDomain,
};
use signet_trust::Bundle;
use signet_x509::pem::{encode_certs, encode_key};
use std::sync::Arc;

/// Who validates certificates in an Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validation {
    /// The SPIFFE certificate validator: each trust domain by its own roots alone.
    Spiffe,
    /// Envoy's own code, which knows roots and no trust domains.
    Chain,
}

/// What a name stands for now.
pub(super) enum Secret {
    /// A certificate with its key.
    Certificate(Arc<X509Svid>),
    /// Roots; of several domains under [`Validation::Spiffe`] only.
    Roots(Validation, Vec<Arc<Bundle>>),
}

/// Whether a name's secret is there.
pub(super) enum Found {
    Here(Secret),
    /// It is on its way.
    Awaited,
}

/// What tells one state of a secret from every other. Made of public parts only.
pub(super) type Mark = [u8; 32];

/// What `sight` has for `asked`, which was called `name`.
///
/// # Errors
/// [`AgentError::SecretUnknown`] if that is nothing; [`AgentError::SecretAll`] for all bundles without the validator
/// that keeps them apart; [`IssueError::Away`] if a certificate could not be had.
pub(super) fn find(
    name: &str,
    asked: &Asked,
    sight: &Sight,
    validation: Validation,
) -> Result<Found, AgentError> {
    let trust = &sight.bundles.trust;
    let roots = |bundles: Vec<Arc<Bundle>>| {
        // An empty list would be read as "no root is asked for" by some Envoys.
        let bundles: Vec<_> = bundles
            .into_iter()
            .filter(|b| b.anchors().next().is_some())
            .collect();
        if bundles.is_empty() {
            return Err(unknown(name));
        }
        Ok(Found::Here(Secret::Roots(validation, bundles)))
    };
    match asked {
        Asked::First => {
            let first = sight.entries.first().ok_or(AgentError::NoIdentity)?;
            certificate(first.spiffe_id.one().ok_or(AgentError::NoIdentity)?, sight)
        }
        Asked::Identity(id) if sight.entries.iter().any(|entry| entry.spiffe_id == *id) => {
            certificate(id, sight)
        }
        Asked::Identity(_) => Err(unknown(name)),
        Asked::Own => roots(trust.own_bundle().cloned().into_iter().collect()),
        Asked::Domain(domain) => roots(trust.bundle(domain).cloned().into_iter().collect()),
        Asked::All if validation == Validation::Chain => Err(AgentError::SecretAll(name.to_owned())),
        Asked::All => roots(trust.bundles().cloned().collect()),
    }
}

fn certificate(id: &SpiffeId, sight: &Sight) -> Result<Found, AgentError> {
    match sight.x509_of(id) {
        OneSvid::Svid(svid) => Ok(Found::Here(Secret::Certificate(svid))),
        OneSvid::Awaited => Ok(Found::Awaited),
        OneSvid::Unavailable => Err(IssueError::Away("no x509-svid could be had".to_owned()).into()),
    }
}

impl Secret {
    pub(super) fn mark(&self) -> Mark {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        match self {
            // Each has a key of its own, so that the chain tells them apart.
            Self::Certificate(svid) => svid.chain().for_each(|der| add(der.as_ref())),
            Self::Roots(validation, bundles) => {
                add(&[u8::from(*validation == Validation::Spiffe)]);
                for bundle in bundles {
                    add(bundle.trust_domain().as_str().as_bytes());
                    add(&bundle.x509_concat_der());
                }
            }
        }
        hash.finish()
    }

    /// The encoded message, under `name`. Wiped when the last holder lets go.
    pub(super) fn encode(&self, name: &str) -> Bytes {
        let secret = match self {
            Self::Certificate(svid) => Type::TlsCertificate(TlsCertificate {
                certificate_chain: Some(inline(encode_certs(&svid.chain().collect::<Vec<_>>()).into())),
                private_key: Some(inline(wiped(encode_key(svid.key()).expose().to_vec()))),
            }),
            Self::Roots(Validation::Chain, bundles) => {
                Type::ValidationContext(CertificateValidationContext {
                    trusted_ca: bundles.first().map(|bundle| inline(pem(bundle))),
                    custom_validator_config: None,
                })
            }
            Self::Roots(Validation::Spiffe, bundles) => {
                Type::ValidationContext(CertificateValidationContext {
                    trusted_ca: None,
                    custom_validator_config: Some(validator(bundles)),
                })
            }
        };
        let message = Message {
            name: name.to_owned(),
            r#type: Some(secret),
        };
        // Of the exact size, so that growing leaves no copy behind.
        let mut bytes = Vec::with_capacity(message.encoded_len());
        // A vector never runs out of room.
        let _ = message.encode(&mut bytes);
        wiped(bytes)
    }
}

fn validator(bundles: &[Arc<Bundle>]) -> TypedExtensionConfig {
    let config = SpiffeCertValidatorConfig {
        trust_domains: bundles
            .iter()
            .map(|bundle| ValidatorDomain {
                name: bundle.trust_domain().as_str().to_owned(),
                trust_bundle: Some(inline(pem(bundle))),
            })
            .collect(),
    };
    TypedExtensionConfig {
        name: VALIDATOR.to_owned(),
        typed_config: Some(prost_types::Any {
            type_url: VALIDATOR_TYPE.to_owned(),
            value: config.encode_to_vec(),
        }),
    }
}

fn pem(bundle: &Bundle) -> Bytes {
    let roots: Vec<_> = bundle.anchors().map(|authority| &authority.certificate).collect();
    encode_certs(&roots).into()
}

fn inline(bytes: Bytes) -> DataSource {
    DataSource {
        specifier: Some(Specifier::InlineBytes(bytes)),
    }
}

/// The type of all resources of this service.
pub(super) const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";
const VALIDATOR_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";
