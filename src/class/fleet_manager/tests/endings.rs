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

#[test]
fn fm7_the_time_of_an_attempt_is_its_tasks_or_else_the_managers() {
    for (timeout, wanted) in [(json!(1_200), 1_200), (Value::Null, 3_000)] {
        let mut task = json!({"id": "t", "type": "http", "retries": 1, "data": {"do": "hang"}});
        if !timeout.is_null() {
            task["timeout"] = timeout;
        }
        let settings = json!({"workerTimeout": 3_000, "retryBackoff": {"initialMs": 100, "maxMs": 100}});
        let begun = || {
            simulation(1)
                .step(Step::call("/u", "begin", ()))
                .step(Step::Settle)
                .step(manager("updateConfig", &settings))
                .step(Step::Settle)
                .step(submit(&json!({"tasks": [task]})))
        };
        let look = |world: &World<'_>| {
            let batch = submitted(world)?.pop().ok_or("no batch")?;
            Ok::<_, String>((status(world, &batch)?, results(world, &batch)?))
        };
        // Each attempt has that time, and no less.
        begun()
            .step(Step::Pass { ms: 2 * wanted - 100 })
            .check(move |world| same("ended", &look(world)?.1.len(), &0))
            .run();
        begun()
            .step(Step::Pass { ms: 2 * wanted + 2_000 })
            .check(move |world| {
                let (status, results) = look(world)?;
                same("status", &status["status"], &json!("failed"))?;
                same("error", &results[0]["error"], &json!(format!("timed out after {wanted} ms")))?;
                same("attempts", &results[0]["attempts"], &json!(2))?;
                let took = number(&results[0], "duration");
                if (wanted..wanted + 100).contains(&took) {
                    Ok(())
                } else {
                    Err(format!("the last one took {took} ms"))
                }
            })
            .run();
    }
}
