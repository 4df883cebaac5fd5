//! Typed TOML settings with spans and helpful errors.
//!
//! A settings file is read into a plain `serde` struct, and whoever wrote it learns about *all* mistakes at once:
//! each unknown key with its line and the nearest known name, each value of a wrong type, each rule that the values
//! break. The known keys are the fields of the struct, asked from `serde` while it reads, so they stand in one place.
//! A key that is refused is refused: nothing is ignored silently. `#[serde(flatten)]` hides a struct's fields from
//! this crate and is not supported.
//!
//! Reads text and files; knows no particular program's settings and merges no environment.
//!
//! ```
//! #[derive(serde::Deserialize)]
//! struct Settings {
//!     address: signet_settings::ListenAddress,
//!     #[serde(default)]
//!     pause: Option<signet_settings::Period>,
//! }
//! let good: Settings = signet_settings::parse("address = \"127.0.0.1:8445\"", "a.toml")?;
//! assert_eq!(good.address.0.port(), 8445);
//! let bad = signet_settings::parse::<Settings>("adress = \"127.0.0.1:8445\"\npause = \"5 min\"", "a.toml");
//! let text = bad.err().map(|e| e.to_string()).unwrap_or_default();
//! assert!(text.contains("line 1: unknown key `adress`, did you mean `address`?"));
//! assert!(text.contains("line 2: `pause`"));
//! # Ok::<(), signet_settings::SettingsError>(())
//! ```

mod changes;
mod de;
mod error;
mod nearest;
mod report;
mod values;

pub use changes::{Changes, Taken, shown_list};
pub use error::{Mistake, Problem, REGISTER, SettingsError};
pub use nearest::nearest;
pub use report::Report;
pub use values::{ByteSize, HostPort, ListenAddress, Period};

use serde::de::DeserializeOwned;
use std::path::Path;

/// The longest settings file that is read: far above any real one, far below what would hurt.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The most mistakes that are collected from one file.
pub const MISTAKES_MAX: usize = 64;

/// Reads `text`, which came from `path`.
///
/// # Errors
/// [`SettingsError::Mistakes`] with everything wrong in it.
pub fn parse<T: DeserializeOwned>(text: &str, path: impl AsRef<Path>) -> Result<T, SettingsError> {
    parse_checked(text, path, |_, _| ())
}

/// As [`parse`]; then `check` adds what is wrong between or beyond single values to the same report.
///
/// # Errors
/// [`SettingsError::Mistakes`] with everything wrong in it.
pub fn parse_checked<T: DeserializeOwned>(
    text: &str,
    path: impl AsRef<Path>,
    check: impl FnOnce(&T, &mut Report<'_>),
) -> Result<T, SettingsError> {
    let path = path.as_ref();
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(SettingsError::TooLarge { path: path.into() });
    }
    let (tree, faults) = toml::de::DeTable::parse_recoverable(text);
    let mut report = Report::new(text, &tree);
    if !faults.is_empty() {
        for fault in faults {
            report.syntax(&fault);
        }
        return Err(report.into_error(path));
    }
    let value = de::read::<T>(&tree, &mut report);
    if let Some(value) = &value {
        check(value, &mut report);
    }
    match value {
        Some(value) if report.is_clean() => Ok(value),
        _ => Err(report.into_error(path)),
    }
}

/// Reads the file at `path`.
///
/// # Errors
/// [`SettingsError::Read`] where the file cannot be read, [`SettingsError::TooLarge`] beyond [`FILE_BYTES_MAX`],
/// and what [`parse`] finds.
pub fn load<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<T, SettingsError> {
    load_checked(path, |_, _| ())
}

/// As [`load`], with the further checks of [`parse_checked`].
///
/// # Errors
/// As [`load`].
pub fn load_checked<T: DeserializeOwned>(
    path: impl AsRef<Path>,
    check: impl FnOnce(&T, &mut Report<'_>),
) -> Result<T, SettingsError> {
    use std::io::Read as _;
    let path = path.as_ref();
    let read = |source| SettingsError::Read {
        path: path.into(),
        source,
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(read)?;
    parse_checked(&text, path, check)
}
