use super::stream::{Step, Watcher};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;

/// The body of an answer.
pub(crate) struct Reply(Kind);

enum Kind {
    /// A stream of shared messages: nothing is encoded or copied for it.
    Stream(Option<Stepping>),
    /// Whatever tonic made.
    Tonic(tonic::body::Body),
}

type Stepping = Pin<Box<dyn Future<Output = (Option<Watcher>, Step)> + Send>>;

impl Reply {
    pub(super) fn stream(watcher: Watcher) -> Self {
        Self(Kind::Stream(Some(Box::pin(watcher.step()))))
    }
}

impl From<tonic::body::Body> for Reply {
    fn from(body: tonic::body::Body) -> Self {
        Self(Kind::Tonic(body))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.0 {
            Kind::Tonic(body) => Pin::new(body).poll_frame(cx),
            Kind::Stream(stepping) => {
                let Some(step) = stepping else {
                    return Poll::Ready(None);
                };
                let (watcher, step) = core::task::ready!(step.as_mut().poll(cx));
                *stepping = watcher.map(|watcher| Box::pin(watcher.step()) as Stepping);
                Poll::Ready(Some(Ok(match step {
                    Step::Message(bytes) => Frame::data(bytes),
                    Step::End(status) => Frame::trailers(trailers(&status)),
                })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Tonic(body) => body.is_end_stream(),
            Kind::Stream(stepping) => stepping.is_none(),
        }
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    // Fails only where a header would be malformed; the code goes without words then.
    if status.add_header(&mut trailers).is_err() {
        trailers.clear();
        trailers.insert("grpc-status", http::HeaderValue::from(i32::from(status.code())));
    }
    trailers
}
