//! Named places where a test may make the process fail.
//!
//! A failpoint costs one relaxed load while none is armed. They exist only in builds with debug assertions; in a
//! release build [`hit`] is an empty function and `SIGNET_FAILPOINTS` is not read.
//!
//! `SIGNET_FAILPOINTS="store.commit.before_sync=abort;journal.append.synced=error"` arms two of them from the
//! environment, once [`arm_from_env`] was called. `name=abort@3` lets the first two hits pass.

use core::fmt;

/// What an armed failpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ends the process at once, as a crash would: nothing is flushed or dropped.
    Abort,
    /// Makes [`hit`] return [`Injected`].
    Error,
}

/// The error that an armed failpoint made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// The failpoint's name.
    pub name: &'static str,
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failpoint `{}`", self.name)
    }
}

impl std::error::Error for Injected {}

impl From<Injected> for std::io::Error {
    fn from(injected: Injected) -> Self {
        Self::other(injected)
    }
}

/// Why a list of failpoints was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSpec(String);

impl fmt::Display for BadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not NAME=abort or NAME=error, with @N for the Nth hit",
            self.0
        )
    }
}

impl std::error::Error for BadSpec {}

/// Passes, aborts or returns an error, as the failpoint `name` is armed.
///
/// # Errors
/// [`Injected`] where the failpoint is armed with [`Action::Error`].
#[inline]
pub fn hit(name: &'static str) -> Result<(), Injected> {
    #[cfg(debug_assertions)]
    return armed::hit(name);
    #[cfg(not(debug_assertions))]
    {
        let _ = name;
        Ok(())
    }
}

/// Arms `name` for its `nth` hit from now (1 = the next) and every one after that.
#[cfg(debug_assertions)]
pub fn arm(name: &str, action: Action, nth: u32) {
    armed::arm(name, action, nth);
}

/// Disarms `name`.
#[cfg(debug_assertions)]
pub fn disarm(name: &str) {
    armed::disarm(name);
}

/// Arms what `SIGNET_FAILPOINTS` lists.
///
/// # Errors
/// [`BadSpec`] names the first part that is not `NAME=ACTION[@N]`; nothing is armed then.
pub fn arm_from_env() -> Result<(), BadSpec> {
    #[cfg(debug_assertions)]
    if let Ok(list) = std::env::var("SIGNET_FAILPOINTS") {
        for (name, action, nth) in parse(&list)? {
            arm(&name, action, nth);
        }
    }
    Ok(())
}

#[cfg(debug_assertions)]
fn parse(list: &str) -> Result<Vec<(String, Action, u32)>, BadSpec> {
    let one = |part: &str| {
        let (name, rest) = part.split_once('=')?;
        let (action, nth) = rest.split_once('@').unwrap_or((rest, "1"));
        let action = match action {
            "abort" => Action::Abort,
            "error" => Action::Error,
            _ => return None,
        };
        let nth = nth.parse().ok().filter(|n| *n > 0)?;
        (!name.is_empty()).then(|| (name.to_owned(), action, nth))
    };
    list.split(';')
        .filter(|part| !part.is_empty())
        .map(|part| one(part).ok_or_else(|| BadSpec(part.to_owned())))
        .collect()
}

#[cfg(debug_assertions)]
mod armed {
    use super::{Action, Injected};
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};

    static ANY: AtomicBool = AtomicBool::new(false);
    static ARMED: Mutex<BTreeMap<String, (Action, u32)>> = Mutex::new(BTreeMap::new());

    pub(super) fn hit(name: &'static str) -> Result<(), Injected> {
        if !ANY.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((action, left)) = armed.get_mut(name) else {
            return Ok(());
        };
        if *left > 1 {
            *left -= 1;
            return Ok(());
        }
        match action {
            Action::Abort => std::process::abort(),
            Action::Error => Err(Injected { name }),
        }
    }

    pub(super) fn arm(name: &str, action: Action, nth: u32) {
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        armed.insert(name.to_owned(), (action, nth));
        ANY.store(true, Ordering::Relaxed);
    }

    pub(super) fn disarm(name: &str) {
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        armed.remove(name);
        ANY.store(!armed.is_empty(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armed_point_fails_from_its_nth_hit_until_disarmed() {
        arm("test.nth", Action::Error, 2);
        assert_eq!(hit("test.nth"), Ok(()));
        assert_eq!(hit("test.nth"), Err(Injected { name: "test.nth" }));
        assert_eq!(hit("test.nth"), Err(Injected { name: "test.nth" }));
        assert_eq!(hit("test.other"), Ok(()));
        disarm("test.nth");
        assert_eq!(hit("test.nth"), Ok(()));
    }

    #[test]
    fn lists_are_read_whole_or_refused() {
        assert_eq!(
            parse("a.b=abort;c=error@3;"),
            Ok(vec![
                ("a.b".into(), Action::Abort, 1),
                ("c".into(), Action::Error, 3)
            ])
        );
        for bad in ["a", "a=", "=abort", "a=panic", "a=error@0", "a=error@x"] {
            assert_eq!(parse(bad), Err(BadSpec(bad.into())), "{bad}");
        }
    }
}
