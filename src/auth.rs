//! Who may do what: tokens, and what each of them reaches.
//!
//! A token is one of the secrets that the configuration lists, or a JWT that somebody has signed with the secret of the
//! server. Either stands for an [`Identity`]: a path, everything below it, and what may be done there.
//!
//! Nothing here shows a token: not in an error, not in `Debug`. Of the listed ones only digests are kept, which are compared
//! in constant time and all of them, so that the time of a refusal tells neither how much of a guess was right nor how many
//! tokens there are before a match.

mod identity;
mod jwt;
mod secret;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use self::identity::{Identity, Scope};
use self::jwt::Verifier;
pub(crate) use self::secret::HIDDEN;
pub use self::secret::Secret;
use crate::limits::TOKEN_BYTES;
use crate::path::ObjectPath;

/// What is to be known of tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether a token is required of whoever is guarded.
    pub enabled: bool,
    /// What JWTs are signed with; empty: none is accepted.
    pub jwt_secret: Secret,
    /// The tokens that are listed.
    pub tokens: Vec<Token>,
}

/// A token that is listed, with what it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What its bearer shows.
    pub token: Secret,
    /// It reaches this path and everything below it.
    pub path: ObjectPath,
    /// What it may be used for there.
    pub scopes: Vec<Scope>,
}

/// Why a token stands for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not listed, and no JWT that is accepted here.
    #[error("unauthorized: the token is not valid")]
    Invalid,
    /// It was valid.
    #[error("unauthorized: the token has expired")]
    Expired,
    /// It will be valid.
    #[error("unauthorized: the token is not valid yet")]
    Early,
}

/// Checks tokens.
#[derive(Debug, Clone, Default)]
pub struct Auth(Arc<Checks>);

#[derive(Default)]
struct Checks {
    required: bool,
    listed: Vec<([u8; 32], Identity)>,
    verifier: Option<Verifier>,
}

impl Auth {
    /// Checks tokens by these settings.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let listed = options.tokens.iter().map(|Token { token, path, scopes }| {
            let identity = Identity { subject: None, path: path.clone(), scopes: scopes.clone(), expires_at: None };
            (digest(token.reveal()), identity)
        });
        Self(Arc::new(Checks {
            required: options.enabled,
            listed: listed.collect(),
            verifier: Some(&options.jwt_secret).filter(|secret| !secret.is_empty()).map(Verifier::new),
        }))
    }

    /// Whether a token is required of whoever is guarded.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.0.required
    }

    /// Whom a token stands for at this time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// [`Error`], which says nothing of the token.
    pub fn identify(&self, token: &str, now: u64) -> Result<Identity, Error> {
        if token.is_empty() || token.len() > TOKEN_BYTES {
            return Err(Error::Invalid);
        }
        match (self.listed(token), &self.0.verifier) {
            (Some(identity), _) => Ok(identity.clone()),
            (None, Some(verifier)) => verifier.identify(token, now),
            (None, None) => Err(Error::Invalid),
        }
    }

    fn listed(&self, token: &str) -> Option<&Identity> {
        let digest = digest(token);
        let mut found = None;
        for (known, identity) in &self.0.listed {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(identity);
            }
        }
        found
    }
}

/// Made of it so that even its length does not show in the time of a comparison.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listed = self.listed.iter().map(|(_, identity)| identity).collect::<Vec<_>>();
        f.debug_struct("Checks").field("required", &self.required).field("listed", &listed).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
