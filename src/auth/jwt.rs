//! JSON Web Tokens, signed by HS256 with the secret of the server.

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

use super::{Error, Identity, Scope, Secret};
use crate::path::ObjectPath;

/// Checks signatures and claims.
pub(super) struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

/// What a token has to say; anything else in it is ignored.
#[derive(Deserialize)]
struct Claims {
    path: String,
    scopes: Vec<Scope>,
    /// In seconds since the epoch, as is `nbf`.
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    sub: Option<String>,
}

impl Verifier {
    pub(super) fn new(secret: &Secret) -> Self {
        // Without a choice the crate panics where another part of the program has it compiled with a second one. What was
        // chosen before is as good.
        let _ = DEFAULT_PROVIDER.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        // Times are checked here, against the time that turns see.
        validation.validate_exp = false;
        Self { key: DecodingKey::from_secret(secret.reveal().as_bytes()), validation }
    }

    pub(super) fn identify(&self, token: &str, now: u64) -> Result<Identity, Error> {
        let token = decode::<Claims>(token, &self.key, &self.validation).map_err(|_| Error::Invalid)?;
        // Extensions that must be understood, of which none is.
        if token.header.crit.is_some() {
            return Err(Error::Invalid);
        }
        let Claims { path, scopes, exp, nbf, sub } = token.claims;
        let expires_at = milliseconds(exp);
        if expires_at <= now {
            return Err(Error::Expired);
        }
        if nbf.is_some_and(|begins| milliseconds(begins) > now) {
            return Err(Error::Early);
        }
        // An empty one would be everything.
        let path = Some(path).filter(|path| path.starts_with('/')).and_then(|path| ObjectPath::parse(&path).ok());
        let path = path.ok_or(Error::Invalid)?;
        Ok(Identity { subject: sub, path, scopes, expires_at: Some(expires_at) })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is out of range is cut off at its ends"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1_000.0) as u64
}
