use crate::Outcome;
use crate::args::Global;
use crate::failure::Failure;
use crate::output;
use clap::Subcommand;
use serde::Serialize;
use signet_settings::SettingsError;
use std::path::{Path, PathBuf};

/// `signet config ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Read a settings file and report every mistake in it.
    Check(Check),
}

/// `signet config check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The file. One with `agent` in its name is an agent's, one with `server` a server's; of any other, the reading
    /// with fewer mistakes counts.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose settings it holds.
    #[arg(long, value_enum, value_name = "KIND")]
    kind: Option<Kind>,
}

/// Who reads a settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// `signet server run`.
    Server,
    /// `signet agent run`.
    Agent,
}

/// What `check` writes.
#[derive(Serialize)]
struct Checked<'p> {
    file: &'p Path,
    kind: Kind,
    ok: bool,
}

impl Config {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let Self::Check(check) = self;
        let named = check.kind.or_else(|| kind_of(&check.file));
        let (kind, outcome) = match named {
            Some(kind) => (kind, read(kind, &check.file)),
            None => best(&check.file),
        };
        outcome.map_err(failure)?;
        let checked = Checked {
            file: &check.file,
            kind,
            ok: true,
        };
        output::result(global.output, &checked, |checked| {
            let word = match checked.kind {
                Kind::Server => "a server",
                Kind::Agent => "an agent",
            };
            format!("{}: good settings for {word}", checked.file.display())
        })
    }
}

/// What the file's name says.
fn kind_of(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_string_lossy();
    match (name.contains("server"), name.contains("agent")) {
        (true, false) => Some(Kind::Server),
        (false, true) => Some(Kind::Agent),
        _ => None,
    }
}

fn read(kind: Kind, path: &Path) -> Result<(), SettingsError> {
    match kind {
        Kind::Server => signet_server::Config::load(path).map(drop),
        Kind::Agent => signet_settings::load::<signet_agent::AgentSettings>(path).map(drop),
    }
}

/// The reading that fits the file better.
fn best(path: &Path) -> (Kind, Result<(), SettingsError>) {
    let (server, agent) = (read(Kind::Server, path), read(Kind::Agent, path));
    let mistakes =
        |outcome: &Result<(), SettingsError>| outcome.as_ref().err().map_or(0, |e| e.mistakes().len());
    if mistakes(&agent) < mistakes(&server) {
        (Kind::Agent, agent)
    } else {
        (Kind::Server, server)
    }
}

/// A settings error with its mistakes one by one.
pub(crate) fn failure(error: SettingsError) -> Failure {
    let items: Vec<String> = error.mistakes().iter().map(ToString::to_string).collect();
    let what = match &error {
        SettingsError::Mistakes { path, mistakes } if mistakes.len() == 1 => {
            Some(format!("`{}` has a mistake", path.display()))
        }
        SettingsError::Mistakes { path, mistakes } => {
            Some(format!("`{}` has {} mistakes", path.display(), mistakes.len()))
        }
        _ => None,
    };
    let mut failure = Failure::from(error);
    if let Some(what) = what {
        failure.what = what;
        failure.items = items;
    }
    failure
}
