//! The built agent, killed again and again while workloads lean on it.
//!
//! Workloads hold streams and ask for tokens, an administrator gives and takes identities, and the agent is killed at a
//! random moment and started again on what it kept, sometimes killed again while it starts. Each time: workloads are
//! told that nothing can be had for the moment, and nothing else; what they see next is what the server says now; what
//! the agent kept is whole, so that it is the same node with the same key, without a join string; and no key of a
//! workload ever lies on a disk. Now and then the kept state is taken away, and the agent is killed while it joins: one
//! join string makes one node, however often it is cut off.

mod disk;
mod workloads;

use crate::campaign::{self, pass_a_moment};
use crate::dice::Dice;
use crate::fleet::Fleet;
use crate::program::{Running, run};
use core::time::Duration;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;
use workloads::{Told, Workloads};

/// At most so many answers come between the moment at which all is well and a kill.
const ANSWERS_MAX: u64 = 200;

/// At most so long after its start the agent is killed where that is to happen before it serves.
const START_MS_MAX: u64 = 250;

/// How long anything may take while the agent runs, before something must be wrong.
const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn crash_of_the_agent_at_work_loses_no_node_and_tells_workloads_to_try_again() {
    campaign::run::<Campaign>();
}

struct Campaign {
    // Before the directory that they run in.
    server: Running,
    agent: Running,
    dice: Dice,
    workloads: Workloads,
    /// All nodes that there have been, by identity and key.
    nodes: BTreeSet<(String, String)>,
    kept: disk::Kept,
    begun: Instant,
    kills_at_work: u64,
    kills_at_start: u64,
    back_max: Duration,
    fleet: Fleet,
}

impl campaign::Campaign for Campaign {
    const OF: &'static str = "agent";

    async fn start(mut dice: Dice) -> Self {
        let (fleet, made) = Fleet::init();
        assert_eq!(made.code, Some(0), "{made:?}");
        let server = fleet.launch_server(fleet.server());
        fleet.wait(&fleet.server_metrics);
        fleet.entitle("/base");
        fs::create_dir(fleet.at("tmp")).unwrap();
        let kills_at_start = join(&fleet, &mut dice).await;
        let agent = launch(&fleet);
        fleet.wait(&fleet.agent_metrics);
        let nodes = nodes(&fleet);
        assert_eq!(nodes.len(), 1, "one join string, one node: {nodes:?}");
        fs::remove_file(fleet.at("join")).unwrap();
        Self {
            server,
            agent,
            dice,
            workloads: Workloads::hire(fleet.at("agent.sock")),
            nodes,
            kept: disk::Kept::read(&fleet.at("agent")),
            begun: Instant::now(),
            kills_at_work: 0,
            kills_at_start,
            back_max: Duration::ZERO,
            fleet,
        }
    }

    async fn round(&mut self, number: u64) {
        self.work_and_kill(number).await;
        while self.dice.below(4) == 0 {
            self.kill_at_start().await;
        }
        let is_lost = self.dice.below(8) == 0;
        if is_lost {
            fs::remove_dir_all(self.fleet.at("agent")).unwrap();
            self.kills_at_start += join(&self.fleet, &mut self.dice).await;
        }
        let since = Instant::now();
        self.agent = launch(&self.fleet);
        self.fleet.wait(&self.fleet.agent_metrics);
        let now = nodes(&self.fleet);
        if is_lost {
            fs::remove_file(self.fleet.at("join")).unwrap();
            assert_eq!(
                now.len(),
                self.nodes.len() + 1,
                "one join string, one node: {now:?}"
            );
            assert!(now.is_superset(&self.nodes));
            self.nodes = now;
            self.kept = disk::Kept::read(&self.fleet.at("agent"));
        } else {
            assert_eq!(now, self.nodes, "it is the node that it was");
        }
        self.workloads.show(&BTreeSet::from([id("/base")])).await;
        self.back_max = self.back_max.max(since.elapsed());
    }

    fn figures(&self) -> String {
        format!(
            "{} kills at work and {} at the start in {:.0} s, {} nodes; {} answers, told {:?}; back within {} ms",
            self.kills_at_work,
            self.kills_at_start,
            self.begun.elapsed().as_secs_f32(),
            self.nodes.len(),
            self.workloads.answers(),
            self.workloads.told(),
            self.back_max.as_millis(),
        )
    }

    async fn finish(mut self) {
        self.workloads.assert_all_work();
        let figures = self.figures();
        let (told, keys) = (self.workloads.told(), self.workloads.stop().await);
        let only = BTreeSet::from([Told::Unavailable, Told::Unreachable]);
        assert!(told.keys().all(|told| only.contains(told)), "{told:?}");
        assert!(!told.is_empty(), "nobody noticed that the agent was gone");
        assert!(!keys.is_empty());
        assert_eq!(self.agent.end(Signal::TERM).code(), Some(0));
        assert_eq!(self.server.end(Signal::TERM).code(), Some(0));
        disk::assert_without(self.fleet.dir.path(), &keys);
        println!("agent: {figures}; none of {} keys is on the disk", keys.len());
    }
}

impl Campaign {
    /// Has everybody show a new identity, lets them work on, and kills the agent in the midst of it.
    async fn work_and_kill(&mut self, number: u64) {
        let marker = format!("/round-{number}");
        self.fleet.entitle(&marker);
        self.workloads
            .show(&BTreeSet::from([id("/base"), id(&marker)]))
            .await;
        let wanted = self.workloads.answers() + 1 + self.dice.below(ANSWERS_MAX);
        let since = Instant::now();
        while self.workloads.answers() < wanted {
            assert!(since.elapsed() < WITHIN, "nothing is answered any more");
            assert!(self.agent.is_alive(), "the agent has ended by itself");
            self.workloads.assert_all_work();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.delete(&marker);
        pass_a_moment(&mut self.dice);
        self.agent.kill();
        self.kills_at_work += 1;
        self.kept.assert_whole(&self.fleet.at("agent"));
    }

    fn delete(&self, path: &str) {
        let api = self.fleet.api();
        let listed = run(&[
            "entry",
            "list",
            "--spiffe-id",
            &id(path),
            "--api",
            &api,
            "-o",
            "json",
        ])
        .json();
        let entry = listed[0]["id"].as_str().unwrap();
        assert_eq!(run(&["entry", "delete", entry, "--api", &api]).code, Some(0));
    }

    async fn kill_at_start(&mut self) {
        kill_soon(&self.fleet, &mut self.dice).await;
        self.kills_at_start += 1;
        self.kept.assert_whole(&self.fleet.at("agent"));
    }
}

/// An agent whose temporary files, if it made any, would lie where all is looked through.
fn launch(fleet: &Fleet) -> Running {
    let mut agent = fleet.agent();
    agent.env("TMPDIR", fleet.at("tmp"));
    fleet.launch_agent(agent)
}

/// Starts an agent and kills it a moment later: how far it has come by then is what is drawn.
async fn kill_soon(fleet: &Fleet, dice: &mut Dice) {
    let mut agent = launch(fleet);
    tokio::time::sleep(Duration::from_millis(dice.below(START_MS_MAX))).await;
    agent.kill();
}

/// Puts a new join string where the agent looks for it, and kills agents that join by it. Returns how many.
async fn join(fleet: &Fleet, dice: &mut Dice) -> u64 {
    fleet.make_join_file();
    let kills = 1 + dice.below(3);
    for _ in 0..kills {
        kill_soon(fleet, dice).await;
    }
    kills
}

/// The nodes that the server knows, by identity and key.
fn nodes(fleet: &Fleet) -> BTreeSet<(String, String)> {
    let listed: Value = run(&["node", "list", "--api", &fleet.api(), "-o", "json"]).json();
    let text = |node: &Value, name: &str| node[name].as_str().unwrap().to_owned();
    let all = listed.as_array().unwrap().iter();
    all.map(|node| (text(node, "id"), text(node, "key_sha256")))
        .collect()
}

fn id(path: &str) -> String {
    format!("spiffe://fleet.test{path}")
}
