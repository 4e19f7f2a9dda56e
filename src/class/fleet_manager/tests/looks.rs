//! Who asks how a batch is doing waits for no other work of its manager.

use super::*;
use crate::sim::{Outcome, Random};

/// A turn that wrote nothing fails with the commit of what it has seen; a look has seen only what is durable.
#[test]
fn fm2_a_commit_that_fails_is_no_matter_to_who_asks_for_a_status() {
    let draw = |random: &mut Random| match random.below(4) {
        0 => Step::CommitFails,
        1 => manager("scaleWorkers", &json!({"count": 1 + random.below(9)})),
        2 => manager("getBatchStatus", &json!({"batchId": "nobody"})),
        _ => Step::Settle,
    };
    Simulation::seeds(0..20, |seed| {
        simulation(seed)
            .step(Step::call("/u", "begin", ()))
            .step(Step::Settle)
            .step(manager("scaleWorkers", &json!({"count": 1})))
            .step(Step::Settle)
            .steps(60, draw)
            .step(Step::Settle)
            .check(|world| {
                let asked = |step: &Step| matches!(step, Step::Call { method, .. } if method == "getBatchStatus");
                match world.history().find(|(step, outcome)| asked(step) && **outcome == Outcome::Unknown) {
                    Some(_) => Err("a status was lost with a commit".to_owned()),
                    None => Ok(()),
                }
            })
    });
}
