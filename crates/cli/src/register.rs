//! The error codes of the command line. A file of its own, so that the test of all registers can read it.

use signet_fault::Entry;

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

/// The codes of the command line.
pub(crate) const REGISTER: &[Entry] = &[
    entry(
        "SGCL001",
        "command: file not readable",
        "check that the path is right and that this user may read it",
    ),
    entry(
        "SGCL002",
        "command: file not writable",
        "check that the directory exists, has room and may be written by this user",
    ),
    entry(
        "SGCL003",
        "command: answer not understood",
        "check that the address is a signet server's and that both have the same version",
    ),
    entry(
        "SGCL004",
        "command: part does not exist",
        "leave it out, or use what the message names",
    ),
    entry(
        "SGCL005",
        "health: not ready",
        "wait with --wait 30s, or look at the process's log",
    ),
    entry(
        "SGCL006",
        "health: nothing answers",
        "start `signet dev`, `signet server run` or `signet agent run`, or name the address with --url",
    ),
    entry(
        "SGCL007",
        "command: runtime",
        "check the limits on processes, threads and open files",
    ),
    entry(
        "SGCL008",
        "dev: directory",
        "name a directory of this user with --dir, or leave --dir out",
    ),
    entry(
        "SGCL009",
        "dev: path too long",
        "choose a shorter directory with --dir",
    ),
    entry(
        "SGCL010",
        "dev: a part ended",
        "set SIGNET_LOG=debug and look at the log",
    ),
    entry(
        "SGCL011",
        "command: too slow",
        "try again; set SIGNET_LOG=debug and look at the log if it stays so",
    ),
    entry(
        "SGCL012",
        "entries: mistakes in the file",
        "correct these lines and run the command again; nothing was created",
    ),
    entry(
        "SGCL020",
        "why: no agent",
        "start `signet dev` or `signet agent run`, and name its local.sock with --socket, or its agent.sock with SPIFFE_ENDPOINT_SOCKET",
    ),
    entry(
        "SGCL021",
        "why: not a UNIX socket",
        "only a UNIX socket says who asks: name the agent's with --socket unix:///run/signet/local.sock",
    ),
    entry(
        "SGCL022",
        "why: answer not understood",
        "check that agent and command have the same version",
    ),
    entry(
        "SGCL060",
        "bench: too few open files",
        "raise the limit with `ulimit -n` as root, or ask for less",
    ),
    entry(
        "SGCL061",
        "bench: nothing succeeded",
        "look at the statuses: ResourceExhausted means a limit per caller, Unavailable an agent without its server",
    ),
    entry(
        "SGCL062",
        "bench: not a server to try things on",
        "add --yes if that server is there to be measured",
    ),
    entry(
        "SGCL063",
        "bench: entries or nodes left behind",
        "find them with `signet entry list` and `signet node list`, and remove them with `signet entry delete` and `signet node evict`",
    ),
    entry(
        "SGCL064",
        "bench: another identity",
        "run it as a user to whom no other entry gives an identity, or without --alone",
    ),
];
