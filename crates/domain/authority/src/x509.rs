use crate::admitted::sealed::Sealed;
use crate::authority::no_issuer;
use crate::{Context, IssueError, limits};
use core::time::Duration;
use signet_crypto::{SignatureEncoding, digest};
use signet_id::SpiffeId;
use signet_keys::IssuingKey;
use signet_time::UnixTime;
use signet_x509::{Csr, Der, IssuerCert, Serial, SvidLeaf, Tbs};
use std::collections::BTreeSet;

/// A request for an X.509-SVID.
#[derive(Clone, Debug)]
pub struct X509Request {
    /// The identity, as the entry or the node's record has it.
    pub id: SpiffeId,
    /// DNS names, as the entry has them.
    pub dns_names: Vec<String>,
    /// How long it is to live.
    pub ttl: Duration,
    /// The request that proves possession of the key. Nothing but the key is taken from it.
    pub csr: Csr,
    /// For the record.
    pub context: Context,
}

/// An X.509-SVID as it leaves.
#[derive(Clone, Debug)]
pub struct X509Svid {
    /// Whose it is.
    pub id: SpiffeId,
    /// The leaf, then the intermediates; no root.
    pub chain: Vec<Der>,
    /// From when on it is valid.
    pub not_before: UnixTime,
    /// Until when it is valid.
    pub not_after: UnixTime,
    /// Its serial number.
    pub serial: Serial,
}

/// An X.509-SVID that lacks only its signature.
pub struct Pending {
    pub(crate) leaf: SvidLeaf,
    tbs: Tbs,
}

/// Names in the request are wishes; one that is not granted is refused instead of dropped, so that nobody believes to
/// have what they have not.
pub(crate) fn check_names(request: &X509Request) -> Result<(), IssueError> {
    check_identity(&request.csr, &request.id)?;
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let wished = &request.csr.dns_names;
    if !wished.is_empty() && set(wished) != set(&request.dns_names) {
        return Err(IssueError::CsrDnsNames);
    }
    Ok(())
}

/// A request need not name the identity that it is for, but must not name another one.
pub(crate) fn check_identity(csr: &Csr, id: &SpiffeId) -> Result<(), IssueError> {
    match csr.uri_names.iter().find(|name| *name != id.as_str()) {
        None => Ok(()),
        Some(other) => Err(IssueError::CsrIdentity {
            named: signet_fault::shown(other, 256),
            admitted: id.clone(),
        }),
    }
}

/// The exact bytes to be signed, linted.
pub(crate) fn pending(
    request: X509Request,
    key: &IssuingKey,
    serial: [u8; 16],
    now: UnixTime,
) -> Result<Pending, IssueError> {
    let issuer = key.issuer().ok_or_else(no_issuer)?;
    let (not_before, not_after) = life(issuer, request.ttl, now)?;
    let leaf = SvidLeaf {
        id: request.id,
        dns_names: request.dns_names,
        public_key: request.csr.public_key,
        serial: Serial::new(serial).map_err(IssueError::X509)?,
        not_before,
        not_after,
    };
    let algorithm = issuer.public_key().kind().default_algorithm();
    let tbs = leaf.tbs(issuer, algorithm).map_err(IssueError::X509)?;
    Ok(Pending { leaf, tbs })
}

/// From when to when a leaf below `issuer` is valid that is to live `ttl` from `now` on.
pub(crate) fn life(
    issuer: &IssuerCert,
    ttl: Duration,
    now: UnixTime,
) -> Result<(UnixTime, UnixTime), IssueError> {
    let left = issuer.not_after().since(now);
    let needed = ttl.min(limits::SHORTENED_MIN);
    if left < needed {
        return Err(IssueError::IssuerEnds { left, needed });
    }
    // It never begins before its issuer either: some verifiers look.
    let not_before = (now - limits::BACKDATE).max(issuer.certificate().not_before());
    Ok((not_before.floor_secs(), (now + ttl.min(left)).floor_secs()))
}

/// Signs `tbs` with `key`: the leaf, then the intermediates, and the SHA-256 of the leaf.
pub(crate) async fn sign(tbs: Tbs, key: &IssuingKey) -> Result<(Vec<Der>, [u8; 32]), IssueError> {
    let issuer = key.issuer().ok_or_else(no_issuer)?;
    let signature = key
        .signer()
        .map_err(IssueError::Keys)?
        .sign(tbs.algorithm(), SignatureEncoding::Asn1, tbs.bytes())
        .await
        .map_err(IssueError::Sign)?;
    let der = tbs.assemble(&signature).map_err(IssueError::X509)?;
    let hash = digest::sha256(&der);
    let chain = core::iter::once(der)
        .chain(issuer.chain().iter().cloned())
        .collect();
    Ok((chain, hash))
}

impl Sealed for X509Svid {
    type Pending = Pending;

    async fn sign(pending: Pending, key: &IssuingKey) -> Result<(Self, [u8; 32]), IssueError> {
        let Pending { leaf, tbs } = pending;
        let (chain, hash) = sign(tbs, key).await?;
        let svid = Self {
            id: leaf.id,
            chain,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            serial: leaf.serial,
        };
        Ok((svid, hash))
    }
}
