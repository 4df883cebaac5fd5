use super::{Endpoint, connect_tcp, connect_unix};
use crate::NetError;
use bytes::Bytes;
use core::time::Duration;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// A small HTTP client: one connection per request, bounded in time and size.
#[derive(Clone)]
pub struct Client {
    endpoint: Endpoint,
    tls: Option<Arc<rustls::ClientConfig>>,
    timeout: Duration,
    answer_bytes_max: usize,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Client {
    /// From sending to the whole answer, unless said otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// The longest answer, unless said otherwise: a thousand entries of 64 KiB.
    pub const ANSWER_BYTES_MAX: usize = 64 << 20;

    /// A client of the server at `endpoint`.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            tls: None,
            timeout: Self::TIMEOUT,
            answer_bytes_max: Self::ANSWER_BYTES_MAX,
        }
    }

    /// With `config` for `https`.
    #[must_use]
    pub fn with_tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// With `timeout` for a request and its answer together.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With at most `bytes` of an answer's body.
    #[must_use]
    pub fn with_answer_bytes_max(mut self, bytes: usize) -> Self {
        self.answer_bytes_max = bytes;
        self
    }

    /// The server's address.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends `method path` with `headers` and `body`, and reads the answer whole. `path` may hold a query.
    ///
    /// # Errors
    /// One variant of [`NetError`] for each way in which no answer came. An answer of any status is no error.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, NetError> {
        let address = self.endpoint.to_string();
        let authority = match &self.endpoint {
            Endpoint::Unix(_) => "localhost".to_owned(),
            Endpoint::Https { host, port } => format!("{host}:{port}"),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|e| NetError::Exchange {
            address: address.clone(),
            source: e.into(),
        })?;
        let exchange = self.exchange(&address, request);
        tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| NetError::Timeout {
                address: address.clone(),
                seconds: self.timeout.as_secs(),
            })?
    }

    async fn exchange(&self, address: &str, request: Request<Full<Bytes>>) -> Result<Reply, NetError> {
        match &self.endpoint {
            Endpoint::Unix(path) => {
                let stream = connect_unix(path).await?;
                self.over(address, stream, request).await
            }
            Endpoint::Https { host, port } => {
                let config = self.tls.clone().ok_or_else(|| NetError::NoTls {
                    address: address.to_owned(),
                })?;
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|e| {
                    NetError::Handshake {
                        address: address.to_owned(),
                        source: io::Error::other(e),
                    }
                })?;
                let stream = connect_tcp(&format!("{host}:{port}")).await?;
                let stream = TlsConnector::from(config)
                    .connect(name, stream)
                    .await
                    .map_err(|source| NetError::Handshake {
                        address: address.to_owned(),
                        source,
                    })?;
                self.over(address, stream, request).await
            }
        }
    }

    async fn over<IO>(&self, address: &str, io: IO, request: Request<Full<Bytes>>) -> Result<Reply, NetError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broke = |source: Box<dyn std::error::Error + Send + Sync>| NetError::Exchange {
            address: address.to_owned(),
            source,
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io))
            .await
            .map_err(|e| broke(e.into()))?;
        let talk = async {
            let answer = sender.send_request(request).await.map_err(|e| broke(e.into()))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, self.answer_bytes_max)
                .collect()
                .await
                .map_err(|e| {
                    if e.is::<LengthLimitError>() {
                        NetError::AnswerLength {
                            address: address.to_owned(),
                            max: self.answer_bytes_max,
                        }
                    } else {
                        broke(e)
                    }
                })?
                .to_bytes();
            Ok(Reply {
                status: parts.status,
                headers: parts.headers,
                body,
            })
        };
        let driven = async {
            // What the connection has to say reaches the request as its error; after that it only ends.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            reply = talk => reply,
            () = driven => Err(broke("the connection ended".into())),
        }
    }
}
