//! SIGTERM: whoever hangs is not waited for, what was begun is finished, what never ends is cut, and the next start
//! works at once.

mod agent;
mod dev;
mod peers;
mod server;

use std::path::Path;
use std::time::{Duration, Instant};

/// For an end that waits for nobody. Work in flight would be waited for longer: eight seconds.
const AT_ONCE: Duration = Duration::from_secs(6);

/// From the signal to the end, whatever callers do: ten seconds, and time for a machine that is busy.
const AT_LAST: Duration = Duration::from_secs(14);

/// Waits until a socket that is being given up is gone: from then on nobody new is let in.
fn wait_until_gone(socket: &Path) {
    let since = Instant::now();
    while socket.exists() {
        assert!(since.elapsed() < AT_LAST, "{} stays", socket.display());
        std::thread::yield_now();
    }
}
