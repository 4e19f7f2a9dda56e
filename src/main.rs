//! The `fleet` binary: from a command line to a running server. Everything else is in the library.

use std::process::ExitCode;
use std::thread::available_parallelism;

use fleet::cli::{self, Cli, Command, Error, logging};
use fleet::config::Config;
use fleet::server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Workers beyond one a core: so many turns may run long (see `fleet::limits::LONG_TURN`) before others have to wait.
const SPARE_WORKERS: usize = 8;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run() -> Result<(), Error> {
    let Some((command, flags)) = Cli::read()? else {
        return Ok(());
    };
    let config = Config::load(&flags)?;
    match command {
        Command::Config => cli::print(&config.to_toml()),
        Command::Serve => serve(config),
    }
}

fn serve(config: Config) -> Result<(), Error> {
    logging::start(&config.log)?;
    let cores = available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores + SPARE_WORKERS)
        .enable_all()
        .build()
        .map_err(|error| Error::failure(&error))?;
    let served = runtime.block_on(server::run(config)).map_err(|error| Error::failure(&error));
    // A handler that does not end must not keep the process.
    runtime.shutdown_background();
    served
}
