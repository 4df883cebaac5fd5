use crate::admitted::sealed::Sealed;
use crate::authority::no_issuer;
use crate::{Context, IssueError, x509};
use core::fmt::Write as _;
use core::net::IpAddr;
use core::time::Duration;
use signet_decision::{Action, Decision, Principal, Request, Resource};
use signet_keys::IssuingKey;
use signet_time::UnixTime;
use signet_x509::{Csr, Der, Serial, Tbs, TlsServerLeaf};

/// A request for the certificate of the server's own public port: names, and no identity.
#[derive(Clone, Debug)]
pub struct TlsServerRequest {
    /// The DNS names.
    pub dns_names: Vec<String>,
    /// The addresses.
    pub ip_addresses: Vec<IpAddr>,
    /// How long it is to live.
    pub ttl: Duration,
    /// The request that proves possession of the key. Nothing but the key is taken from it, and it may name nothing.
    pub csr: Csr,
    /// For the record.
    pub context: Context,
}

/// A server's certificate as it leaves. It carries no SPIFFE ID.
#[derive(Clone, Debug)]
pub struct TlsServerCertificate {
    /// The leaf, then the intermediates; no root.
    pub chain: Vec<Der>,
    /// From when on it is valid.
    pub not_before: UnixTime,
    /// Until when it is valid.
    pub not_after: UnixTime,
}

/// A server's certificate that lacks only its signature.
pub struct Pending {
    pub(crate) leaf: TlsServerLeaf,
    tbs: Tbs,
}

impl TlsServerRequest {
    /// What is decided about: a certificate for exactly these names, in this order.
    #[must_use]
    pub fn resource(&self) -> Resource {
        let mut names = self.dns_names.join(",");
        for address in &self.ip_addresses {
            let comma = if names.is_empty() { "" } else { "," };
            // Writing into a String does not fail.
            let _ = write!(names, "{comma}{address}");
        }
        Resource::one("tls-server", names)
    }

    /// The decision for the server's own port: nobody asked for it but the server itself.
    pub fn own_decision(&self) -> Decision {
        let request = Request::new(Principal::Ourselves, Action::ISSUE_TLS_SERVER, self.resource());
        Decision::allow(request, "ourselves", "a server names its own port")
    }
}

/// What a certificate request for a port may not have: names are taken from the settings alone.
pub(crate) fn check_names(csr: &Csr) -> Result<(), IssueError> {
    if csr.uri_names.is_empty() && csr.dns_names.is_empty() {
        Ok(())
    } else {
        Err(IssueError::CsrDnsNames)
    }
}

/// The exact bytes to be signed, linted.
pub(crate) fn pending(
    request: TlsServerRequest,
    key: &IssuingKey,
    serial: [u8; 16],
    now: UnixTime,
) -> Result<Pending, IssueError> {
    let issuer = key.issuer().ok_or_else(no_issuer)?;
    let (not_before, not_after) = x509::life(issuer, request.ttl, now)?;
    let leaf = TlsServerLeaf {
        dns_names: request.dns_names,
        ip_addresses: request.ip_addresses,
        public_key: request.csr.public_key,
        serial: Serial::new(serial).map_err(IssueError::X509)?,
        not_before,
        not_after,
    };
    let algorithm = issuer.public_key().kind().default_algorithm();
    let tbs = leaf.tbs(issuer, algorithm).map_err(IssueError::X509)?;
    Ok(Pending { leaf, tbs })
}

impl Sealed for TlsServerCertificate {
    type Pending = Pending;

    async fn sign(pending: Pending, key: &IssuingKey) -> Result<(Self, [u8; 32]), IssueError> {
        let (chain, hash) = x509::sign(pending.tbs, key).await?;
        let certificate = Self {
            chain,
            not_before: pending.leaf.not_before,
            not_after: pending.leaf.not_after,
        };
        Ok((certificate, hash))
    }
}
