//! How attempts in this process end, and what that costs their tasks.

use super::*;

/// The results of one task, which may not be retried, after a minute.
fn ends(task: &Value, check: impl Fn(&Value, &Value) -> Result<(), String> + 'static) {
    let mut task = task.clone();
    (task["id"], task["type"], task["retries"]) = (json!("t"), json!("http"), json!(0));
    simulation(1)
        .step(Step::call("/u", "begin", ()))
        .step(Step::Settle)
        .step(submit(&json!({"tasks": [task]})))
        .step(Step::Pass { ms: 60_000 })
        .step(Step::Settle)
        .check(move |world| {
            let batch = submitted(world)?.pop().ok_or("no batch")?;
            let results = results(world, &batch)?;
            let [result] = results.as_slice() else { return Err(format!("not one result: {results:?}")) };
            check(result, &world.call(MANAGER, "getStats", json!({}))?)
        })
        .run();
}

#[test]
fn fm6_an_attempt_that_found_no_room_costs_nothing_however_often() {
    ends(&json!({"data": {"do": "full", "times": 5, "text": "fm6"}}), |result, stats| {
        same("success", &result["success"], &json!(true))?;
        same("attempts", &result["attempts"], &json!(1))?;
        same("retries", &stats["retries"], &json!(0))
    });
}

#[test]
fn fm6_a_task_that_fails_is_believed_whatever_it_says() {
    for text in
        ["overloaded: /a has too many", "jobs limit reached", "timed out: b", "the server is stopping; try again"]
    {
        ends(&json!({"data": {"do": "say", "text": text}}), move |result, _| {
            same("error", &result["error"], &json!(text))?;
            same("attempts", &result["attempts"], &json!(1))
        });
    }
}
