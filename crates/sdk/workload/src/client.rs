use crate::answers::{self, JwtSvid, ValidJwt, X509Context};
use crate::wit::{self, WitSvid};
use crate::{Endpoint, WorkloadError};
use signet_id::SpiffeId;
use signet_proto::workload as proto;
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use signet_trust::Bundle;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// The metadata that every call carries, so that no browser can be made to send one (rule 8).
const SECURITY_HEADER: &str = "workload.spiffe.io";

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

type Inner =
    SpiffeWorkloadApiClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

/// Calls a Workload API over one connection. Cheap to clone.
#[derive(Clone)]
pub struct WorkloadClient(Inner);

impl WorkloadClient {
    /// Connects to `endpoint`.
    ///
    /// # Errors
    /// [`WorkloadError::Unreachable`].
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, WorkloadError> {
        let unreachable = |error: &dyn std::error::Error| WorkloadError::Unreachable {
            endpoint: endpoint.to_string(),
            reason: signet_fault::chain(error),
        };
        let builder = match endpoint {
            // The authority of a UNIX socket means nothing; HTTP wants one.
            Endpoint::Unix(_) => Channel::from_static("http://localhost"),
            Endpoint::Tcp(address) => {
                Channel::from_shared(format!("http://{address}")).map_err(|e| unreachable(&e))?
            }
        };
        // Streams that we drop count as local resets; on a connection of our own there is nobody to shield from them.
        let builder = builder.http2_max_local_error_reset_streams(None);
        let channel = match endpoint.clone() {
            Endpoint::Tcp(_) => builder.connect().await,
            Endpoint::Unix(path) => {
                let connect = move |_: tonic::transport::Uri| {
                    let path = path.clone();
                    async move {
                        let stream = tokio::net::UnixStream::connect(path).await?;
                        Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
                    }
                };
                builder.connect_with_connector(tower::service_fn(connect)).await
            }
        };
        let channel = channel.map_err(|e| unreachable(&e))?;
        let add: fn(Request<()>) -> Result<Request<()>, Status> = add_header;
        let inner = SpiffeWorkloadApiClient::with_interceptor(channel, add);
        Ok(Self(inner.max_decoding_message_size(ANSWER_BYTES_MAX)))
    }

    /// The identities of this process and what to verify peers with.
    ///
    /// # Errors
    /// One variant of [`WorkloadError`] for each reason.
    pub async fn fetch_x509(&self) -> Result<X509Context, WorkloadError> {
        self.watch_x509().await?.next().await?.ok_or(WorkloadError::Ended)
    }

    /// The same as a stream: a message at once and one at each change.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn watch_x509(&self) -> Result<X509Stream, WorkloadError> {
        let answer = self.0.clone().fetch_x509svid(proto::X509svidRequest {}).await?;
        Ok(X509Stream(answer.into_inner()))
    }

    /// The X.509 bundles that this process may verify with.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn fetch_x509_bundles(&self) -> Result<Vec<Bundle>, WorkloadError> {
        let answer = self
            .0
            .clone()
            .fetch_x509_bundles(proto::X509BundlesRequest {})
            .await?;
        let message = answer.into_inner().message().await?.ok_or(WorkloadError::Ended)?;
        answers::read_x509_bundles(message)
    }

    /// JWT-SVIDs for `audience`: for every identity, or for `id` alone.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn fetch_jwt(
        &self,
        audience: &[String],
        id: Option<&SpiffeId>,
    ) -> Result<Vec<JwtSvid>, WorkloadError> {
        let request = proto::JwtsvidRequest {
            audience: audience.to_vec(),
            spiffe_id: id.map(ToString::to_string).unwrap_or_default(),
        };
        let answer = self.0.clone().fetch_jwtsvid(request).await?.into_inner();
        if answer.svids.is_empty() {
            return Err(WorkloadError::malformed("svids", "is empty"));
        }
        answer.svids.into_iter().map(answers::read_jwt_svid).collect()
    }

    /// The JWT bundles that this process may verify with.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn fetch_jwt_bundles(&self) -> Result<Vec<Bundle>, WorkloadError> {
        self.watch_jwt_bundles()
            .await?
            .next()
            .await?
            .ok_or(WorkloadError::Ended)
    }

    /// The same as a stream: a message at once and one at each change.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn watch_jwt_bundles(&self) -> Result<JwtBundleStream, WorkloadError> {
        let answer = self
            .0
            .clone()
            .fetch_jwt_bundles(proto::JwtBundlesRequest {})
            .await?;
        Ok(JwtBundleStream(answer.into_inner()))
    }

    /// The WIT-SVIDs of this process (incubating): every identity, or `id` alone.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn fetch_wit(&self, id: Option<&SpiffeId>) -> Result<Vec<WitSvid>, WorkloadError> {
        self.watch_wit(id)
            .await?
            .next()
            .await?
            .ok_or(WorkloadError::Ended)
    }

    /// The same as a stream: a message at once and one at each change.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn watch_wit(&self, id: Option<&SpiffeId>) -> Result<WitStream, WorkloadError> {
        let request = proto::WitsvidRequest {
            spiffe_id: id.map(ToString::to_string).unwrap_or_default(),
        };
        Ok(WitStream(
            self.0.clone().fetch_witsvid(request).await?.into_inner(),
        ))
    }

    /// The WIT bundles that this process may verify with.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn fetch_wit_bundles(&self) -> Result<Vec<Bundle>, WorkloadError> {
        self.watch_wit_bundles()
            .await?
            .next()
            .await?
            .ok_or(WorkloadError::Ended)
    }

    /// The same as a stream: a message at once and one at each change.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn watch_wit_bundles(&self) -> Result<WitBundleStream, WorkloadError> {
        let answer = self
            .0
            .clone()
            .fetch_wit_bundles(proto::WitBundlesRequest {})
            .await?;
        Ok(WitBundleStream(answer.into_inner()))
    }

    /// Has the endpoint check `token`, which must be meant for `audience`.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`]; an invalid token is [`WorkloadError::Refused`].
    pub async fn validate_jwt(&self, audience: &str, token: &str) -> Result<ValidJwt, WorkloadError> {
        let request = proto::ValidateJwtsvidRequest {
            audience: audience.to_owned(),
            svid: token.to_owned(),
        };
        answers::read_valid_jwt(self.0.clone().validate_jwtsvid(request).await?.into_inner())
    }
}

/// Messages of the X.509 stream; each replaces the one before.
pub struct X509Stream(tonic::Streaming<proto::X509svidResponse>);

impl X509Stream {
    /// The next message; `None` where the stream has ended.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn next(&mut self) -> Result<Option<X509Context>, WorkloadError> {
        self.0.message().await?.map(X509Context::read).transpose()
    }
}

/// Messages of the JWT bundle stream; each replaces the one before.
pub struct JwtBundleStream(tonic::Streaming<proto::JwtBundlesResponse>);

impl JwtBundleStream {
    /// The next message; `None` where the stream has ended.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn next(&mut self) -> Result<Option<Vec<Bundle>>, WorkloadError> {
        self.0.message().await?.map(answers::read_jwt_bundles).transpose()
    }
}

/// Messages of the WIT-SVID stream; each replaces the one before.
pub struct WitStream(tonic::Streaming<proto::WitsvidResponse>);

impl WitStream {
    /// The next message, with at least one identity; `None` where the stream has ended.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn next(&mut self) -> Result<Option<Vec<WitSvid>>, WorkloadError> {
        self.0.message().await?.map(wit::read_wit_svids).transpose()
    }
}

/// Messages of the WIT bundle stream; each replaces the one before.
pub struct WitBundleStream(tonic::Streaming<proto::WitBundlesResponse>);

impl WitBundleStream {
    /// The next message; `None` where the stream has ended.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_x509`].
    pub async fn next(&mut self) -> Result<Option<Vec<Bundle>>, WorkloadError> {
        self.0.message().await?.map(wit::read_wit_bundles).transpose()
    }
}

fn add_header(mut request: Request<()>) -> Result<Request<()>, Status> {
    request
        .metadata_mut()
        .insert(SECURITY_HEADER, MetadataValue::from_static("true"));
    Ok(request)
}
