use signet_time::{Clock, SharedClock, UnixTime};
use std::sync::Arc;
use std::time::SystemTime;

/// The clock on the wall. Made here and handed to everything that needs the time.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where the program reads the wall clock"
        )]
        let now = SystemTime::now();
        // A clock before 1970 is wrong anyway; everything is "not valid yet" then.
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UnixTime::EPOCH + since
    }
}

/// The clock that the whole process goes by.
pub(crate) fn system() -> SharedClock {
    Arc::new(SystemClock)
}
