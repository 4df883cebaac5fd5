use super::stream::Step;
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
    /// Whatever tonic made, and what is left of a message that goes out in pieces.
    Tonic(tonic::body::Body, Bytes),
}

/// The next step of a stream, and after it the one behind.
pub(crate) struct Stepping(Pin<Box<dyn Future<Output = (Option<Stepping>, Step)> + Send>>);

impl Stepping {
    pub(crate) fn new(step: impl Future<Output = (Option<Self>, Step)> + Send + 'static) -> Self {
        Self(Box::pin(step))
    }
}

impl Reply {
    pub(crate) fn stream(first: Stepping) -> Self {
        Self(Kind::Stream(Some(first)))
    }
}

impl From<tonic::body::Body> for Reply {
    fn from(body: tonic::body::Body) -> Self {
        Self(Kind::Tonic(body, Bytes::new()))
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
            Kind::Tonic(_, rest) if !rest.is_empty() => Poll::Ready(Some(Ok(Frame::data(piece(rest))))),
            Kind::Tonic(body, rest) => {
                let frame = match core::task::ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => frame,
                    end => return Poll::Ready(end),
                };
                Poll::Ready(Some(Ok(match frame.into_data() {
                    Ok(data) if data.len() <= IN_PIECES_BYTES_MAX => {
                        *rest = data;
                        Frame::data(piece(rest))
                    }
                    Ok(data) => Frame::data(data),
                    Err(trailers) => trailers,
                })))
            }
            Kind::Stream(stepping) => {
                let Some(step) = stepping else {
                    return Poll::Ready(None);
                };
                let (next, step) = core::task::ready!(step.0.as_mut().poll(cx));
                *stepping = next;
                Poll::Ready(Some(Ok(match step {
                    Step::Message(bytes) => Frame::data(bytes),
                    Step::End(status) => Frame::trailers(trailers(&status)),
                })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Tonic(body, rest) => rest.is_empty() && body.is_end_stream(),
            Kind::Stream(stepping) => stepping.is_none(),
        }
    }
}

/// Takes the first piece off `rest`.
fn piece(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(PIECE_BYTES_MAX))
}

/// What a connection copies beside the frames around it, and does not write by itself: so the head, the token and the end
/// of an answer leave in one write, and wake the caller once.
const PIECE_BYTES_MAX: usize = 255;
/// A longer message costs less as it is.
const IN_PIECES_BYTES_MAX: usize = 4 * PIECE_BYTES_MAX;

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    // Fails only where a header would be malformed; the code goes without words then.
    if status.add_header(&mut trailers).is_err() {
        trailers.clear();
        trailers.insert("grpc-status", http::HeaderValue::from(i32::from(status.code())));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, Full, StreamBody};

    async fn pieces(body: tonic::body::Body) -> (Vec<usize>, Vec<u8>, bool) {
        let mut reply = Reply::from(body);
        let (mut sizes, mut all, mut ended) = (Vec::new(), Vec::new(), false);
        while let Some(frame) = reply.frame().await {
            assert!(!ended, "nothing follows the trailers");
            match frame.expect("frame").into_data() {
                Ok(data) => {
                    sizes.push(data.len());
                    all.extend_from_slice(&data);
                }
                Err(_) => ended = true,
            }
        }
        (sizes, all, ended)
    }

    #[tokio::test]
    async fn a_short_message_goes_out_in_pieces_and_arrives_whole() {
        for (length, expected) in [
            (0, &[0][..]),
            (1, &[1]),
            (255, &[255]),
            (256, &[255, 1]),
            (600, &[255, 255, 90]),
            (1_020, &[255; 4]),
            (1_021, &[1_021]),
        ] {
            let message: Vec<u8> = (0..length).map(|n: usize| n.to_le_bytes()[0]).collect();
            let frames = [
                Ok::<_, Status>(Frame::data(Bytes::from(message.clone()))),
                Ok(Frame::trailers(HeaderMap::new())),
            ];
            let body = StreamBody::new(tokio_stream::iter(frames));
            let (sizes, all, ended) = pieces(tonic::body::Body::new(body)).await;
            assert_eq!(sizes, expected, "{length}");
            assert!(all == message && ended);
        }
    }

    #[tokio::test]
    async fn it_has_not_ended_while_pieces_are_left() {
        let mut reply = Reply::from(tonic::body::Body::new(Full::new(Bytes::from(vec![7; 300]))));
        let first = reply.frame().await.expect("frame").expect("frame");
        assert_eq!(first.into_data().expect("data").len(), 255);
        assert!(!reply.is_end_stream());
        let rest = reply.frame().await.expect("frame").expect("frame");
        assert_eq!(rest.into_data().expect("data").len(), 45);
        assert!(reply.is_end_stream() && reply.frame().await.is_none());
    }
}
