//! Whom a token stands for.

use serde::{Deserialize, Serialize};

use crate::path::ObjectPath;

/// What may be done at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Looking.
    Read,
    /// Changing.
    Write,
    /// Everything, the other two included.
    Admin,
}

impl Scope {
    /// Its name, in configurations and in tokens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin].into_iter().find(|scope| scope.name() == name)
    }
}

/// Whom a token stands for, as [`Turn::authenticate`](crate::Turn::authenticate) answers it; it can be attached to a socket.
///
/// ```
/// use fleet::{Error, Scope, Turn};
///
/// /// Lets only those write that may.
/// fn admit(turn: &mut Turn<'_>, token: &str) -> Result<(), Error> {
///     let identity = turn.authenticate(token)?;
///     if identity.reaches(turn.path(), Scope::Write) {
///         return Ok(());
///     }
///     Err(Error::new(fleet::Code::Forbidden, "this token does not reach here"))
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Who it is, if the token says so.
    pub subject: Option<String>,
    /// It reaches this path and everything below it.
    pub path: ObjectPath,
    /// What it may be used for there.
    pub scopes: Vec<Scope>,
    /// When it ends, in milliseconds since the epoch.
    pub expires_at: Option<u64>,
}

impl Identity {
    /// Whether it may do that at this path.
    #[must_use]
    pub fn reaches(&self, path: &ObjectPath, scope: Scope) -> bool {
        self.path.contains(path) && (self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin))
    }
}
