use crate::seal::SealFileFault;
use crate::{KeyState, Purpose};
use signet_crypto::CryptoError;
use signet_fault::{Coded, Entry, remedy_of};
use signet_record::RecordError;
use signet_store::{CommitError, follow::FollowError};
use signet_time::UnixTime;
use signet_x509::X509Error;
use std::borrow::Cow;
use std::path::PathBuf;

/// Why a key could not be had, made or changed.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A kind of seal that is planned and does not exist yet.
    #[error("the seal `{name}` does not exist yet")]
    SealAbsent {
        /// Its name.
        name: &'static str,
    },
    /// Not a seal.
    #[error("`{text}` is not a seal")]
    SealName {
        /// What was written.
        text: String,
    },
    /// The seal's key file cannot be used.
    #[error("seal key file `{}`: {what}", path.display())]
    SealFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: SealFileFault,
    },
    /// The keys in the log are sealed with another key.
    #[error("the keys in the log are sealed by another key than this seal `{name}` has")]
    WrongSeal {
        /// The seal's name.
        name: &'static str,
    },
    /// A setting that cannot be.
    #[error("{setting} {why}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No key of that purpose signs.
    #[error("no active key for {purpose}")]
    NoActive {
        /// The purpose.
        purpose: Purpose,
    },
    /// No such key.
    #[error("no key `{kid}`")]
    KeyUnknown {
        /// Its name.
        kid: String,
    },
    /// The key's state does not allow it.
    #[error("key `{kid}` is {state}")]
    State {
        /// Its name.
        kid: String,
        /// Its state.
        state: KeyState,
    },
    /// The next key has not been published long enough for everybody to know it.
    #[error("the next key for {purpose} may be used from {from} on: not everybody knows it before")]
    TooEarly {
        /// The purpose.
        purpose: Purpose,
        /// From when on.
        from: UnixTime,
    },
    /// A key could not be made, sealed or used.
    #[error("key")]
    Crypto(#[source] CryptoError),
    /// A CA certificate could not be built.
    #[error("ca certificate")]
    X509(#[source] X509Error),
    /// A CA certificate could not be recorded, so it was thrown away.
    #[error("record ca certificate")]
    Record(#[source] RecordError),
    /// A public key has no form in a key set.
    #[error("publish key `{kid}`: {why}")]
    Publish {
        /// The key.
        kid: String,
        /// What is wrong.
        why: String,
    },
    /// The change log did not take the commit.
    #[error("commit")]
    Commit(#[source] CommitError),
    /// The commit was not answered, and the log does not show it: it may still land.
    #[error("whether it was done is not known")]
    Unknown(#[source] CommitError),
    /// The log could not be read.
    #[error("read the keys")]
    Follow(#[source] FollowError),
    /// Others kept changing the keys.
    #[error("gave up after {attempts} attempts: the keys kept changing")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
}

macro_rules! register {
    ($($code:literal $meaning:literal $remedy:literal)*) => {
        /// The codes of this crate.
        pub const REGISTER: &[Entry] = &[$(Entry { code: $code, meaning: $meaning, remedy: $remedy }),*];
    };
}

register! {
    "SGKY001" "seal: does not exist yet" "use --seal file=PATH"
    "SGKY002" "seal: unknown" "write file=PATH"
    "SGKY003" "seal: key file" "give the server a plain file of 32 bytes, owned by its user, mode 0600; `signet server init` makes one"
    "SGKY004" "seal: wrong key" "start with the key file that the domain was made with; without it the keys cannot be opened"
    "SGKY005" "keys: setting" "mend the setting named"
    "SGKY006" "keys: no active key" "see the server's health and log: keys could not be made or renewed"
    "SGKY007" "key: unknown" "list the keys with `signet ca show`"
    "SGKY008" "key: state" "list the keys and their states with `signet ca show`"
    "SGKY009" "key: published too short" "wait until the time named, or rotate with --now if it is an emergency"
    "SGKY010" "key: cryptography" "see the server's log"
    "SGKY011" "key: ca certificate" "see the server's log"
    "SGKY012" "key: not recorded" "see to the record's journal: nothing is issued until it can be written"
    "SGKY013" "key: not publishable" "this is a defect in the server: report it"
    "SGKY014" "keys: commit not taken" "nothing was changed; see the server's health and repeat the call"
    "SGKY015" "keys: outcome unknown" "look at `signet ca show` before repeating it"
    "SGKY016" "keys: log not readable" "see the server's health"
    "SGKY017" "keys: contended" "repeat the call"
}

impl Coded for KeysError {
    fn code(&self) -> &'static str {
        match self {
            Self::SealAbsent { .. } => "SGKY001",
            Self::SealName { .. } => "SGKY002",
            Self::SealFile { .. } => "SGKY003",
            Self::WrongSeal { .. } => "SGKY004",
            Self::Setting { .. } => "SGKY005",
            Self::NoActive { .. } => "SGKY006",
            Self::KeyUnknown { .. } => "SGKY007",
            Self::State { .. } => "SGKY008",
            Self::TooEarly { .. } => "SGKY009",
            Self::Crypto(_) => "SGKY010",
            Self::X509(_) => "SGKY011",
            Self::Record(_) => "SGKY012",
            Self::Publish { .. } => "SGKY013",
            Self::Commit(_) => "SGKY014",
            Self::Unknown(_) => "SGKY015",
            Self::Follow(_) => "SGKY016",
            Self::Contended { .. } => "SGKY017",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}
