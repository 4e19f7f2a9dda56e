//! Whatever happens, every batch comes to an end, every task ends once, and the books equal a recount.

use std::collections::BTreeMap;

use super::*;
use crate::sim::{Outcome, Random};

const SETTINGS: &str = r#"{
    "maxConcurrentWorkers": 3, "workerTimeout": 4000, "maxRetries": 2, "unhandledTimeout": 60000,
    "retryBackoff": {"initialMs": 100, "maxMs": 1000}
}"#;

fn settings() -> Value {
    serde_json::from_str(SETTINGS).unwrap_or_default()
}

/// One to four tasks of any kind.
fn tasks(random: &mut Random) -> Value {
    let count = 1 + random.below(4);
    let task = |n: u64, random: &mut Random| {
        let deed = *random.pick(&["ok", "ok", "ok", "fail", "flaky", "hang"]);
        let kind = *random.pick(&["http", "http", "http", "ext"]);
        let priority = i32::try_from(random.below(3)).unwrap_or_default() - 1;
        json!({
            "id": format!("t{n}"), "type": kind, "priority": priority,
            "data": {"do": deed, "times": 1 + random.below(3)},
        })
    };
    json!({ "tasks": (0..count).map(|n| task(n, random)).collect::<Vec<_>>() })
}

fn draw(random: &mut Random) -> Step {
    let connection = *random.pick(&["/u/m/c1", "/u/m/c2"]);
    match random.below(40) {
        0 | 1 => Step::Crash,
        2 | 3 => Step::CommitFails,
        4 | 5 => Step::call("/u", "cancel", random.below(9)),
        6 => Step::Settle,
        7..=12 => Step::Pass { ms: 1 + random.below(3_000) },
        13 => Step::Pass { ms: 20_000 },
        14 | 15 => Step::call(connection, "up", json!({"capacity": 1 + random.below(3), "types": ["ext"]})),
        16 => Step::call(connection, "down", json!({})),
        17 => Step::call(connection, "vanish", json!({})),
        18 => Step::call(connection, "beat", json!({"metrics": {"load": random.below(9)}})),
        19..=22 => {
            let (count, twice) = (1 + random.below(3), random.one_in(4));
            Step::call(connection, "finish", json!({"success": !random.one_in(4), "count": count, "twice": twice}))
        }
        23 => manager("scaleWorkers", &json!({"count": 1 + random.below(4)})),
        24 => manager("getBatchStatus", &json!({"batchId": "nobody"})),
        25..=28 => manager("getStats", &json!({})),
        29 => Step::call(connection, "result", json!({"taskId": "t0", "token": "forged", "success": true})),
        30 => Step::call("/u", "submit", json!({"tasks": []})),
        _ => submit(&tasks(random)),
    }
}

/// The kinds of a batch's tasks, as they were submitted, cannot be seen from outside; what is seen must add up.
fn books_are_exact(world: &World<'_>) -> Result<(), String> {
    let stats = world.call(MANAGER, "getStats", json!({}))?;
    let batches = items(world, "listBatches", &json!({}))?;
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut cancelled = 0;
    for batch in &batches {
        let id = batch["batchId"].as_str().unwrap_or_default();
        for key in ["totalTasks", "completedTasks", "failedTasks"] {
            *sums.entry(key).or_default() += number(batch, key);
        }
        let ended = number(batch, "completedTasks") + number(batch, "failedTasks");
        let how = batch["status"].as_str().unwrap_or_default();
        if how == "cancelled" {
            cancelled += number(batch, "totalTasks") - ended;
        } else {
            same(&format!("batch {id} ({how}) has ended tasks"), &ended, &number(batch, "totalTasks"))?;
        }
        results_are_exact(world, id, batch)?;
    }
    for (key, sum) in sums {
        same(key, &number(&stats, key), &sum)?;
    }
    same("totalBatches", &number(&stats, "totalBatches"), &(batches.len() as u64))?;
    same("cancelledTasks", &number(&stats, "cancelledTasks"), &cancelled)?;
    for key in ["queuedTasks", "runningTasks", "retryingTasks", "openBatches"] {
        same(key, &number(&stats, key), &0)?;
    }
    Ok(())
}

fn results_are_exact(world: &World<'_>, id: &str, batch: &Value) -> Result<(), String> {
    let results = results(world, id)?;
    let mut ids: Vec<&str> = results.iter().filter_map(|result| result["taskId"].as_str()).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    same(&format!("batch {id}: tasks that ended once"), &ids.len(), &all)?;
    let succeeded = results.iter().filter(|result| result["success"] == json!(true)).count() as u64;
    same("results that are a success", &succeeded, &number(batch, "completedTasks"))?;
    same("results", &(all as u64), &(number(batch, "completedTasks") + number(batch, "failedTasks")))?;
    if let Some(result) = results.iter().find(|result| number(result, "attempts") > 3) {
        return Err(format!("more attempts than retries allow: {result}"));
    }
    let failed = items(world, "listTasks", &json!({"batchId": id, "state": "failed"}))?;
    same("failed tasks that are kept", &(failed.len() as u64), &number(batch, "failedTasks"))?;
    for state in ["queued", "retrying", "running"] {
        same(state, &items(world, "listTasks", &json!({"batchId": id, "state": state}))?, &Vec::new())?;
    }
    Ok(())
}

/// What was answered is there, what was cancelled stays so, and the limit of workers was always kept.
fn answers_hold(world: &World<'_>) -> Result<(), String> {
    for id in submitted(world)? {
        status(world, &id)?;
    }
    for id in world.call("/u", "cancelled", ())?.as_array().into_iter().flatten() {
        let status = status(world, id.as_str().unwrap_or_default())?;
        same("a cancelled batch", &status["status"], &json!("cancelled"))?;
    }
    for (step, outcome) in world.history() {
        if let (Step::Call { method, .. }, Outcome::Answered(stats)) = (step, outcome)
            && method == "getStats"
            && number(stats, "activeWorkers") > 4
        {
            return Err(format!("more attempts at once than were ever allowed: {stats}"));
        }
    }
    Ok(())
}

#[test]
fn fm2_fm4_fm6_fm9_fm10_the_books_are_exact_whatever_fails() {
    Simulation::seeds(0..60, |seed| {
        simulation(seed)
            .step(Step::call("/u", "begin", ()))
            .step(Step::Settle)
            .step(manager("updateConfig", &settings()))
            .step(Step::Settle)
            .steps(60, draw)
            // Longer than leases, retries, and the wait for somebody who handles a type.
            .step(Step::Pass { ms: 300_000 })
            .step(Step::Settle)
            .check(|world| {
                books_are_exact(world)?;
                answers_hold(world)
            })
    });
}

#[test]
fn fm1_fm10_a_batch_of_several_turns_is_there_as_a_whole_or_not_at_all_whatever_fails() {
    const TASKS: u64 = 8_500;
    let tasks: Vec<Value> = (0..TASKS).map(|n| json!({"id": n.to_string(), "type": "ext"})).collect();
    let large = json!({ "tasks": tasks });
    Simulation::seeds(0..8, |seed| {
        simulation(seed)
            .step(Step::call("/u", "begin", ()))
            .step(Step::Settle)
            .step(manager("submitBatch", &large))
            .steps(3, |random| match random.below(4) {
                0 => Step::Crash,
                1 => Step::CommitFails,
                // A refusal in between takes nothing of what is being stored.
                2 => manager("getBatchStatus", &json!({"batchId": "nobody"})),
                _ => Step::Pass { ms: random.below(30) },
            })
            .step(Step::Pass { ms: 60_000 })
            .step(Step::Settle)
            .check(|world| {
                let stats = world.call(MANAGER, "getStats", json!({}))?;
                let batches = items(world, "listBatches", &json!({}))?;
                let answered = world.history().filter(|(step, outcome)| {
                    matches!((step, outcome), (Step::Call { method, .. }, Outcome::Answered(_)) if method == "submitBatch")
                });
                if (batches.len() as u64) < answered.count() as u64 {
                    return Err("a batch that was answered is not there".to_owned());
                }
                for key in ["totalTasks", "queuedTasks"] {
                    same(key, &number(&stats, key), &(TASKS * batches.len() as u64))?;
                }
                Ok(())
            })
    });
}
