use crate::audience::{ReservedAudiences, admitted};
use crate::profile::{check_own, check_reason};
use crate::{
    Admitted, Credential, IssueError, JwtRequest, JwtSvid, Profile, TlsServerCertificate, TlsServerRequest,
    WitRequest, WitSvid, X509Request, X509Svid, jwt, limits, tls, wit, x509,
};
use bytes::Bytes;
use core::time::Duration;
use signet_crypto::{PublicKey, digest};
use signet_decision::{Action, Decision, Principal, Request, Resource};
use signet_id::{SpiffeId, TrustDomain};
use signet_keys::{IssuingKey, KeyState, Keys, KeysError, Purpose};
use signet_record::{CredentialKind, IssueRecord, Recorder, Slot, Unrecorded};
use signet_store::Seq;
use signet_time::UnixTime;
use std::sync::Arc;

/// Issues for one trust domain. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    keys: Arc<Keys>,
    recorder: Recorder,
    /// What JWT-SVIDs name as their issuer.
    jwt_issuer: Arc<str>,
    reserved: Arc<dyn ReservedAudiences>,
}

/// Where a request comes from, for the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The entry that allowed it.
    pub entry_id: Option<[u8; 16]>,
    /// The last change of state that the decision saw.
    pub state_seq: Seq,
    /// The request's id, as in logs and answers.
    pub request_id: String,
    /// Why it is asked for, where an operator asks.
    pub reason: String,
}

impl Authority {
    /// An authority that signs with `keys` and records with `recorder`. `jwt_issuer` is the `iss` of JWT-SVIDs.
    pub fn new(
        keys: Arc<Keys>,
        recorder: Recorder,
        jwt_issuer: impl Into<Arc<str>>,
        reserved: Arc<dyn ReservedAudiences>,
    ) -> Self {
        Self {
            keys,
            recorder,
            jwt_issuer: jwt_issuer.into(),
            reserved,
        }
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.keys.config().trust_domain
    }

    /// What JWT-SVIDs name as their issuer.
    #[must_use]
    pub fn jwt_issuer(&self) -> &str {
        &self.jwt_issuer
    }

    /// Reserves places and releases what was signed in them.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The decision for a server's own identity: nobody asked for it but the server itself.
    pub fn own_decision(id: &SpiffeId) -> Decision {
        let request = Request::new(
            Principal::Ourselves,
            Action::ISSUE_SERVER_SVID,
            Resource::identity(id),
        );
        Decision::allow(request, "ourselves", "a server names itself")
    }

    /// Admits a request for an X.509-SVID: everything is checked and the bytes to be signed are fixed.
    ///
    /// # Errors
    /// One variant of [`IssueError`] for each rule; see the crate's own description.
    pub fn admit_x509(
        &self,
        request: X509Request,
        profile: Profile,
        decision: &Decision,
        slot: Slot,
        now: UnixTime,
    ) -> Result<Admitted<X509Svid>, IssueError> {
        permit(decision, profile.action(), &Resource::identity(&request.id))?;
        profile.check_principal(&decision.request().principal)?;
        check_reason(profile.action(), &request.context.reason)?;
        check_own(&request.id, self.trust_domain())?;
        profile.check_id(&request.id)?;
        x509::check_names(&request)?;
        self.check_key(&request.csr.public_key)?;
        self.check_leaf_ttl(request.ttl)?;
        let key = self.key(Purpose::X509Svid)?;
        let context = request.context.clone();
        let public_key_sha256 = request.csr.public_key.fingerprint();
        let pending = x509::pending(request, &key, slot.serial(), now)?;
        let record = IssueRecord {
            subject: pending.leaf.id.to_string(),
            not_before_ms: pending.leaf.not_before.as_millis(),
            not_after_ms: pending.leaf.not_after.as_millis(),
            public_key_sha256: Bytes::copy_from_slice(&public_key_sha256),
            ..record(&slot, profile.record_kind(), &key, decision, context, now)
        };
        Ok(Admitted { pending, key, record })
    }

    /// Admits a request for a JWT-SVID: everything is checked and the bytes to be signed are fixed.
    ///
    /// # Errors
    /// One variant of [`IssueError`] for each rule; see the crate's own description.
    pub fn admit_jwt(
        &self,
        request: JwtRequest,
        decision: &Decision,
        slot: Slot,
        now: UnixTime,
    ) -> Result<Admitted<JwtSvid>, IssueError> {
        // For a workload by its entry, or on the word of an operator who says why.
        let action = match decision.request().action {
            Action::MINT_JWT_SVID => Action::MINT_JWT_SVID,
            _ => Action::ISSUE_JWT_SVID,
        };
        permit(decision, action, &Resource::identity(&request.id))?;
        check_reason(action, &request.context.reason)?;
        check_own(&request.id, self.trust_domain())?;
        Profile::Workload.check_id(&request.id)?;
        check_ttl(
            request.ttl,
            limits::JWT_TTL_MAX.min(self.keys.config().token_life_max),
        )?;
        let audiences = admitted(request.audiences, &request.allowed_audiences, &*self.reserved)?;
        let key = self.key(Purpose::JwtSvid)?;
        let issued_at = now.floor_secs();
        let pending = jwt::pending(
            &key,
            &jwt::Claims {
                issuer: &self.jwt_issuer,
                id: request.id,
                audiences: &audiences,
                jti: slot.jti(),
                issued_at,
                expires_at: (issued_at + request.ttl).floor_secs(),
            },
        )?;
        let record = IssueRecord {
            subject: pending.id.to_string(),
            not_before_ms: issued_at.as_millis(),
            not_after_ms: pending.expires_at.as_millis(),
            audience_sha256: audiences
                .iter()
                .map(|audience| Bytes::copy_from_slice(&digest::sha256(audience.as_bytes())))
                .collect(),
            ..record(
                &slot,
                CredentialKind::JwtSvid,
                &key,
                decision,
                request.context,
                now,
            )
        };
        Ok(Admitted { pending, key, record })
    }

    /// Admits a request for a WIT-SVID: everything is checked and the bytes to be signed are fixed.
    ///
    /// # Errors
    /// One variant of [`IssueError`] for each rule; see the crate's own description.
    pub fn admit_wit(
        &self,
        request: WitRequest,
        decision: &Decision,
        slot: Slot,
        now: UnixTime,
    ) -> Result<Admitted<WitSvid>, IssueError> {
        // As with JWT-SVIDs.
        let action = match decision.request().action {
            Action::MINT_WIT_SVID => Action::MINT_WIT_SVID,
            _ => Action::ISSUE_WIT_SVID,
        };
        permit(decision, action, &Resource::identity(&request.id))?;
        check_reason(action, &request.context.reason)?;
        check_own(&request.id, self.trust_domain())?;
        Profile::Workload.check_id(&request.id)?;
        x509::check_identity(&request.csr, &request.id)?;
        self.check_key(&request.csr.public_key)?;
        let confirmation = wit::confirmation(&request.csr)?;
        check_ttl(
            request.ttl,
            limits::WIT_TTL_MAX.min(self.keys.config().token_life_max),
        )?;
        let key = self.key(Purpose::WitSvid)?;
        let issued_at = now.floor_secs();
        let pending = wit::pending(
            &key,
            wit::Claims {
                id: request.id,
                confirmation,
                jti: slot.jti(),
                issued_at,
                expires_at: (issued_at + request.ttl).floor_secs(),
            },
        )?;
        let kind = CredentialKind::WitSvid;
        let public_key_sha256 = request.csr.public_key.fingerprint();
        let record = IssueRecord {
            subject: pending.id.to_string(),
            not_before_ms: issued_at.as_millis(),
            not_after_ms: pending.expires_at.as_millis(),
            public_key_sha256: Bytes::copy_from_slice(&public_key_sha256),
            ..record(&slot, kind, &key, decision, request.context, now)
        };
        Ok(Admitted { pending, key, record })
    }

    /// Admits a request for the certificate of the server's own public port: everything is checked and the bytes to be
    /// signed are fixed.
    ///
    /// # Errors
    /// One variant of [`IssueError`] for each rule; see the crate's own description.
    pub fn admit_tls_server(
        &self,
        request: TlsServerRequest,
        decision: &Decision,
        slot: Slot,
        now: UnixTime,
    ) -> Result<Admitted<TlsServerCertificate>, IssueError> {
        let resource = request.resource();
        permit(decision, Action::ISSUE_TLS_SERVER, &resource)?;
        if decision.request().principal != Principal::Ourselves {
            return Err(IssueError::NotOurselves);
        }
        tls::check_names(&request.csr)?;
        self.check_key(&request.csr.public_key)?;
        self.check_leaf_ttl(request.ttl)?;
        let key = self.key(Purpose::X509Svid)?;
        let context = request.context.clone();
        let public_key_sha256 = request.csr.public_key.fingerprint();
        let pending = tls::pending(request, &key, slot.serial(), now)?;
        let kind = CredentialKind::TlsServer;
        let record = IssueRecord {
            subject: resource.to_string(),
            not_before_ms: pending.leaf.not_before.as_millis(),
            not_after_ms: pending.leaf.not_after.as_millis(),
            public_key_sha256: Bytes::copy_from_slice(&public_key_sha256),
            ..record(&slot, kind, &key, decision, context, now)
        };
        Ok(Admitted { pending, key, record })
    }

    /// Signs what was admitted, once. The credential stays closed until the recorder releases it.
    ///
    /// # Errors
    /// [`IssueError::Tainted`] where the key was tainted since; [`IssueError::Sign`], [`IssueError::Keys`],
    /// [`IssueError::X509`].
    pub async fn sign<C: Credential>(&self, admitted: Admitted<C>) -> Result<Unrecorded<C>, IssueError> {
        let Admitted {
            pending,
            key,
            mut record,
        } = admitted;
        let tainted = |now: &Arc<IssuingKey>| now.is_tainted() || now.state() == KeyState::Retired;
        if self.keys.read(|ring| ring.key(key.kid()).is_none_or(tainted)) {
            let kid = key.kid().to_owned();
            return Err(IssueError::Tainted { kid });
        }
        let (credential, hash) = C::sign(pending, &key).await?;
        record.credential_sha256 = Bytes::copy_from_slice(&hash);
        Ok(Unrecorded::new(credential, record))
    }

    /// Admits, signs and releases one X.509-SVID.
    ///
    /// # Errors
    /// As [`Authority::admit_x509`] and [`Authority::sign`]; [`IssueError::Record`].
    pub async fn issue_x509(
        &self,
        request: X509Request,
        profile: Profile,
        decision: &Decision,
        now: UnixTime,
    ) -> Result<X509Svid, IssueError> {
        let slot = self.recorder.reserve().map_err(IssueError::Record)?;
        let admitted = self.admit_x509(request, profile, decision, slot, now)?;
        self.release(self.sign(admitted).await?).await
    }

    /// Admits, signs and releases one JWT-SVID.
    ///
    /// # Errors
    /// As [`Authority::admit_jwt`] and [`Authority::sign`]; [`IssueError::Record`].
    pub async fn issue_jwt(
        &self,
        request: JwtRequest,
        decision: &Decision,
        now: UnixTime,
    ) -> Result<JwtSvid, IssueError> {
        let slot = self.recorder.reserve().map_err(IssueError::Record)?;
        let admitted = self.admit_jwt(request, decision, slot, now)?;
        self.release(self.sign(admitted).await?).await
    }

    /// Admits, signs and releases one WIT-SVID.
    ///
    /// # Errors
    /// As [`Authority::admit_wit`] and [`Authority::sign`]; [`IssueError::Record`].
    pub async fn issue_wit(
        &self,
        request: WitRequest,
        decision: &Decision,
        now: UnixTime,
    ) -> Result<WitSvid, IssueError> {
        let slot = self.recorder.reserve().map_err(IssueError::Record)?;
        let admitted = self.admit_wit(request, decision, slot, now)?;
        self.release(self.sign(admitted).await?).await
    }

    /// Admits, signs and releases one certificate of the server's own public port.
    ///
    /// # Errors
    /// As [`Authority::admit_tls_server`] and [`Authority::sign`]; [`IssueError::Record`].
    pub async fn issue_tls_server(
        &self,
        request: TlsServerRequest,
        decision: &Decision,
        now: UnixTime,
    ) -> Result<TlsServerCertificate, IssueError> {
        let slot = self.recorder.reserve().map_err(IssueError::Record)?;
        let admitted = self.admit_tls_server(request, decision, slot, now)?;
        self.release(self.sign(admitted).await?).await
    }

    async fn release<C>(&self, unrecorded: Unrecorded<C>) -> Result<C, IssueError> {
        self.recorder
            .release(unrecorded)
            .await
            .map_err(IssueError::Record)
    }

    fn key(&self, purpose: Purpose) -> Result<Arc<IssuingKey>, IssueError> {
        let key = self.keys.active(purpose).map_err(IssueError::Keys)?;
        if key.is_tainted() {
            let kid = key.kid().to_owned();
            return Err(IssueError::Tainted { kid });
        }
        Ok(key)
    }

    fn check_leaf_ttl(&self, asked: Duration) -> Result<(), IssueError> {
        check_ttl(asked, limits::X509_TTL_MAX.min(self.keys.config().leaf_life_max))
    }

    /// A certificate for one of our own keys would make a leaf key and an issuing key the same.
    fn check_key(&self, key: &PublicKey) -> Result<(), IssueError> {
        let is_ours = self
            .keys
            .read(|ring| ring.keys().iter().any(|ours| ours.public_key() == key));
        if is_ours {
            Err(IssueError::CsrIssuerKey)
        } else {
            Ok(())
        }
    }
}

fn permit(decision: &Decision, action: Action, resource: &Resource) -> Result<(), IssueError> {
    decision
        .permit_for(action, resource)
        .map(drop)
        .map_err(IssueError::Denied)
}

/// `max` is no longer than the key is accepted after it last signed: nothing outlives its verification.
fn check_ttl(asked: Duration, max: Duration) -> Result<(), IssueError> {
    let min = limits::TTL_MIN;
    if (min..=max).contains(&asked) {
        Ok(())
    } else {
        Err(IssueError::Lifetime { asked, min, max })
    }
}

fn record(
    slot: &Slot,
    kind: CredentialKind,
    key: &IssuingKey,
    decision: &Decision,
    context: Context,
    now: UnixTime,
) -> IssueRecord {
    IssueRecord {
        issued_at_ms: now.as_millis(),
        issuer_key_id: key.kid().to_owned(),
        requested_by: decision.request().principal.to_string(),
        entry_id: context
            .entry_id
            .map(|id| Bytes::copy_from_slice(&id))
            .unwrap_or_default(),
        state_seq: context.state_seq.0,
        request_id: context.request_id,
        reason: context.reason,
        ..slot.record(kind)
    }
}

/// A purpose whose key has no certificate was asked for one. Cannot be: the ring refuses such a key.
pub(crate) fn no_issuer() -> IssueError {
    IssueError::Keys(KeysError::NoActive {
        purpose: Purpose::X509Svid,
    })
}
