use crate::args::{Cli, Global};
use crate::error::CliError;
use crate::file::{self, Readers};
use crate::{Outcome, output};
use clap::{Command, CommandFactory as _};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// `signet man DIR`.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Where they are written, such as /usr/local/share/man/man1; made if need be. Older ones are replaced.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// What was written.
#[derive(Serialize)]
struct Written {
    dir: PathBuf,
    pages: Vec<String>,
}

impl Man {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        std::fs::create_dir_all(&self.dir).map_err(|source| {
            let path = self.dir.clone();
            CliError::Write { path, source }
        })?;
        // `help` is a way to read the same text, and no command with a page of its own.
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let mut pages = Vec::new();
        write(&self.dir, "signet", &command, &mut pages)?;
        pages.sort();
        let written = Written { dir: self.dir, pages };
        output::result(global.output, &written, |written| {
            format!(
                "{} manual pages in {}",
                written.pages.len(),
                written.dir.display()
            )
        })
    }
}

/// Writes the page `name` of `command`, and those of the commands below it.
fn write(dir: &Path, name: &str, command: &Command, pages: &mut Vec<String>) -> Outcome {
    let page = format!("{name}.1");
    let path = dir.join(&page);
    let mut roff = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone())
        .title(name)
        .render(&mut roff);
    rendered.map_err(|source| {
        let path = path.clone();
        CliError::Write { path, source }
    })?;
    file::write(&path, &roff, Readers::All)?;
    pages.push(page);
    for below in command.get_subcommands() {
        write(dir, &format!("{name}-{}", below.get_name()), below, pages)?;
    }
    Ok(())
}
