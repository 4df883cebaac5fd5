use crate::api::Api;
use crate::args::Global;
use crate::{Outcome, clock, output, runtime, style};
use clap::Subcommand;
use core::net::IpAddr;
use core::time::Duration;
use serde::Serialize;
use signet_api::{BanRequest, JoinString, JoinTokenReply, JoinTokenRequest, NodeView};
use signet_id::SpiffeId;
use signet_time::{UnixTime, parse_duration};

/// `signet node ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Join strings, each for one new node.
    #[command(subcommand)]
    JoinToken(JoinToken),
    /// All nodes.
    List,
    /// One node.
    Show {
        /// The node's SPIFFE ID.
        #[arg(value_name = "ID")]
        id: SpiffeId,
    },
    /// Bar a node from everything, for good.
    Ban {
        /// The node's SPIFFE ID.
        #[arg(value_name = "ID")]
        id: SpiffeId,
        /// Why. It stands beside the node from then on.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Forget a node; it must join again.
    Evict {
        /// The node's SPIFFE ID.
        #[arg(value_name = "ID")]
        id: SpiffeId,
    },
}

/// `signet node join-token ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum JoinToken {
    /// Make a join string. It is a secret until it is used, and shown this once.
    Create {
        /// How long it works, such as 10m.
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Option<Duration>,
        /// The ID that the node gets.
        #[arg(long, value_name = "ID")]
        spiffe_id: Option<SpiffeId>,
    },
}

impl Node {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let api = Api::new(global)?;
        let now = clock::system().now();
        match self {
            Self::JoinToken(JoinToken::Create { ttl, spiffe_id }) => {
                let wish = JoinTokenRequest { ttl, spiffe_id };
                let made = runtime::client(api.create_join_token(&wish))?;
                output::note(&format!(
                    "For one node, {}; works until {}. On that node: signet agent run --join-file FILE",
                    made.spiffe_id,
                    style::time(made.expires_at, now)
                ));
                if let Some(servers) = loopback_alone(&made.join) {
                    output::note(&format!(
                        "It names {servers}, so it works on the server's own machine alone. For other machines set \
                         `advertise` in the server's settings, and then make another one."
                    ));
                }
                output::result(global.output, &Made::from(made), |made| made.join_string.clone())
            }
            Self::List => {
                let nodes = runtime::client(api.nodes())?;
                output::result(global.output, &nodes, |nodes| overview(nodes, now))
            }
            Self::Show { id } => {
                let node = runtime::client(api.node(id.as_str()))?;
                output::result(global.output, &node, |node| shown(node, now))
            }
            Self::Ban { id, reason } => {
                let wish = reason.map(|reason| BanRequest { reason });
                runtime::client(api.ban_node(id.as_str(), wish.as_ref()))?;
                done(global, "banned", &id)
            }
            Self::Evict { id } => {
                runtime::client(api.evict_node(id.as_str()))?;
                done(global, "evicted", &id)
            }
        }
    }
}

/// The servers that a join string names, where none of them can be reached from another machine.
fn loopback_alone(join: &str) -> Option<String> {
    let servers = JoinString::parse(join).ok()?.servers;
    let is_loopback = |server: &String| {
        let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    (!servers.is_empty() && servers.iter().all(is_loopback)).then(|| servers.join(", "))
}

/// What `join-token create` writes.
#[derive(Serialize)]
struct Made {
    join_string: String,
    spiffe_id: SpiffeId,
    expires_at: UnixTime,
}

impl From<JoinTokenReply> for Made {
    fn from(reply: JoinTokenReply) -> Self {
        Self {
            join_string: reply.join,
            spiffe_id: reply.spiffe_id,
            expires_at: reply.expires_at,
        }
    }
}

/// What `ban` and `evict` write.
#[derive(Serialize)]
struct Done<'n> {
    id: &'n SpiffeId,
    outcome: &'n str,
}

fn done(global: &Global, outcome: &str, id: &SpiffeId) -> Outcome {
    output::result(global.output, &Done { id, outcome }, |done| {
        format!("{} {}", done.outcome, done.id)
    })
}

fn overview(nodes: &[NodeView], now: UnixTime) -> String {
    if nodes.is_empty() {
        return "no nodes; let one in with `signet node join-token create`".to_owned();
    }
    let rows: Vec<Vec<String>> = nodes
        .iter()
        .map(|node| {
            vec![
                node.id.to_string(),
                node.attestor.clone(),
                state(node).to_owned(),
                until(node, now),
            ]
        })
        .collect();
    style::table(&["ID", "PROVED BY", "STATE", "CERTIFICATE UNTIL"], &rows)
}

fn shown(node: &NodeView, now: UnixTime) -> String {
    let mut facts = vec![
        ("id", node.id.to_string()),
        ("proved by", node.attestor.clone()),
        ("state", state(node).to_owned()),
        ("key sha256", node.key_sha256.clone()),
        ("joined", style::time(node.attested_at, now)),
        ("certificate until", until(node, now)),
        ("certificates", node.renewals.to_string()),
    ];
    if let Some(at) = node.banned_at {
        let why = node.ban_reason.as_deref().unwrap_or_default();
        facts.push(("banned", style::time(at, now)));
        facts.push(("because", signet_fault::shown(why, REASON_CHARS_MAX)));
    }
    if let Some(at) = node.copied_at {
        let times = match node.copies {
            1 => "once".to_owned(),
            more => format!("{more} times"),
        };
        let last = style::time(at, now);
        facts.push((
            "key copied",
            format!("two agents renewed it, seen {times}, last {last}"),
        ));
    }
    style::facts(&facts)
}

/// When its newest certificate ends; a node that has none yet has joined and not come back.
fn until(node: &NodeView, now: UnixTime) -> String {
    node.expires_at
        .map_or_else(|| "none yet".to_owned(), |at| style::time(at, now))
}

fn state(node: &NodeView) -> &'static str {
    match (node.banned, node.copies) {
        (true, _) => "banned",
        (false, 0) => "member",
        (false, _) => "copied",
    }
}

/// As long as a server takes one.
const REASON_CHARS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use signet_crypto::Secret;
    use signet_id::TrustDomain;

    #[test]
    fn a_join_string_that_works_on_one_machine_alone_is_seen() {
        let told = |servers: &[&str]| {
            let join = JoinString {
                trust_domain: TrustDomain::parse("example.org").unwrap(),
                servers: servers.iter().map(|server| (*server).to_owned()).collect(),
                root_hashes: vec![[1; 32]],
                token: Secret::new(b"0123456789abcdef".to_vec()),
            };
            loopback_alone(&join.encode().unwrap())
        };
        assert_eq!(told(&["127.0.0.1:8445"]).as_deref(), Some("127.0.0.1:8445"));
        assert_eq!(
            told(&["[::1]:8445", "localhost:8445"]).as_deref(),
            Some("[::1]:8445, localhost:8445")
        );
        for servers in [
            &["id.example.org:8445"][..],
            &["127.0.0.1:8445", "10.0.0.1:8445"],
            &["localhost.example.org:8445"],
        ] {
            assert_eq!(told(servers), None, "{servers:?}");
        }
        assert_eq!(loopback_alone("sgjoin1.e30"), None);
    }
}
