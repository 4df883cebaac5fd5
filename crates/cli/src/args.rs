use crate::command;
use crate::output::Format;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

/// Gives every process an identity that it can prove.
#[derive(Debug, Parser)]
#[command(name = "signet", version, max_term_width = 100, infer_subcommands = false)]
#[command(
    after_help = "Start with `signet dev`. Errors are one line, `error[CODE]: what, what to do`, with several mistakes \
                        one by one below it; exit codes are 0 for success, 1 for a refusal or failure, 2 for wrong usage."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line and the variables that stand in for some flags.
    ///
    /// # Errors
    /// What is wrong with it, or a help text that was asked for.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::try_parse().map_err(|error| {
            // A flag whose value came from a variable counts as given, and the usage line of an error names it as if it
            // were required. So what is told is what the same line gets where no variable is set; help texts, which name
            // the variables, stay as they are.
            let is_help =
                !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
            if is_help {
                return error;
            }
            match without_variables(Self::command()).try_get_matches_from(std::env::args_os()) {
                Err(told) if told.kind() == error.kind() => told,
                // The mistake is in a variable itself.
                _ => error,
            }
        })
    }
}

/// `command`, and all below it, with flags that read the command line alone.
fn without_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| arg.env(None::<&str>))
        .mut_subcommands(without_variables)
}

/// What every command understands.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// The server's administration API.
    #[arg(
        long,
        global = true,
        env = "SIGNET_API",
        hide_env_values = true,
        value_name = "URL",
        default_value = "unix:///run/signet/api.sock",
        help_heading = "Global options"
    )]
    pub(crate) api: String,
    /// How results are written: for people, or as one JSON document.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    pub(crate) output: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Server, agent and two demo services in one process, until Ctrl-C.
    Dev(command::dev::Dev),
    /// The server: who exists, and who may have which identity.
    #[command(subcommand)]
    Server(command::server::Server),
    /// The agent: hands identities to the processes of its node.
    #[command(subcommand)]
    Agent(command::agent::AgentCommand),
    /// Entries: which processes are entitled to which identity.
    #[command(subcommand)]
    Entry(command::entry::Entry),
    /// Nodes, and the join strings that let new ones in.
    #[command(subcommand)]
    Node(command::node::Node),
    /// Credentials for any workload's identity, on an administrator's word: for tests and the first steps.
    #[command(subcommand)]
    Mint(command::mint::Mint),
    /// This process's own identity, as any workload would fetch it.
    Svid(command::svid::Svid),
    /// Why a process has an identity, or what it lacks to have one.
    Why(command::why::Why),
    /// Measure what a deployment can do, by loading it.
    #[command(subcommand)]
    Bench(command::bench::Bench),
    /// Whether the server and the agent of this machine are ready.
    Health(command::health::Health),
    /// Settings files.
    #[command(subcommand)]
    Config(command::config::Config),
    /// Completions for a shell, to be sourced.
    Completions(command::completions::Completions),
    /// Manual pages, one for each command.
    Man(command::man::Man),
}
