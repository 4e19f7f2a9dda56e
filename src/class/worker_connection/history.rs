//! What the worker did last, for people to look at. It lasts as long as the memory of this object: what counts is in the
//! books of the manager.

use std::collections::VecDeque;

use serde::Serialize;

use super::frames::Outcome;
use crate::limits::{HISTORY_ERROR_CHARS, HISTORY_TASKS};

/// The last results, the newest first.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct History(VecDeque<Ended>);

/// A task that is over, as the worker has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    task_id: Box<str>,
    /// Good for fencing, and so nobody's business.
    #[serde(skip)]
    token: Box<str>,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<str>>,
    timestamp: u64,
}

impl History {
    /// A result has come; one that is sent again is no other.
    pub(super) fn note(&mut self, outcome: &Outcome<'_>, now: u64) {
        if self.0.iter().any(|ended| *ended.token == *outcome.token) {
            return;
        }
        self.0.truncate(HISTORY_TASKS - 1);
        self.0.push_front(Ended {
            task_id: (&*outcome.task_id).into(),
            token: (&*outcome.token).into(),
            success: outcome.success,
            error: outcome.error.as_ref().map(|error| error.chars().take(HISTORY_ERROR_CHARS).collect()),
            timestamp: now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(token: &str) -> Outcome<'_> {
        Outcome {
            task_id: "t".into(),
            token: token.into(),
            success: false,
            result: None,
            error: Some("é".repeat(9_000).into()),
        }
    }

    #[test]
    fn wc1_the_history_is_bounded_and_has_each_result_once() {
        let mut history = History::default();
        for token in 0..2 * HISTORY_TASKS {
            for _ in 0..2 {
                history.note(&outcome(&token.to_string()), 7);
            }
        }
        assert_eq!(history.0.len(), HISTORY_TASKS);
        let tokens: Vec<&str> = history.0.iter().take(2).map(|ended| &*ended.token).collect();
        assert_eq!(tokens, [(2 * HISTORY_TASKS - 1).to_string(), (2 * HISTORY_TASKS - 2).to_string()]);
        let told = serde_json::to_value(&history).unwrap();
        assert_eq!(told[0]["error"].as_str().map(|error| error.chars().count()), Some(HISTORY_ERROR_CHARS));
        assert_eq!(told[0]["token"], serde_json::Value::Null);
    }
}
