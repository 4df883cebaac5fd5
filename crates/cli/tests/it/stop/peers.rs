//! Callers that hang, each in a way of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long a caller waits for what must come at once.
const WITHIN: Duration = Duration::from_secs(30);

/// A connection on which nothing is ever sent.
pub(super) fn silent(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream
}

/// A connection on which `first` is sent and no more.
pub(super) fn saying(socket: &Path, first: &[u8]) -> UnixStream {
    let mut stream = silent(socket);
    stream.write_all(first).unwrap();
    stream
}

/// The same over TCP.
pub(super) fn silent_tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream
}

fn hello(roots_pem: &str) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    for root in signet_x509::pem::parse_certs(roots_pem.as_bytes()).unwrap() {
        roots.add(root).unwrap();
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

/// A TLS client that stops in the middle of its first message.
pub(super) fn half_a_hello(address: SocketAddr, roots_pem: &str) -> TcpStream {
    let (mut stream, mut bytes) = (silent_tcp(address), Vec::new());
    hello(roots_pem).write_tls(&mut bytes).unwrap();
    stream.write_all(&bytes[..bytes.len() / 2]).unwrap();
    stream
}

/// A TLS client that stops after its first message.
pub(super) fn no_finished(address: SocketAddr, roots_pem: &str) -> TcpStream {
    let mut stream = silent_tcp(address);
    hello(roots_pem).write_tls(&mut stream).unwrap();
    // The server has answered: from here on it waits.
    stream.read_exact(&mut [0]).unwrap();
    stream
}

pub(super) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A TLS client that has done all that is needed before it may ask.
pub(super) fn tls(address: SocketAddr, roots_pem: &str) -> Tls {
    let mut stream = silent_tcp(address);
    let mut connection = hello(roots_pem);
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    StreamOwned::new(connection, stream)
}

/// Sends `request`, reads its answer and keeps the connection.
pub(super) fn ask(stream: &mut (impl std::io::Read + std::io::Write), request: &str) -> (String, Vec<u8>) {
    stream.write_all(request.as_bytes()).unwrap();
    let head = head(stream);
    let mut body = vec![0; content_length(&head)];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

/// Reads up to the empty line, and no further.
pub(super) fn head(stream: &mut impl std::io::Read) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

pub(super) fn content_length(head: &str) -> usize {
    let lower = head.to_ascii_lowercase();
    let value = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    value.unwrap().trim().parse().unwrap()
}

/// Asserts that the process whose health is told at `metrics` says that it is not ready, because it drains.
pub(super) fn assert_draining(metrics: SocketAddr) {
    let request = "GET /health/ready HTTP/1.1\r\nhost: a\r\n\r\n";
    let (head, body) = ask(&mut silent_tcp(metrics), request);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("draining"), "{body}");
}

/// An administrator who has sent the head of a request that creates an entry, and whom the server has told to go on:
/// the request is being served from here on, and waits for `body_bytes` bytes.
pub(super) fn begin_create(socket: &Path, body_bytes: usize) -> UnixStream {
    let request = format!(
        "POST /api/v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {body_bytes}\r\nexpect: 100-continue\r\n\r\n"
    );
    let mut stream = saying(socket, request.as_bytes());
    let told = head(&mut stream);
    assert!(told.starts_with("HTTP/1.1 100 "), "{told}");
    stream
}

/// A workload that has an open stream and will never take a message from it: it allows the agent to send nothing.
pub(super) fn deaf_workload(socket: &Path) -> UnixStream {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const DATA: u8 = 0;
    const END_HEADERS: u8 = 4;
    const END_STREAM: u8 = 1;
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let literal = |name: &str, value: &str| {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    let fields = [
        // POST and http by their index.
        vec![0x83, 0x86],
        literal(":path", "/SpiffeWorkloadAPI/FetchX509SVID"),
        literal(":authority", "localhost"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
        literal("workload.spiffe.io", "true"),
    ];
    let said = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        // INITIAL_WINDOW_SIZE is zero.
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
        frame(HEADERS, END_HEADERS, 1, &fields.concat()),
        // An empty message.
        frame(DATA, END_STREAM, 1, &[0; 5]),
    ];
    let mut stream = saying(socket, &said.concat());
    // The head of the answer shows that the stream is open.
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let [a, b, c, kind, ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        stream.read_exact(&mut vec![0; length]).unwrap();
        assert_ne!(kind, DATA, "nothing may be sent");
        if kind == HEADERS {
            return stream;
        }
    }
}
