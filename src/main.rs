//! The `fleet` binary: the server with its built-in classes. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleet::Server::builder().run()
}
