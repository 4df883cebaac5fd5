//! Calls that are called off: by clients that drop their streams, and by peers that do it to hurt (CVE-2023-44487).

use crate::callers::inherit;
use crate::helper::Giver;
use crate::jwt::fetch;
use crate::world::{Client, World, channel, client, entry, ids, next};
use core::num::NonZeroU32;
use signet_agent::{AgentSettings, LimitSettings};
use signet_proto::workload::X509svidRequest;
use signet_workload::{Endpoint, WorkloadClient, WorkloadError};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tonic::Code;
use tonic::transport::Channel;

/// With one identity, and so many calls for a process: the clock of these tests stands still, and no call comes back.
async fn world(calls: u32) -> World {
    let limits = LimitSettings {
        process_calls_per_s_max: NonZeroU32::new(calls).expect("positive"),
        ..LimitSettings::default()
    };
    let mut world = World::with_settings(AgentSettings {
        limits,
        ..AgentSettings::default()
    });
    world.publish(vec![entry(1, "/a")]).await;
    world
}

async fn await_streams(world: &World, open: usize) {
    let line = format!("signet_streams{{kind=\"x509_svid\"}} {open}");
    while !world.metrics.text().lines().any(|l| l == line) {
        tokio::task::yield_now().await;
    }
}

/// Opens streams over one connection and drops each after its first message.
async fn storm(channel: &Channel) {
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let mut client = client(channel.clone());
            tokio::spawn(async move {
                for _ in 0..STREAMS / 16 {
                    let stream = client.fetch_x509svid(X509svidRequest {}).await;
                    next(&mut stream.expect("open").into_inner())
                        .await
                        .expect("first");
                }
            })
        })
        .collect();
    let mut beside = client(channel.clone());
    for task in tasks {
        fetch(&mut beside, &["b"], "")
            .await
            .expect("a call on the same connection");
        task.await.expect("no stream fails");
    }
    fetch(&mut beside, &["b"], "")
        .await
        .expect("a call on the same connection");
}

#[tokio::test]
async fn thousands_of_streams_dropped_after_their_first_message_disturb_no_call_on_any_connection() {
    // As workloads connect, and as the agent itself connects to its server.
    let mut world = world(1_000_000).await;
    for shared in [
        channel(world.socket()).await,
        signet_net::client::channel::unix(world.socket().to_owned()),
    ] {
        let mut open = Vec::new();
        for channel in [shared.clone(), channel(world.socket()).await] {
            let stream = client(channel).fetch_x509svid(X509svidRequest {}).await;
            let mut stream = stream.expect("open").into_inner();
            next(&mut stream).await.expect("first");
            open.push(stream);
        }
        storm(&shared).await;
        await_streams(&world, 2).await;
        world.publish(vec![entry(1, "/a"), entry(2, "/b")]).await;
        for stream in &mut open {
            let message = next(stream).await.expect("the stream was open all the time");
            assert_eq!(ids(&message).len(), 2);
        }
        drop(open);
        world.publish(vec![entry(1, "/a")]).await;
        await_streams(&world, 0).await;
    }
}

#[tokio::test]
async fn a_client_of_the_sdk_that_fetches_again_and_again_keeps_its_connection() {
    let world = world(1_000_000).await;
    let endpoint = Endpoint::Unix(world.socket().to_owned());
    let client = WorkloadClient::connect(&endpoint).await.expect("connect");
    let mut watched = client.watch_x509().await.expect("open");
    watched.next().await.expect("served").expect("first");
    for _ in 0..STREAMS / 2 {
        client.fetch_x509_bundles().await.expect("fetch");
    }
    await_streams(&world, 1).await;
    // One connection, one look at its process.
    assert_eq!(world.attestor.calls.load(Ordering::SeqCst), 1);
}

/// A server that takes one connection and answers calls when they were called off long ago; the last one it refuses in time.
/// `seen` hears of each call.
async fn late_server(listener: UnixListener, seen: mpsc::UnboundedSender<()>) {
    let (mut stream, _) = listener.accept().await.expect("accept");
    drop(listener);
    stream.read_exact(&mut [0; 24]).await.expect("preface");
    stream
        .write_all(&frame(SETTINGS, 0, 0, &[]))
        .await
        .expect("hello");
    let (mut calls, mut called_off, mut known) = (0, VecDeque::new(), HashSet::new());
    while let Some(Frame {
        kind,
        flags,
        stream: id,
        payload,
    }) = read(&mut stream).await
    {
        let answer = match kind {
            SETTINGS if flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => frame(PING, ACK, 0, &payload),
            HEADERS => {
                calls += 1;
                seen.send(()).expect("somebody calls");
                if calls <= CALLED_OFF {
                    continue;
                }
                frame(HEADERS, END_STREAM_AND_HEADERS, id, &refusal())
            }
            RST_STREAM if known.insert(id) => {
                called_off.push_back(id);
                if called_off.len() <= LATE_BY {
                    continue;
                }
                let Some(forgotten) = called_off.pop_front() else {
                    continue;
                };
                frame(HEADERS, END_HEADERS, forgotten, &[0x88])
            }
            // Without a reason it is the end of a client that has no more to say.
            GOAWAY if reason(&payload) != 0 => panic!("the client gives up: {}", reason(&payload)),
            _ => continue,
        };
        stream.write_all(&answer).await.expect("answer");
    }
}

/// Drops `call` when the server has seen it.
async fn call_off<T>(call: impl Future<Output = T>, seen: &mut mpsc::UnboundedReceiver<()>) {
    tokio::select! {
        _ = call => panic!("nobody answers"),
        seen = seen.recv() => seen.expect("the connection lives"),
    }
}

#[tokio::test]
async fn calls_that_are_dropped_before_their_answers_come_never_use_up_a_connection() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("late.sock");
    let (sender, mut seen) = mpsc::unbounded_channel();
    // As the agent connects to its server.
    let server = tokio::spawn(late_server(UnixListener::bind(&path).expect("bind"), sender));
    let mut plain = client(signet_net::client::channel::unix(path.clone()));
    for _ in 0..CALLED_OFF {
        call_off(plain.fetch_x509svid(X509svidRequest {}), &mut seen).await;
    }
    let status = plain
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect_err("refused");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    drop(plain);
    server.await.expect("no complaint");
    // As programs connect to the agent.
    let path = folder.path().join("again.sock");
    let (sender, mut seen) = mpsc::unbounded_channel();
    let server = tokio::spawn(late_server(UnixListener::bind(&path).expect("bind"), sender));
    let sdk = WorkloadClient::connect(&Endpoint::Unix(path))
        .await
        .expect("connect");
    for _ in 0..CALLED_OFF {
        call_off(sdk.fetch_x509(), &mut seen).await;
    }
    let refused = sdk.fetch_x509().await;
    assert!(matches!(refused, Err(WorkloadError::NoIdentity { .. })));
    drop(sdk);
    server.await.expect("no complaint");
}

/// A peer that speaks HTTP/2 by hand.
struct Attacker {
    stream: UnixStream,
    next_id: u32,
}

impl Attacker {
    async fn connect(world: &World) -> Self {
        let mut stream = UnixStream::connect(world.socket()).await.expect("connect");
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &[]));
        stream.write_all(&hello).await.expect("hello");
        Self { stream, next_id: 1 }
    }

    /// So many calls, each called off at once, in one piece.
    fn calls(&mut self, number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..number {
            let id = self.next_id;
            self.next_id += 2;
            bytes.extend(frame(HEADERS, END_STREAM_AND_HEADERS, id, &head()));
            bytes.extend(frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
        }
        bytes
    }

    /// Returns when all that was sent has been read: the answer to a ping says so. Where the connection was ended, the
    /// reason that was given for that, if any.
    async fn sync(&mut self) -> Result<(), Option<u32>> {
        let ping = frame(PING, 0, 0, &[7; 8]);
        if self.stream.write_all(&ping).await.is_err() {
            return Err(goodbye(&mut self.stream).await);
        }
        loop {
            match read(&mut self.stream).await {
                None => return Err(None),
                Some(Frame {
                    kind: PING, payload, ..
                }) if payload == [7; 8] => return Ok(()),
                Some(Frame {
                    kind: GOAWAY,
                    payload,
                    ..
                }) => return Err(Some(reason(&payload))),
                Some(_) => {}
            }
        }
    }
}

/// Reads to the end. The reason that was given for it.
async fn goodbye(stream: &mut (impl AsyncRead + Unpin)) -> Option<u32> {
    let mut said = None;
    while let Some(frame) = read(stream).await {
        if frame.kind == GOAWAY {
            said = Some(reason(&frame.payload));
        }
    }
    said
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The next frame, until there is none.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("24 bits")];
    stream.read_exact(&mut payload).await.ok()?;
    Some(Frame {
        kind,
        flags,
        stream: u32::from_be_bytes(id),
        payload,
    })
}

fn reason(goaway: &[u8]) -> u32 {
    u32::from_be_bytes(goaway[4..8].try_into().expect("a reason"))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).expect("short").to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The header fields of FetchX509SVID, without any compression (RFC 7541 §6.2.2).
fn head() -> Vec<u8> {
    let mut bytes = vec![0x83, 0x86];
    for (name, value) in [
        (":path", "/SpiffeWorkloadAPI/FetchX509SVID"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("workload.spiffe.io", "true"),
    ] {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).expect("short"));
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// The header fields of an answer without a message: PermissionDenied.
fn refusal() -> Vec<u8> {
    let mut bytes = vec![0x88];
    for (name, value) in [("content-type", "application/grpc"), ("grpc-status", "7")] {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).expect("short"));
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// Calls of another process, all of which are answered.
async fn undisturbed(victim: &mut Client) {
    let stream = victim.fetch_x509svid(X509svidRequest {}).await;
    next(&mut stream.expect("open").into_inner())
        .await
        .expect("first");
    fetch(victim, &["b"], "").await.expect("token");
}

#[tokio::test]
async fn a_peer_that_calls_off_what_it_asks_at_once_loses_its_connection_and_no_other_process_notices() {
    let world = world(1_000_000).await;
    let mut giver = Giver::start("end", world.socket());
    let mut victim = client(inherit(&mut giver).await);
    undisturbed(&mut victim).await;
    for _ in 0..10 {
        let mut attacker = Attacker::connect(&world).await;
        // Much more than any buffer between the two holds.
        let calls = attacker.calls(50_000);
        let (mut answers, mut write) = attacker.stream.split();
        let send = async {
            let sent = write.write_all(&calls).await;
            // So that both ends of a connection that was not cut off end here too.
            let _ = write.shutdown().await;
            sent
        };
        let (sent, reason) = tokio::join!(send, goodbye(&mut answers));
        assert!(sent.is_err(), "cut off before all was read");
        assert!(
            reason.is_none_or(|reason| reason == ENHANCE_YOUR_CALM),
            "{reason:?}"
        );
        undisturbed(&mut victim).await;
    }
    await_streams(&world, 0).await;
}

#[tokio::test]
async fn a_peer_that_calls_off_as_much_as_is_let_pass_uses_up_its_own_calls_and_nobody_elses() {
    let world = world(200).await;
    let mut giver = Giver::start("end", world.socket());
    let mut victim = client(inherit(&mut giver).await);
    let mut attacker = Attacker::connect(&world).await;
    for _ in 0..50 {
        // As many as one may have open are let pass: a client whose calls all run out of time does the same.
        let calls = attacker.calls(64);
        attacker.stream.write_all(&calls).await.expect("send");
        attacker.sync().await.expect("the connection goes on");
        undisturbed(&mut victim).await;
    }
    let limited = "signet_agent_limited_total{limit=\"calls\",holder=\"process\"} ";
    let text = world.metrics.text();
    let limited = text.lines().find_map(|line| line.strip_prefix(limited));
    assert_eq!(limited.expect("limited"), (50 * 64 - 200).to_string());
    await_streams(&world, 0).await;
    // Each connection's process is looked at once, however much comes over it.
    assert!(world.attestor.calls.load(Ordering::SeqCst) <= 2);
}

const STREAMS: usize = 2_048;
/// An answer to a call that the client has forgotten counts as a fault, of which h2 by default allows 1,024 in the life of
/// a connection. It remembers 50 that were dropped, for a second.
const CALLED_OFF: usize = 1_400;
const LATE_BY: usize = 60;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const END_STREAM_AND_HEADERS: u8 = 0x5;
const CANCEL: u32 = 0x8;
const ENHANCE_YOUR_CALM: u32 = 0xb;
