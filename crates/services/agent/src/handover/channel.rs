use super::message::Message;
use signet_sys::fds;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Carries messages between two agents: four bytes of length, most significant first, then JSON.
pub(super) struct Channel(UnixStream);

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Sends `message`, and with it `descriptors`.
    ///
    /// # Errors
    /// Of the connection; [`io::ErrorKind::InvalidInput`] if it is too long.
    pub(super) async fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= BYTES_MAX);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        let bytes = [&length.to_be_bytes()[..], &body].concat();
        let mut sent = self.write(&bytes, descriptors).await?;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            sent += self.write(rest, &[]).await?;
        }
        Ok(())
    }

    /// The next message, and the descriptors that came with it; none once the other side is gone. To be awaited to its
    /// end: a message that was read by half is lost.
    ///
    /// # Errors
    /// Of the connection; [`io::ErrorKind::InvalidData`] and [`io::ErrorKind::UnexpectedEof`] for what is no message.
    pub(super) async fn receive(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let (mut length, mut descriptors) = ([0; 4], Vec::new());
        if !self.fill(&mut length, &mut descriptors).await? {
            return Ok(None);
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
        }
        let mut body = vec![0; length];
        if !self.fill(&mut body, &mut descriptors).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((serde_json::from_slice(&body)?, descriptors)))
    }

    async fn write(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0
            .async_io(Interest::WRITABLE, || fds::send(&self.0, bytes, descriptors))
            .await
    }

    /// Reads all of `bytes`; false where the end comes before the first.
    async fn fill(&self, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<bool> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = self
                .0
                .async_io(Interest::READABLE, || fds::receive(&self.0, rest, descriptors))
                .await?;
            if descriptors.len() > fds::DESCRIPTORS_MAX {
                let why = "too many descriptors came with it";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            match (read, filled) {
                (0, 0) => return Ok(false),
                (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (read, _) => filled += read,
            }
        }
        Ok(true)
    }
}

/// What is in use is cut before it gets there.
const BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::super::message::{Done, Hello};
    use super::*;
    use std::os::fd::AsFd as _;
    use tokio::io::AsyncWriteExt as _;

    fn pair() -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("pair");
        (Channel::new(ours), theirs)
    }

    #[tokio::test]
    async fn messages_arrive_whole_with_their_descriptors() {
        let (ours, theirs) = pair();
        let theirs = Channel::new(theirs);
        // More than a socket takes at once.
        let long = Message::Hello(Hello {
            versions: vec![7; 500_000],
            software: String::new(),
        });
        let (left, _right) = UnixStream::pair().expect("pair");
        let descriptors = [left.as_fd(), left.as_fd()];
        let (sent, received) = tokio::join!(ours.send(&long, &descriptors), theirs.receive());
        sent.expect("sent");
        let (message, descriptors) = received.expect("received").expect("a message");
        assert!(message == long && descriptors.len() == 2);
        ours.send(&Message::Done(Done {}), &[]).await.expect("sent");
        drop(ours);
        let (message, descriptors) = theirs.receive().await.expect("received").expect("a message");
        assert!(message == Message::Done(Done {}) && descriptors.is_empty());
        assert!(theirs.receive().await.expect("the end").is_none());
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error() {
        for bytes in [
            &b"\0\0\0"[..],
            b"\0\0\0\x02",
            b"\0\0\0\x02{",
            b"\0\0\0\x02{}",
            b"\0\0\0\0",
            b"\xff\xff\xff\xff",
            b"\0\0\0\x0f{\"unheard\": {}}",
        ] {
            let (ours, mut theirs) = pair();
            theirs.write_all(bytes).await.expect("write");
            drop(theirs);
            assert!(ours.receive().await.is_err(), "{bytes:?}");
        }
        let (ours, _theirs) = pair();
        let beyond = Message::Hello(Hello {
            versions: Vec::new(),
            software: "s".repeat(BYTES_MAX),
        });
        let error = ours.send(&beyond, &[]).await.expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn descriptors_without_end_are_refused() {
        let (ours, theirs) = pair();
        let many = vec![theirs.as_fd(); fds::DESCRIPTORS_MAX];
        assert_eq!(fds::send(&theirs, &[0], &many).expect("sent"), 1);
        assert_eq!(fds::send(&theirs, &[0], &many).expect("sent"), 1);
        let error = ours.receive().await.expect_err("too many");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
