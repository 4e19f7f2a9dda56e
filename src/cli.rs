//! The command line: what may be typed, what it means, and how it ends.
//!
//! # Exit status
//! 0 is success, 1 a failure while running (the port is taken, the disk is broken), 2 a command line or a configuration
//! that cannot be used. Whatever goes wrong is told on standard error in lines that start with `fleet: `.

mod batch;
mod error;
pub mod logging;
mod progress;
mod remote;
mod run;
mod submit;
mod tasks;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;

pub use batch::Batch;
pub use error::Error;
pub use submit::Submit;

/// Shown above the options.
const ABOUT: &str = "Every URL path is a live, durable object. One binary.

Without a command, fleet serves: open http://127.0.0.1:8787/team1/project1 in a browser, connect a WebSocket to it, POST to it, \
DELETE it with everything below it. The README has a tour of five minutes.";

/// Shown below the options.
const MORE: &str = "\
Configuration:
  Flags win over environment variables, those over the file, that over the defaults.
  config.toml in the repository lists every key with its default and its meaning.

Environment:
  FLEET_SECTION__KEY   Sets a key of the configuration, for example
                       FLEET_SERVER__LISTEN=0.0.0.0:8787 or FLEET_LIMITS__SOCKETS=50000.
                       Lists are written with commas.
  FLEET_URL            The server that submit and batch talk to; --url wins over it.
  FLEET_TOKEN          The token that they show it; --token wins over it.
  RUST_LOG             What is logged, for example warn,fleet=debug; wins over log.filter.

Examples:
  fleet                          Serve http://127.0.0.1:8787 with data in ./data
  fleet --listen 127.0.0.1:0     Serve on a free port, told by the first line printed
  fleet --data-dir /srv/fleet    Serve with data in another directory
  fleet --config prod.toml       Serve with another configuration
  fleet config                   See what that configuration is
  fleet submit /jobs tasks.jsonl --wait
                                 Have tasks done, and wait for them

Exit status: 0 success, 1 failure, 2 unusable command line or configuration.";

/// A command line, as it was typed.
#[derive(Debug, Parser)]
#[command(name = "fleet", version, about = ABOUT, after_help = MORE, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Serve; what fleet does without a command
    #[command(after_help = "See `fleet --help` for the environment and examples.")]
    Serve(Options),
    /// Print the configuration that is in force, as TOML
    #[command(after_help = "See `fleet --help` for the environment and examples.")]
    Config(Options),
    /// Submit a file of tasks to a fleet-manager
    Submit(Submit),
    /// See what has become of a batch of tasks, or cancel it
    Batch(Batch),
}

/// The settings that have a flag of their own.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct Options {
    /// Read this configuration file; without the flag, ./config.toml if it exists
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here; port 0 takes a free one [server.listen, default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Keep the data in this directory [storage.data_dir, default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Run the server, with these settings.
    Serve(Flags),
    /// Print the configuration that these settings make.
    Config(Flags),
    /// Submit tasks to a server.
    Submit(Submit),
    /// Look after a batch of a server.
    Batch(Batch),
}

impl Cli {
    /// Reads the command line of the process. `None`: it asked for the help or the version, which is printed.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn read() -> Result<Option<Command>, Error> {
        match Self::try_parse() {
            Ok(cli) => Ok(Some(cli.checked())),
            Err(error) if error.use_stderr() => Err(Error::usage(&error)),
            Err(error) => print(&error.render().to_string()).map(|()| None),
        }
    }

    fn checked(self) -> Command {
        match self.command {
            None => Command::Serve(self.options.into()),
            Some(Subcommands::Serve(options)) => Command::Serve(options.into()),
            Some(Subcommands::Config(options)) => Command::Config(options.into()),
            Some(Subcommands::Submit(submit)) => Command::Submit(submit),
            Some(Subcommands::Batch(batch)) => Command::Batch(batch),
        }
    }
}

impl From<Options> for Flags {
    fn from(options: Options) -> Self {
        let Options { config, listen, data_dir } = options;
        Self { config, listen, data_dir }
    }
}

/// Prints a text on standard output. A reader that went away (`fleet config | head -1`) is no failure.
///
/// # Errors
/// [`Error::Failure`] when it cannot be written.
pub fn print(text: &str) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Failure(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn op1_fleet_alone_is_fleet_serve() {
        for command in [&["fleet"][..], &["fleet", "serve"]] {
            let flags = ["--config", "c", "--listen", "l", "--data-dir", "d"];
            let command = Cli::try_parse_from(command.iter().chain(&flags)).unwrap().checked();
            let Command::Serve(flags) = command else { panic!("{command:?}") };
            assert_eq!(flags.config, Some(PathBuf::from("c")));
            assert_eq!((flags.listen.as_deref(), flags.data_dir.as_deref()), (Some("l"), Some("d")));
        }
    }
}
