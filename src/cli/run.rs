//! A whole program around a server: command line, configuration, log, runtime, signals.

use std::process::ExitCode;

use super::{Cli, Command, Error, logging, print};
use crate::server::{self, Builder};

impl Builder {
    /// Runs the program: what the `fleet` binary does, with these classes.
    ///
    /// It reads the command line (`--help` tells it), `config.toml` and the environment, writes the log to standard error,
    /// prints the address as the first line, and serves on a runtime of its own until SIGTERM or SIGINT. It answers with
    /// what `main` is to return: 0, 1 after a failure, 2 for a command line, a configuration, or classes that cannot be
    /// used.
    #[must_use = "it is the exit status of the program"]
    pub fn run(self) -> ExitCode {
        match self.run_command() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(),
        }
    }

    fn run_command(mut self) -> Result<(), Error> {
        match Cli::read()? {
            None => Ok(()),
            Some(Command::Config(flags)) => print(&self.config.load_over(&flags)?.to_toml()),
            Some(Command::Serve(flags)) => {
                self.config = self.config.load_over(&flags)?;
                self.serve()
            }
            Some(Command::Submit(submit)) => submit.run(),
            Some(Command::Batch(batch)) => batch.run(),
        }
    }

    fn serve(self) -> Result<(), Error> {
        logging::start(&self.config.log)?;
        let runtime = server::runtime().map_err(|error| Error::failure(&error))?;
        let served = runtime.block_on(server::run(self)).map_err(|error| Error::failure(&error));
        // A handler that does not end must not keep the process.
        runtime.shutdown_background();
        served
    }
}
