//! The body of a request while it arrives.

use super::limits::Place;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use http_body::{Body, Frame, SizeHint};
use std::error::Error as StdError;
use tokio::time::Sleep;

/// A body that has a place among its sender's until it has arrived or is of no interest any more.
pub(super) struct Arriving<B> {
    body: B,
    place: Option<Place>,
    within: Option<Duration>,
    /// Made when something has to be waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> Arriving<B> {
    /// The body of one message, which has to be there soon.
    pub(super) fn soon(body: B, place: Place) -> Self {
        Self {
            body,
            place: Some(place),
            within: Some(WITHIN),
            deadline: None,
        }
    }

    /// A stream of messages, which may go on for as long as its sender likes.
    pub(super) fn stream(body: B, place: Place) -> Self {
        Self {
            within: None,
            ..Self::soon(body, place)
        }
    }
}

/// Far more than a request takes between two processes of one machine, whatever else that has to do.
const WITHIN: Duration = Duration::from_secs(30);

/// The request has not arrived in time.
#[derive(Debug, thiserror::Error)]
#[error("the request did not arrive whole within {} s", WITHIN.as_secs())]
struct Late;

impl<B> Body for Arriving<B>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = B::Data;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            if frame.as_ref().is_none_or(Result::is_err) {
                self.place = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(within) = self.within else {
            return Poll::Pending;
        };
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        ready!(deadline.as_mut().poll(context));
        self.place = None;
        Poll::Ready(Some(Err(Box::new(Late))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::{Accounts, Caller};
    use super::*;
    use crate::metrics::Limit;
    use crate::settings::LimitSettings;
    use bytes::Bytes;
    use core::convert::Infallible;
    use core::num::NonZeroU32;
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use signet_time::UnixTime;

    type Never = StreamBody<tokio_stream::Pending<Result<Frame<Bytes>, Infallible>>>;

    fn never() -> Never {
        StreamBody::new(tokio_stream::pending())
    }

    fn place(accounts: &Accounts) -> Option<Place> {
        let limits = LimitSettings {
            process_requests_max: NonZeroU32::MIN,
            ..LimitSettings::default()
        };
        let caller = Caller::new(1, 1, 7);
        accounts
            .place(caller, Limit::Requests, &limits, UnixTime::EPOCH)
            .ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_arrive_is_given_up_and_its_place_with_it() {
        let accounts = Accounts::default();
        let mut body = Arriving::soon(never(), place(&accounts).expect("the only one"));
        let begun = tokio::time::Instant::now();
        let error = body.frame().await.expect("an end").expect_err("late");
        assert_eq!(begun.elapsed(), WITHIN);
        assert_eq!(error.to_string(), "the request did not arrive whole within 30 s");
        place(&accounts).expect("given back while the body is still there");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_requests_may_be_silent_and_keeps_its_place() {
        let accounts = Accounts::default();
        let mut body = Arriving::stream(never(), place(&accounts).expect("the only one"));
        let much_later = tokio::time::timeout(100 * WITHIN, body.frame()).await;
        assert!(much_later.is_err());
        assert!(place(&accounts).is_none());
        drop(body);
        place(&accounts).expect("given back");
    }

    #[tokio::test]
    async fn what_has_arrived_has_no_place() {
        let accounts = Accounts::default();
        let whole = Full::new(Bytes::from_static(b"whole"));
        let mut body = Arriving::soon(whole, place(&accounts).expect("the only one"));
        assert!(body.frame().await.expect("data").is_ok());
        assert!(place(&accounts).is_none());
        assert!(body.frame().await.is_none());
        place(&accounts).expect("given back");
    }
}
