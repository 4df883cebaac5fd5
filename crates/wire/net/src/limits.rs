use core::time::Duration;

/// Which HTTP a listener speaks; nothing is guessed from the first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone, with prior knowledge or by ALPN: gRPC.
    Http2,
}

/// What one listener allows its peers. The presets differ where their peers do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Which HTTP.
    pub protocol: Protocol,
    /// Open connections; one more is closed as it arrives, so that it fails at once instead of hanging.
    pub connections_max: usize,
    /// Open connections of one user, on a UNIX socket: one user cannot take them all.
    pub connections_per_user_max: usize,
    /// Open connections from one network address, over TCP: an IPv4 address or an IPv6 network of 64 bits.
    pub connections_per_address_max: usize,
    /// TLS handshakes under way, all together. Until its end anybody may be anybody, so what is unproved takes few of the
    /// places.
    pub handshakes_max: usize,
    /// The same, from one network address. It does not count who is done, for many nodes may come from one address.
    pub handshakes_per_address_max: usize,
    /// Open connections of one member ([`crate::Member`]).
    pub connections_per_member_max: usize,
    /// For the TLS handshake, and then again for the first request to begin.
    pub handshake_timeout: Duration,
    /// For the head of an HTTP/1.1 request, and between two requests.
    pub header_timeout: Duration,
    /// All header fields of a request together, in bytes. Of HTTP/1.1 more is read, so that a service can say what is
    /// wrong: see [`crate::check_head`].
    pub header_bytes_max: u32,
    /// Streams at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Bytes that an HTTP/2 peer may send ahead of being read, per stream and per connection.
    pub window_bytes: u32,
    /// Bytes kept for one HTTP/2 stream whose peer does not read.
    pub send_buffer_bytes_max: usize,
    /// How often a quiet HTTP/2 peer is asked whether it is there; none where the kernel tells us.
    pub ping_interval: Option<Duration>,
    /// Open connections of guests ([`crate::Guest`]), all together.
    pub guests_max: usize,
    /// The same, from one network address.
    pub guests_per_address_max: usize,
    /// From the beginning of a drain until what is left is cut.
    pub drain_timeout: Duration,
}

impl Limits {
    /// Administration over HTTP/1.1: few peers, whole requests.
    #[must_use]
    pub const fn admin() -> Self {
        Self {
            protocol: Protocol::Http1,
            connections_max: 256,
            connections_per_user_max: 128,
            ..Self::workload()
        }
    }

    /// Metrics and health over HTTP/1.1: tiny requests, anybody on the host.
    #[must_use]
    pub const fn metrics() -> Self {
        Self {
            protocol: Protocol::Http1,
            connections_max: 64,
            // It drains when all else has, so that it can be asked until then, and must not double that time.
            drain_timeout: Duration::from_millis(500),
            ..Self::workload()
        }
    }

    /// gRPC for workloads on one host: many peers that mostly wait, so what each costs counts.
    #[must_use]
    pub const fn workload() -> Self {
        Self {
            protocol: Protocol::Http2,
            connections_max: 20_000,
            connections_per_user_max: 10_000,
            connections_per_address_max: usize::MAX,
            handshakes_max: usize::MAX,
            handshakes_per_address_max: usize::MAX,
            connections_per_member_max: usize::MAX,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            header_bytes_max: 8 << 10,
            streams_max: 64,
            window_bytes: 65_535,
            send_buffer_bytes_max: 16 << 10,
            ping_interval: None,
            guests_max: 0,
            guests_per_address_max: 0,
            drain_timeout: Duration::from_secs(8),
        }
    }

    /// gRPC for people and programs that ask an agent about its node: one question at a time.
    #[must_use]
    pub const fn local() -> Self {
        Self {
            connections_max: 256,
            connections_per_user_max: 32,
            streams_max: 8,
            ..Self::workload()
        }
    }

    /// Public documents over TLS and HTTP/1.1: anybody, so one address gets a share, and whoever is slow is cut.
    #[must_use]
    pub const fn public() -> Self {
        Self {
            protocol: Protocol::Http1,
            connections_max: 4_096,
            connections_per_address_max: 512,
            handshake_timeout: Duration::from_secs(5),
            ..Self::workload()
        }
    }

    /// gRPC for agents over TLS: one connection per node, batches of signing requests.
    #[must_use]
    pub const fn agents() -> Self {
        Self {
            protocol: Protocol::Http2,
            connections_max: 20_000,
            handshakes_max: 4_096,
            // A site that comes back behind one address does so over many seconds, and whoever is turned away comes again.
            handshakes_per_address_max: 256,
            // One is usual, two when an agent takes over from another; more are dead ones that were not missed yet.
            connections_per_member_max: 32,
            // Four that follow, sixteen calls, and some that end; what each may hold is kept for a peer that does not read.
            streams_max: 32,
            window_bytes: 1 << 20,
            send_buffer_bytes_max: 256 << 10,
            ping_interval: Some(Duration::from_secs(30)),
            // Nodes stay, guests go within seconds: room for a thousand that join at once.
            guests_max: 1_024,
            guests_per_address_max: 256,
            ..Self::workload()
        }
    }
}
