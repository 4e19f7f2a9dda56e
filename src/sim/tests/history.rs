//! What was asked, what came of it, and what surely ended before what began.

use serde_json::Value;

use super::super::*;

/// One call or deletion.
pub(super) struct Operation<'a> {
    pub(super) step: &'a Step,
    pub(super) outcome: &'a Outcome,
    /// How many times everything had ended before it began.
    epoch: usize,
}

/// A part of the tree that may have been deleted, and when.
pub(super) struct Deletion<'a> {
    path: String,
    outcome: &'a Outcome,
    epoch: usize,
}

impl Operation<'_> {
    /// The object, method and payload of a call.
    pub(super) fn call(&self) -> Option<(&str, &str, &Value)> {
        match self.step {
            Step::Call { path, method, payload } => Some((path, method, payload)),
            _ => None,
        }
    }

    /// Whether it was acknowledged.
    pub(super) fn happened(&self) -> bool {
        matches!(self.outcome, Outcome::Answered(_))
    }

    /// Whether it surely ended before the other began.
    pub(super) fn is_before(&self, other: &Operation<'_>) -> bool {
        self.epoch < other.epoch
    }

    /// Whether nobody can say that it was not done.
    pub(super) fn may_have_happened(&self) -> bool {
        !matches!(self.outcome, Outcome::Refused(_))
    }
}

impl Deletion<'_> {
    /// Whether this path lies in what it deletes.
    pub(super) fn covers(&self, path: &str) -> bool {
        path.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether it surely took what this operation did at a path.
    pub(super) fn took(&self, path: &str, operation: &Operation<'_>) -> bool {
        self.covers(path) && matches!(self.outcome, Outcome::Answered(_)) && operation.epoch < self.epoch
    }

    /// Whether it may have taken what this operation did at a path.
    pub(super) fn may_have_taken(&self, path: &str, operation: &Operation<'_>) -> bool {
        self.covers(path) && !matches!(self.outcome, Outcome::Refused(_)) && operation.epoch <= self.epoch
    }

    /// Whether it began when this operation had surely ended.
    pub(super) fn is_after(&self, operation: &Operation<'_>) -> bool {
        operation.epoch < self.epoch
    }

    /// Whether it surely ended before this operation began.
    pub(super) fn is_before(&self, operation: &Operation<'_>) -> bool {
        self.epoch < operation.epoch
    }

    /// Whether it is known to have happened or not to have happened.
    pub(super) fn is_known(&self) -> bool {
        *self.outcome != Outcome::Unknown
    }
}

/// Every call and deletion, in order.
pub(super) fn operations<'a>(world: &'a World<'_>) -> Vec<Operation<'a>> {
    let (mut epoch, mut found) = (0, Vec::new());
    for (step, outcome) in world.timeline() {
        epoch += usize::from(matches!(step, Step::Settle | Step::Crash));
        found.extend(outcome.map(|outcome| Operation { step, outcome, epoch }));
    }
    found
}

/// The deletions among them, also those by the parent (`deleteChild`).
pub(super) fn deletions<'a>(operations: &[Operation<'a>]) -> Vec<Deletion<'a>> {
    let deletion = |operation: &Operation<'a>| {
        let path = match operation.step {
            Step::Delete { path } => path.clone(),
            Step::Call { path, method, payload } if method == "deleteChild" => format!("{path}/{}", payload.as_str()?),
            _ => return None,
        };
        Some(Deletion { path, outcome: operation.outcome, epoch: operation.epoch })
    };
    operations.iter().filter_map(deletion).collect()
}
