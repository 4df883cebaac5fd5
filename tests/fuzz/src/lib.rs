//! What must hold of every reader of outside bytes, whatever the bytes.
//!
//! A [`Target`] is one reader with its laws: what is read can be written and read again as the same, what is refused is
//! refused with places that exist, and nothing verifies that was not signed. `cargo xtask fuzz` looks for bytes that
//! break them with libFuzzer; the tests of this crate replay the seeds, every finding among them, and what becomes of
//! them under random changes, so that plain `cargo test` knows all that was ever found.

mod forms;
mod laws;
mod local;
mod secrets;
mod seeds;
mod settings;
mod verify;
mod wire;

pub use seeds::{Failure, Seed};

/// One reader of outside bytes.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of the folder with its seeds.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// Files of the negative corpus that serve as seeds.
    corpus: &'static [Files],
    laws: fn(&[u8]),
}

impl Target {
    /// Reads `bytes`.
    ///
    /// # Panics
    /// If a law does not hold: that is a finding.
    pub fn run(&self, bytes: &[u8]) {
        (self.laws)(bytes);
    }

    /// The target of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

/// Files by their folder, and how their names begin and end.
#[derive(Debug)]
struct Files(&'static str, &'static str, &'static str);

const CHAINS: &[Files] = &[Files("", "", ".der")];
const BUNDLES: &[Files] = &[Files("", "bundle_", ".json"), Files("", "right_", ".json")];

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "ids",
        about: "SPIFFE IDs, trust domains, selectors",
        corpus: &[],
        laws: forms::ids,
    },
    Target {
        name: "id_templates",
        about: "templates of SPIFFE IDs, and values for their facts",
        corpus: &[],
        laws: forms::id_templates,
    },
    Target {
        name: "times",
        about: "durations and times as people write them",
        corpus: &[],
        laws: forms::times,
    },
    Target {
        name: "json",
        about: "JSON as documents from outside are read: no name twice, bounded depth",
        corpus: BUNDLES,
        laws: forms::json,
    },
    Target {
        name: "jwks",
        about: "keys and key sets (JWK)",
        corpus: BUNDLES,
        laws: forms::jwks,
    },
    Target {
        name: "bundles",
        about: "SPIFFE bundles and bundle maps",
        corpus: BUNDLES,
        laws: forms::bundles,
    },
    Target {
        name: "certificates",
        about: "X.509 certificates, in DER and PEM",
        corpus: CHAINS,
        laws: forms::certificates,
    },
    Target {
        name: "keys",
        about: "public keys in SPKI, private keys in PKCS #8 and as JWK",
        corpus: &[Files("keys", "", ".p8")],
        laws: forms::keys,
    },
    Target {
        name: "csrs",
        about: "certificate requests (PKCS #10)",
        corpus: &[Files("", "request_", ".der"), Files("", "right_request", ".der")],
        laws: verify::csrs,
    },
    Target {
        name: "tokens",
        about: "compact JWS as a JWT-SVID",
        corpus: &[Files("", "jwt_", ".txt"), Files("", "right_", ".txt")],
        laws: verify::tokens,
    },
    Target {
        name: "chains",
        about: "certificate chains as an X.509-SVID",
        corpus: CHAINS,
        laws: verify::chains,
    },
    Target {
        name: "machine_chains",
        about: "concatenated DER of machine certificates, and authorities among them",
        corpus: CHAINS,
        laws: verify::machine_chains,
    },
    Target {
        name: "server_settings",
        about: "server.toml",
        corpus: &[],
        laws: settings::server,
    },
    Target {
        name: "agent_settings",
        about: "agent.toml",
        corpus: &[],
        laws: settings::agent,
    },
    Target {
        name: "entries",
        about: "entries from files and requests",
        corpus: &[],
        laws: wire::entries,
    },
    Target {
        name: "join_strings",
        about: "join strings",
        corpus: &[],
        laws: wire::join_strings,
    },
    Target {
        name: "feed",
        about: "what a server sends to an agent",
        corpus: &[],
        laws: wire::feed,
    },
    Target {
        name: "records",
        about: "records of the journal",
        corpus: &[],
        laws: wire::records,
    },
    Target {
        name: "backups",
        about: "backups, and what would be one with the checksum that fits",
        corpus: &[],
        laws: wire::backups,
    },
    Target {
        name: "agent_requests",
        about: "what an agent sends, counted before it is decoded",
        corpus: &[],
        laws: wire::agent_requests,
    },
    Target {
        name: "cgroups",
        about: "the control groups of a process, from which systemd's units are read",
        corpus: &[],
        laws: local::cgroups,
    },
    Target {
        name: "secrets",
        about: "what Envoys ask on a stream of secrets, in both of its forms",
        corpus: &[],
        laws: secrets::secrets,
    },
];
