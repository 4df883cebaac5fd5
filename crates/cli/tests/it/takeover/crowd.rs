//! The upgrade of an agent under a thousand streams, each on a connection of its own.

use super::{LONG, start, successor};
use crate::program::Running;
use signet_check::x509::verify_svid;
use signet_time::UnixTime;
use signet_workload::{Endpoint, WorkloadClient, WorkloadError, X509Context, X509Source};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Streams that show how they end.
const STREAMS: usize = 1_000;
/// The library's own way to hold an identity.
const SOURCES: usize = 50;
/// Newcomers without end.
const NEWCOMERS: usize = 4;

/// What all clients together have seen.
#[derive(Default)]
struct Seen {
    /// How streams and calls ended, by the words of the error.
    ends: Mutex<BTreeMap<String, usize>>,
    /// When the first stream ended, and when the last client was back.
    first_end: Mutex<Option<Instant>>,
    last_back: Mutex<Option<Instant>>,
    /// The longest time that one client was without a stream.
    longest: Mutex<Duration>,
    is_over: AtomicBool,
}

impl Seen {
    /// An end that is allowed; anything else fails the test: no identity and no refusal, and nobody who is not there.
    fn ended(&self, error: Option<&WorkloadError>) {
        let words = match error {
            None => "the end of the stream".to_owned(),
            Some(error @ WorkloadError::Unavailable { .. }) => error.to_string(),
            Some(error) => panic!("not what an upgrade may show: {error:?}"),
        };
        *self.ends.lock().unwrap().entry(words).or_default() += 1;
        self.first_end.lock().unwrap().get_or_insert_with(Instant::now);
    }

    fn back(&self, since: Instant) {
        let mut longest = self.longest.lock().unwrap();
        *longest = longest.max(since.elapsed());
        *self.last_back.lock().unwrap() = Some(Instant::now());
    }
}

fn now() -> UnixTime {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    UnixTime::EPOCH + since
}

/// What this client holds stands now.
fn assert_valid(held: &X509Context) {
    let svid = held.default_svid();
    let verified = verify_svid(&svid.chain, held.view(), now()).unwrap();
    assert_eq!(verified.id.to_string(), "spiffe://fleet.test/a");
}

/// The pause of a client before it connects again, as the library has it: 50 to 100 ms at first, then doubling.
async fn pause(attempt: u32, number: usize) {
    let full = 100 * 2_u64.pow(attempt.min(6));
    let cut = full / 2 * u64::try_from(number % 100).unwrap() / 100;
    tokio::time::sleep(Duration::from_millis(full - cut)).await;
}

/// Follows a stream, and each after it, and counts how often it was given one.
async fn follow(endpoint: Endpoint, number: usize, seen: Arc<Seen>, given: watch::Sender<u32>) {
    let mut held: Option<X509Context> = None;
    let mut lost: Option<Instant> = None;
    let mut attempt = 0;
    loop {
        let opened = match WorkloadClient::connect(&endpoint).await {
            Ok(client) => client.watch_x509().await,
            Err(error) => Err(error),
        };
        let mut ended = opened.as_ref().err().cloned();
        if let Ok(mut stream) = opened {
            ended = loop {
                match stream.next().await {
                    Ok(Some(message)) => {
                        assert_valid(&message);
                        held = Some(message);
                        given.send_modify(|times| *times += 1);
                        if let Some(since) = lost.take() {
                            seen.back(since);
                        }
                        attempt = 0;
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
        }
        if seen.is_over.load(Ordering::Acquire) {
            return;
        }
        seen.ended(ended.as_ref());
        // What it has stands at least until the next is there.
        if let Some(held) = &held {
            assert_valid(held);
        }
        lost.get_or_insert_with(Instant::now);
        pause(attempt, number).await;
        attempt += 1;
    }
}

/// Comes as somebody new, again and again. Nobody is ever turned away at the door.
async fn come(endpoint: Endpoint, seen: Arc<Seen>, came: watch::Sender<u32>) {
    while !seen.is_over.load(Ordering::Acquire) {
        let client = WorkloadClient::connect(&endpoint)
            .await
            .expect("somebody listens");
        match client.fetch_x509().await {
            Ok(context) => {
                assert_valid(&context);
                came.send_modify(|times| *times += 1);
            }
            Err(error) => seen.ended(Some(&error)),
        }
    }
}

/// The whole of it, on the runtime of the clients.
async fn crowd(
    socket: std::path::PathBuf,
    upgrade: impl FnOnce() -> (Running, Duration) + Send + 'static,
) -> Running {
    let endpoint = Endpoint::Unix(socket);
    let seen = Arc::new(Seen::default());
    let (given, came) = (watch::Sender::new(0), watch::Sender::new(0));
    let mut clients = JoinSet::new();
    for number in 0..STREAMS {
        clients.spawn(follow(endpoint.clone(), number, Arc::clone(&seen), given.clone()));
    }
    for _ in 0..NEWCOMERS {
        clients.spawn(come(endpoint.clone(), Arc::clone(&seen), came.clone()));
    }
    let mut sources = Vec::new();
    for _ in 0..SOURCES {
        sources.push(X509Source::start(endpoint.clone()).await.unwrap());
    }
    let all = u32::try_from(STREAMS).unwrap();
    reach(&given, all, &mut clients).await;
    let given_before = *given.borrow();
    assert_eq!(given_before, all, "each has one stream and one message");
    assert!(
        seen.ends.lock().unwrap().is_empty(),
        "{:?}",
        seen.ends.lock().unwrap()
    );

    let (new, took) = tokio::task::spawn_blocking(upgrade).await.unwrap();
    // The old agent has ended: every stream of it has, and every client is given one anew.
    reach(&given, 2 * all, &mut clients).await;
    for source in &sources {
        let mut updates = source.updates();
        tokio::time::timeout(LONG, updates.wait_for(|count| *count >= 2))
            .await
            .unwrap()
            .unwrap();
        assert_valid(&source.current());
    }
    let newcomers = *came.borrow();
    reach(&came, newcomers + 10, &mut clients).await;
    let ends = seen.ends.lock().unwrap().clone();
    let broken: usize = ends.values().sum();
    assert!(broken >= STREAMS, "{ends:?}");
    let (first, last) = (*seen.first_end.lock().unwrap(), *seen.last_back.lock().unwrap());
    println!(
        "{STREAMS} streams on connections of their own, {SOURCES} sources, {newcomers} newcomers: \
         all back {} ms after the first had lost its stream; the longest without one {} ms; \
         {} ms from the start of the new agent to the end of the old one; {} connections had to ask once more; {ends:?}",
        last.unwrap().duration_since(first.unwrap()).as_millis(),
        seen.longest.lock().unwrap().as_millis(),
        took.as_millis(),
        broken - STREAMS,
    );
    seen.is_over.store(true, Ordering::Release);
    clients.shutdown().await;
    new
}

/// Waits until `count` is reached, or a client fails.
async fn reach(count: &watch::Sender<u32>, wanted: u32, clients: &mut JoinSet<()>) {
    let mut count = count.subscribe();
    let reached = tokio::time::timeout(LONG, count.wait_for(|count| *count >= wanted));
    let failed = tokio::select! {
        reached = reached => {
            let reached = reached.map(|count| count.map(|count| *count));
            assert!(matches!(reached, Ok(Ok(_))), "{wanted} wanted: {reached:?}");
            return;
        }
        failed = clients.join_next() => failed,
    };
    failed.expect("clients").expect("a client that goes on");
    panic!("a client has ended");
}

#[test]
fn fm_18_a_thousand_streams_survive_an_upgrade() {
    signet_sys::process::raise_descriptor_limit().unwrap();
    let (fleet, mut server, mut old) = start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let command = successor(&fleet);
    let socket = fleet.at("agent.sock");
    let mut new = runtime.block_on(crowd(socket, move || {
        let since = Instant::now();
        let new = Running::of(command);
        assert_eq!(old.ended().code(), Some(0));
        (new, since.elapsed())
    }));
    runtime.shutdown_background();
    new.stop_within(LONG);
    server.stop_within(LONG);
}
