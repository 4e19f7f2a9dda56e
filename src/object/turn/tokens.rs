//! Who somebody is that shows a token.

use super::Turn;
use crate::auth::Identity;
use crate::object::Error;

impl Turn<'_> {
    /// Whom a bearer token stands for, by `[auth]` of the configuration, at the time of this turn.
    ///
    /// Whether it reaches where it is to be used is [`Identity::reaches`], and that it ends later, at
    /// [`Identity::expires_at`], is for the class to see to.
    ///
    /// # Errors
    /// `unauthorized` for a token that is not valid, not yet, or no more; the text does not say what it was.
    pub fn authenticate(&mut self, token: &str) -> Result<Identity, Error> {
        let now = self.now();
        Ok(self.namespace.services.auth.identify(token, now)?)
    }

    /// Whether a token is required of those that are guarded: `[auth]` is enabled.
    pub fn authentication_required(&self) -> bool {
        self.namespace.services.auth.is_required()
    }
}
