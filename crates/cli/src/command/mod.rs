//! One module per command: its arguments, and what it does.

pub(crate) mod agent;
pub(crate) mod apply;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dev;
pub(crate) mod entry;
pub(crate) mod health;
pub(crate) mod man;
pub(crate) mod mint;
pub(crate) mod node;
pub(crate) mod orphans;
pub(crate) mod server;
pub(crate) mod svid;
pub(crate) mod why;

use crate::Outcome;
use crate::args::{Cli, Command};
use std::time::Instant;

/// Runs what was asked for. `started` is when the process began.
pub(crate) fn run(cli: Cli, started: Instant) -> Outcome {
    let Cli { global, command } = cli;
    match command {
        Command::Dev(dev) => dev.run(&global, started),
        Command::Server(server) => server.run(&global),
        Command::Agent(agent) => agent.run(),
        Command::Entry(entry) => entry.run(&global),
        Command::Node(node) => node.run(&global),
        Command::Mint(mint) => mint.run(&global),
        Command::Svid(svid) => svid.run(&global),
        Command::Why(why) => why.run(&global),
        Command::Bench(bench) => bench.run(&global),
        Command::Health(health) => health.run(&global),
        Command::Config(config) => config.run(&global),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(&global),
    }
}
