use crate::api::{Api, BACKUP_BYTES_MAX};
use crate::args::Global;
use crate::error::CliError;
use crate::failure::Failure;
use crate::file::{self, Readers};
use crate::{Outcome, clock, output, runtime, style};
use serde::Serialize;
use signet_crypto::digest;
use signet_server::backup::Backup as Contents;
use signet_server::{RestoreOptions, RestoreSummary};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// `signet server backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    /// Where the backup goes: a file, which is replaced if it is a backup, or - for standard output.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What `backup` wrote.
#[derive(Serialize)]
struct Taken {
    file: PathBuf,
    bytes: usize,
    trust_domain: String,
    version: String,
    taken: String,
    epoch: String,
    seq: u64,
    chain: String,
    record_next: u64,
    seal: String,
}

/// How a backup begins, whatever its format.
const BEGIN: &[u8] = b"signet backup ";

impl Backup {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let is_printed = self.file == Path::new("-");
        if !is_printed {
            check_target(&self.file)?;
        }
        let api = Api::new(global)?;
        output::note("asking the server for its state ...");
        let bytes = runtime::client(async { api.backup().await })?;
        // What cannot be restored is no backup.
        let contents = signet_server::backup::Backup::decode(&bytes)?;
        let outside = format!(
            "the key of the seal ({}) is not in the backup: keep a copy of it, in another place",
            contents.seal
        );
        if is_printed {
            let mut out = io::stdout().lock();
            let written = out.write_all(&bytes).and_then(|()| out.flush());
            written.map_err(|source| CliError::Write {
                path: "standard output".into(),
                source,
            })?;
            output::warning(&outside);
            return Ok(());
        }
        file::write(&self.file, &bytes, Readers::Owner)?;
        let taken = Taken::of(self.file, bytes.len(), contents);
        output::result(global.output, &taken, |taken| {
            format!("{}\n\n{outside}", taken.shown())
        })
    }
}

/// Refuses what is there and no backup, before the server is asked.
fn check_target(path: &Path) -> Outcome {
    use std::io::Read as _;
    let refused = |source| CliError::Write {
        path: path.into(),
        source,
    };
    let mut begin = Vec::new();
    match std::fs::File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(refused(e).into()),
        Ok(there) if there.metadata().map_err(refused)?.is_dir() => {
            let refused = Failure::from(refused(ErrorKind::IsADirectory.into()));
            return Err(refused.next("name a file in it"));
        }
        Ok(there) => there
            .take(BEGIN.len() as u64)
            .read_to_end(&mut begin)
            .map_err(refused)?,
    };
    if begin != BEGIN {
        let refused = Failure::from(refused(ErrorKind::AlreadyExists.into()));
        return Err(refused.next("name a file that does not exist, or an earlier backup: this is neither"));
    }
    Ok(())
}

impl Taken {
    fn of(file: PathBuf, bytes: usize, contents: Contents) -> Self {
        let cursor = contents.image.snapshot.cursor;
        Self {
            file,
            bytes,
            trust_domain: contents.trust_domain,
            version: contents.version,
            taken: contents.taken.to_string(),
            epoch: digest::hex(&cursor.epoch),
            seq: cursor.seq.0,
            chain: digest::hex(&cursor.chain),
            record_next: contents.record_next,
            seal: contents.seal,
        }
    }

    fn shown(&self) -> String {
        style::facts(&[
            ("backup", self.file.display().to_string()),
            ("bytes", self.bytes.to_string()),
            ("trust domain", self.trust_domain.clone()),
            ("taken", self.taken.clone()),
            ("at change", self.seq.to_string()),
            ("chain", self.chain.clone()),
        ])
    }
}

/// `signet server restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// The backup: a file, or - for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The server's directory: absent or empty, or with --replace that of a stopped server.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// What the keys are sealed with: file=PATH. The path that the backup names unless it is given.
    #[arg(long, value_name = "SEAL")]
    seal: Option<String>,
    /// Put the server that is in the directory aside; it is kept beside it.
    #[arg(long)]
    replace: bool,
}

impl Restore {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let bytes = file::read_bytes(&self.file, BACKUP_BYTES_MAX as u64)?;
        file::make_parents(&self.dir)?;
        let options = RestoreOptions {
            dir: self.dir,
            seal: self.seal,
            replace: self.replace,
        };
        let restored =
            runtime::client(async { Ok(signet_server::restore(bytes, options, clock::system()).await?) })?;
        output::result(global.output, &restored, shown)
    }
}

fn shown(restored: &RestoreSummary) -> String {
    let mut facts = vec![
        ("trust domain", restored.trust_domain.to_string()),
        ("directory", restored.dir.display().to_string()),
        ("backup of", restored.taken.to_string()),
        ("begins after", format!("change {}", restored.seq)),
        ("settings", restored.config.display().to_string()),
    ];
    if let Some(kept) = &restored.kept {
        facts.push(("kept aside", kept.display().to_string()));
    }
    format!(
        "{}\n\nWhat was changed after the backup is not in it.\nNext: signet server run --config {}",
        style::facts(&facts),
        restored.config.display()
    )
}
