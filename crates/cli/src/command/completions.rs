use crate::Outcome;
use crate::args::Cli;
use crate::output;
use clap::CommandFactory as _;
use clap_complete::Shell;

/// `signet completions SHELL`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "signet", &mut script);
        output::text(&String::from_utf8_lossy(&script))
    }
}
