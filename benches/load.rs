//! The load program: starts the real `fleet` binary, drives it over real sockets, and prints one table in which every
//! figure stands beside the raw limit of the same run and the goal it has to reach.
//!
//! `cargo bench --bench load -- --help` says how; `benches/README.md` says what each row means.
//!
//! # Why not criterion
//! What counts here happens between two processes and a disk: throughput under load, tails, memory of another process,
//! the time of a start. None of it is a function that can be called in a loop.

#![allow(clippy::cast_precision_loss, reason = "counts, bytes and nanoseconds are far below 2^52 here")]

use std::process::ExitCode;

use clap::Parser;

use self::load::args::{Args, StandIn};

/// The parts, from the wire up to the scenarios.
mod load {
    pub(crate) mod args;
    pub(crate) mod bench;
    pub(crate) mod classes;
    pub(crate) mod connection;
    pub(crate) mod disk;
    pub(crate) mod frame;
    pub(crate) mod histogram;
    pub(crate) mod http;
    pub(crate) mod meter;
    pub(crate) mod objects;
    pub(crate) mod poller;
    pub(crate) mod process;
    pub(crate) mod socket;
    pub(crate) mod table;

    /// Ways to offer load.
    pub(crate) mod closed_loop;
    pub(crate) mod counted_loop;
    pub(crate) mod fan_loop;
    pub(crate) mod open_loop;
    pub(crate) mod traffic;

    /// The raw limits: what runs in the other process instead of fleet.
    pub(crate) mod raw_echo;
    pub(crate) mod raw_fan;

    /// What is measured.
    pub(crate) mod scenario;
}

/// Whatever went wrong, as text for the person at the terminal.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this program too, without an argument; `cargo bench` passes `--bench`.
    if std::env::args_os().len() == 1 {
        println!("nothing measured: run `cargo bench --bench load`");
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    let outcome = match args.stand_in {
        Some(StandIn::Echo) => load::raw_echo::serve(),
        Some(StandIn::Fan) => load::raw_fan::serve(),
        Some(StandIn::Classes) => load::classes::serve(args.data_dir),
        None => load::scenario::run_all(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
