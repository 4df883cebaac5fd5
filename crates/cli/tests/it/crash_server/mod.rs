//! The built server, killed again and again while it issues.
//!
//! A real agent stands in front of it, with workloads that ask for new tokens, hold streams and open new ones, while
//! administrators change entries and nodes join, are banned and evicted. The server is killed at a random moment and
//! started again on the same directory, sometimes killed again while it starts. Each time: whatever a workload was given
//! is in the journal; whatever an administrator was told is so; what got no answer was done wholly or not at all; no key
//! has changed; and the agent, which is never started again, goes on by itself as the same node.

mod admin;
mod after;
mod issued;
mod ledger;
mod load;
mod public;

use crate::campaign::{self, pass_a_moment};
use crate::dice::Dice;
use crate::fleet::Fleet;
use crate::program::Running;
use admin::{Admin, KeysSeen};
use core::time::Duration;
use issued::{Issued, Recorded};
use ledger::Place;
use load::{Round, WITHIN, World};
use rustix::process::Signal;
use serde_json::Value;
use signet_api::NodeView;
use signet_id::TrustDomain;
use signet_net::client::Client;
use signet_time::{Clock, UnixTime};
use signet_trust::{Bundle, TrustView};
use signet_workload::Endpoint;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Each of them is a task of its own.
const TOKEN_ASKERS: usize = 3;
const FOLLOWERS: usize = 2;
const ADMINISTRATORS: usize = 2;

/// At most so many answers come between a start and a kill at work.
const ANSWERS_MAX: u64 = 400;

/// At most so long after its start the server is killed where that is to happen before it serves.
const START_MS_MAX: u64 = 250;

#[test]
fn crash_of_the_server_at_work_loses_nothing_that_anybody_was_given_or_told() {
    campaign::run::<Campaign>();
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        #[expect(
            clippy::disallowed_methods,
            reason = "the processes under test go by the wall clock"
        )]
        let now = SystemTime::now();
        UnixTime::EPOCH + now.duration_since(SystemTime::UNIX_EPOCH).unwrap()
    }
}

struct Campaign {
    // Before the directory that it runs in.
    server: Running,
    agent: Running,
    dice: Dice,
    world: World,
    /// The node that the agent is: it and its key must stay.
    node: NodeView,
    keys: KeysSeen,
    public: Client,
    documents: [Value; 2],
    recorded: Recorded,
    /// The serial number of each node's certificate, as the server said it, and the node.
    certified: Vec<(String, String)>,
    workloads: JoinSet<()>,
    seen: Vec<watch::Receiver<BTreeSet<String>>>,
    stop: CancellationToken,
    begun: Instant,
    counts: Counts,
    fleet: Fleet,
}

#[derive(Debug, Default)]
struct Counts {
    kills_at_work: u64,
    kills_at_start: u64,
    /// Changes that a kill left without an answer.
    open: usize,
    checked: usize,
    entries_max: usize,
    nodes: usize,
    ready_max: Duration,
    served_max: Duration,
}

impl campaign::Campaign for Campaign {
    const OF: &'static str = "server";

    async fn start(dice: Dice) -> Self {
        let (fleet, made) = Fleet::init();
        assert_eq!(made.code, Some(0), "{made:?}");
        let (server, agent) = fleet.launch_both(core::convert::identity);

        let admin = Admin::new(fleet.at("api.sock"));
        let keys = admin.keys().await;
        let public = public::client(fleet.https.number(), &keys.bundle.x509_pem);
        let documents = public::documents(&public).await;
        let domain: TrustDomain = "fleet.test".parse().unwrap();
        let bundle = serde_json::to_vec(&keys.bundle.spiffe).unwrap();
        let bundle = Bundle::parse_spiffe(domain.clone(), &bundle).unwrap();
        let view = TrustView::new(domain).with_bundle(bundle);
        let clock = Arc::new(SystemClock);
        let world = World {
            admin,
            workload_api: Endpoint::Unix(fleet.at("agent.sock")),
            issued: Arc::new(Issued::new(view, clock.clone())),
            entries: Arc::default(),
            nodes: Arc::default(),
            clock,
            directory: fleet.dir.path().to_owned(),
            uid: rustix::process::getuid().as_raw(),
        };
        let [node] = world.admin.nodes().await.try_into().unwrap();
        let main = node.id.to_string();
        world.nodes.lock().unwrap().told(
            &main,
            Some(Place {
                banned: false,
                certified: true,
            }),
        );

        let mut campaign = Self {
            server,
            agent,
            dice,
            world,
            node,
            keys,
            public,
            documents,
            recorded: Recorded::default(),
            certified: Vec::new(),
            workloads: JoinSet::new(),
            seen: Vec::new(),
            stop: CancellationToken::new(),
            begun: Instant::now(),
            counts: Counts::default(),
            fleet,
        };
        campaign.hire().await;
        campaign
    }

    async fn round(&mut self, number: u64) {
        self.work_and_kill(number).await;
        self.check_record().await;
        while self.dice.below(4) == 0 {
            self.kill_at_start().await;
            self.check_record().await;
        }
        let started = Instant::now();
        self.server = self.fleet.launch_server(self.fleet.server());
        self.wait_until_ready(started).await;
        self.check_keys().await;
        self.check_state().await;
        let served = self.fetch_token(&format!("{number}")).await;
        self.counts.served_max = self.counts.served_max.max(served);
        self.check_streams(number).await;
        assert!(self.agent.is_alive(), "the agent goes on by itself");
    }

    fn figures(&self) -> String {
        let Counts {
            kills_at_work,
            kills_at_start,
            open,
            checked,
            entries_max,
            nodes,
            ready_max,
            served_max,
        } = &self.counts;
        format!(
            "{kills_at_work} kills at work and {kills_at_start} at the start in {:.0} s; {checked} credentials found in \
             {} records; {} answers to administrators, {open} changes without one, up to {entries_max} entries, {nodes} \
             nodes; healthy within {} ms, issuing within {} ms",
            self.begun.elapsed().as_secs_f32(),
            self.recorded.count(),
            self.answers() - self.world.issued.count() as u64,
            ready_max.as_millis(),
            served_max.as_millis(),
        )
    }

    /// Stops everybody in order, and looks for all that was ever given.
    async fn finish(mut self) {
        self.stop.cancel();
        let workloads = core::mem::take(&mut self.workloads);
        tokio::time::timeout(WITHIN, workloads.join_all())
            .await
            .expect("the workloads stop");
        assert_eq!(self.agent.end(Signal::TERM).code(), Some(0));
        assert_eq!(self.server.end(Signal::TERM).code(), Some(0));
        self.check_record().await;
        let mut all = Recorded::default();
        all.read_on(&self.fleet.at("server/journal")).await.unwrap();
        assert_eq!(all.count(), self.recorded.count());
        let found = self.world.issued.check_all(&all).unwrap();
        assert_eq!(found, self.counts.checked);
        let only = BTreeSet::from([self.node.id.to_string()]);
        assert_eq!(all.askers, only, "one node asked for all of them");
        println!("server: {}", self.figures());
    }
}

impl Campaign {
    /// Starts the workloads, as soon as there is an identity for them.
    async fn hire(&mut self) {
        let first = self.begin_round(0);
        first.create_for("/base", self.world.uid).await.unwrap();
        self.fetch_token("the first").await;
        for name in 0..TOKEN_ASKERS {
            let asking = self.world.clone().ask_for_tokens(name, self.stop.clone());
            self.workloads.spawn(asking);
        }
        for _ in 0..FOLLOWERS {
            let (sender, seen) = watch::channel(BTreeSet::new());
            self.seen.push(seen);
            let following = self.world.clone().follow(sender, self.stop.clone());
            self.workloads.spawn(following);
        }
    }

    fn begin_round(&self, number: u64) -> Round {
        Round {
            world: self.world.clone(),
            number,
            killing: CancellationToken::new(),
        }
    }

    /// Lets everybody work, and kills the server in the midst of it.
    async fn work_and_kill(&mut self, number: u64) {
        let round = self.begin_round(number);
        let mut administrators = JoinSet::new();
        for name in 0..ADMINISTRATORS {
            administrators.spawn(round.clone().churn(name, self.dice.split()));
        }
        administrators.spawn(round.clone().entitle(0));
        administrators.spawn(round.clone().join_nodes(self.dice.split()));
        let wanted = self.answers() + self.dice.below(ANSWERS_MAX);
        let since = Instant::now();
        while self.answers() < wanted {
            assert!(since.elapsed() < WITHIN, "nothing is answered any more");
            self.assert_all_work(&mut administrators).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        pass_a_moment(&mut self.dice);
        round.killing.cancel();
        self.server.kill();
        self.counts.kills_at_work += 1;
        tokio::time::timeout(WITHIN, administrators.join_all())
            .await
            .expect("whoever got no answer stops");
        self.counts.open +=
            self.world.entries.lock().unwrap().open() + self.world.nodes.lock().unwrap().open();
    }

    /// How many answers anybody has got so far.
    fn answers(&self) -> u64 {
        let administrators =
            self.world.entries.lock().unwrap().answered + self.world.nodes.lock().unwrap().answered;
        administrators + self.world.issued.count() as u64
    }

    /// Fails with whatever one of them has found.
    async fn assert_all_work(&mut self, administrators: &mut JoinSet<()>) {
        for tasks in [administrators, &mut self.workloads] {
            if let Some(ended) = tasks.try_join_next() {
                ended.unwrap();
                panic!("somebody stopped working while the server ran");
            }
        }
    }

    async fn kill_at_start(&mut self) {
        let mut server = self.fleet.launch_server(self.fleet.server());
        // Any moment will do: how far it has come by then is what is drawn.
        tokio::time::sleep(Duration::from_millis(self.dice.below(START_MS_MAX))).await;
        server.kill();
        self.counts.kills_at_start += 1;
    }

    /// Whatever workloads and nodes have now was recorded before they got it. The server does not run.
    async fn check_record(&mut self) {
        self.recorded
            .read_on(&self.fleet.at("server/journal"))
            .await
            .unwrap();
        self.counts.checked += self.world.issued.check_new(&self.recorded).unwrap();
        for (serial, node) in &self.certified {
            let recorded = self.recorded.holds_node(serial, node);
            assert!(recorded, "the certificate {serial} of {node} was never recorded");
        }
    }
}
