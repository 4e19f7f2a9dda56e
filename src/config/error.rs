//! What is wrong with a configuration, in words that let its author mend it.

use std::fmt;
use std::path::PathBuf;

/// Why there is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}, line {line}, column {column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What the parser said.
        message: String,
    },
    /// Settings are unknown or have bad values: all of them, one a line.
    #[error("{}", lines(.0))]
    Settings(Vec<Problem>),
}

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In this file.
    File(PathBuf),
    /// In this environment variable.
    Variable(String),
    /// In this flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No such key.
    #[error("unknown key `{key}` in {from}; {advice}")]
    UnknownKey {
        /// The key as written, with its section.
        key: String,
        /// Where it was written.
        from: Source,
        /// The nearest right name, or the names there are.
        advice: String,
    },
    /// The value is of the wrong type or out of bounds.
    #[error("`{key}` in {from} is {value}; {message}")]
    BadValue {
        /// The key with its section.
        key: String,
        /// Where it was written.
        from: Source,
        /// The value as TOML, shortened. A setting that is a secret must not be shown here.
        value: String,
        /// What is accepted.
        message: String,
    },
    /// Settings that are right one by one do not go together.
    #[error("{0}")]
    Conflict(String),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
