//! How a command ends when it does not succeed.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::config;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line cannot be used.
    #[error("{0}; see `fleet --help`")]
    Usage(String),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Something went wrong while running.
    #[error("{0}")]
    Failure(String),
}

impl Error {
    /// A failure while running, told with its causes.
    pub fn failure(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let told = error.to_string();
            // Many errors already tell their cause.
            if !text.contains(&told) {
                text = format!("{text}: {told}");
            }
            cause = error.source();
        }
        Self::Failure(text)
    }

    /// Puts what clap found into one line; its own report is a small page.
    pub(super) fn usage(error: &clap::Error) -> Self {
        let report = error.render().to_string();
        let findings = report.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
        let findings = findings
            .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
            .map(|line| line.trim_start_matches("error: ").trim_start_matches("tip: "));
        // What is missing stands on a line of its own.
        Self::Usage(findings.collect::<Vec<_>>().join("; ").replace(":; ", ": "))
    }

    /// Tells what is wrong on standard error and gives the exit status.
    pub fn report(&self) -> ExitCode {
        let mut output = io::stderr().lock();
        for line in self.to_string().lines() {
            // When nobody can be told, the exit status still tells.
            let _ = writeln!(output, "fleet: {line}");
        }
        match self {
            Self::Usage(_) | Self::Config(_) => ExitCode::from(2),
            Self::Failure(_) => ExitCode::from(1),
        }
    }
}
