//! What the two processes hold in memory.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(250);

/// The most that each of them held in some time (`RssAnon`, bytes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peak {
    pub(super) agent: u64,
    pub(super) server: u64,
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "agent {:.1} MiB, server {:.1} MiB",
            mib(self.agent),
            mib(self.server)
        )
    }
}

/// Looks at both all the time.
pub(super) struct Gauge(Arc<Mutex<Watched>>);

struct Watched {
    agent: u32,
    server: u32,
    peak: Peak,
}

impl Watched {
    fn look(&mut self) {
        let agent = signet_sys::usage::anonymous_bytes(self.agent).unwrap_or_default();
        // It is away at times.
        let server = signet_sys::usage::anonymous_bytes(self.server).unwrap_or_default();
        self.peak.agent = self.peak.agent.max(agent);
        self.peak.server = self.peak.server.max(server);
    }
}

impl Gauge {
    pub(super) fn start(agent: u32, server: u32) -> Self {
        let peak = Peak::default();
        let watched = Arc::new(Mutex::new(Watched { agent, server, peak }));
        let looking = Arc::downgrade(&watched);
        tokio::spawn(async move {
            while let Some(watched) = looking.upgrade() {
                watched.lock().unwrap().look();
                drop(watched);
                tokio::time::sleep(EVERY).await;
            }
        });
        Self(watched)
    }

    /// Looks at another server from now on.
    pub(super) fn server(&self, pid: u32) {
        self.0.lock().unwrap().server = pid;
    }

    /// The most since the last call.
    pub(super) fn take(&self) -> Peak {
        let mut watched = self.0.lock().unwrap();
        watched.look();
        core::mem::take(&mut watched.peak)
    }
}

/// What the making of a snapshot of all entries takes for a moment, in a debug build. Each round has a server of its own,
/// and whether two agents come to it at the same time is chance.
const SNAPSHOT: u64 = 8 << 20;

/// Compares the last of `rounds` with that in which a quarter of the run was over: neither process may have held more
/// than a twentieth more. Each round has the same in it: a server's start, agents that come to it, changes.
pub(super) fn judge(rounds: &[Peak]) -> Result<(), String> {
    let quarter = rounds[rounds.len() / 4];
    let end = rounds[rounds.len() - 1];
    for (name, quarter, end, slack) in [
        ("agent", quarter.agent, end.agent, 0),
        ("server", quarter.server, end.server, SNAPSHOT),
    ] {
        if end > quarter + quarter / 20 + slack {
            return Err(format!(
                "the {name} has grown from {quarter} bytes after a quarter of the run to {end}"
            ));
        }
    }
    Ok(())
}

#[test]
fn a_process_that_grows_by_more_than_a_twentieth_is_found() {
    let peak = |agent, server| Peak { agent, server };
    let flat = [
        peak(900, 500),
        peak(1_000, 500),
        peak(2_000, 900 + SNAPSHOT),
        peak(1_050, 525 + SNAPSHOT),
    ];
    assert_eq!(judge(&flat), Ok(()));
    let grown = |agent, server| judge(&[flat[1], flat[1], peak(agent, server)]).unwrap_err();
    assert!(grown(1_051, 500).contains("the agent"));
    assert!(grown(1_000, 526 + SNAPSHOT).contains("the server"));
}
