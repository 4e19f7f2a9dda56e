//! Workers elsewhere: what they are given, what of theirs counts, and what becomes of their tasks when they go.

use super::*;

const C1: &str = "/u/m/c1";
const C2: &str = "/u/m/c2";

/// A manager that retries quickly, and two workers that are not connected yet.
fn begun() -> Simulation {
    begun_with(1)
}

fn begun_with(seed: u64) -> Simulation {
    simulation(seed)
        .step(Step::call("/u", "begin", ()))
        .step(Step::Pass { ms: 500 })
        .step(manager("updateConfig", &json!({"retryBackoff": {"initialMs": 100, "maxMs": 100}, "maxRetries": 1})))
        .step(Step::Pass { ms: 500 })
}

fn up(worker: &str, capacity: u64) -> Step {
    Step::call(worker, "up", json!({"capacity": capacity, "types": ["ext"], "sessions": 1}))
}

fn soon() -> Step {
    Step::Pass { ms: 500 }
}

fn ext(count: usize) -> Step {
    let task = |n| json!({"id": format!("t{n}"), "type": "ext"});
    submit(&json!({"tasks": (0..count).map(task).collect::<Vec<_>>()}))
}

fn tasks(world: &World<'_>, worker: &str) -> Result<usize, String> {
    Ok(world.call(worker, "get", ())?["tasks"].as_object().map_or(0, serde_json::Map::len))
}

fn answers(world: &World<'_>, worker: &str) -> Result<Vec<Value>, String> {
    Ok(world.call(worker, "get", ())?["answers"].as_array().cloned().unwrap_or_default())
}

fn only_batch(world: &World<'_>) -> Result<(Value, Vec<Value>), String> {
    let id = submitted(world)?.pop().ok_or("no batch")?;
    Ok((status(world, &id)?, results(world, &id)?))
}

#[test]
fn wc5_a_worker_gets_no_more_than_its_capacity_and_the_next_when_one_is_done() {
    begun()
        .step(up(C1, 2))
        .step(soon())
        .step(ext(5))
        .step(soon())
        .step(Step::call(C1, "finish", json!({})))
        .step(soon())
        .check(|world| {
            same("tasks of the worker", &tasks(world, C1)?, &2)?;
            let (status, results) = only_batch(world)?;
            same("completed", &status["completedTasks"], &json!(1))?;
            let result =
                (&results[0]["success"], &results[0]["result"], &results[0]["workerId"], &results[0]["attempts"]);
            same("result", &result, &(&json!(true), &json!(7), &json!("c1"), &json!(1)))
        })
        .run();
}

#[test]
fn wc5_a_worker_that_is_gone_loses_its_tasks_at_once_which_uses_up_an_attempt() {
    begun()
        .step(up(C1, 9))
        .step(soon())
        .step(ext(2))
        .step(soon())
        .step(up(C2, 9))
        .step(Step::call(C1, "down", json!({})))
        .step(soon())
        .step(soon())
        .step(Step::call(C2, "finish", json!({})))
        .step(soon())
        .step(Step::call(C2, "down", json!({})))
        .step(soon())
        .check(|world| {
            let (status, results) = only_batch(world)?;
            same("status", &status["status"], &json!("partial"))?;
            same(
                "attempts",
                &results.iter().map(|result| number(result, "attempts")).collect::<Vec<_>>(),
                &vec![2, 2],
            )?;
            same("the last error", &results[1]["error"], &json!("worker c2 disconnected"))
        })
        .run();
}

#[test]
fn wc5_a_worker_that_vanishes_loses_its_tasks_when_its_lease_ends() {
    let vanished =
        || begun().step(up(C1, 9)).step(soon()).step(ext(1)).step(soon()).step(Step::call(C1, "vanish", json!({})));
    vanished()
        .step(Step::Pass { ms: 13_000 })
        .check(|world| {
            let (status, _) = only_batch(world)?;
            same("still running within the lease", &status["runningTasks"], &json!(1))
        })
        .run();
    vanished()
        .step(Step::Pass { ms: 16_000 })
        .check(|world| {
            let (status, _) = only_batch(world)?;
            same("queued again", &status["queuedTasks"], &json!(1))?;
            let id = submitted(world)?.pop().unwrap_or_default();
            let queued = items(world, "listTasks", &json!({"batchId": id, "state": "queued"}))?;
            same("attempts", &number(&queued[0], "attempts"), &1)?;
            same("its error", &queued[0]["error"], &json!("worker c1 was not heard of within its lease"))?;
            same("nobody handles it now", &queued[0]["unhandled"], &json!(true))?;
            let workers = world.call(MANAGER, "status", ())?;
            let c1 = (&workers["workers"][0]["id"], &workers["workers"][0]["connected"]);
            same("the worker", &c1, &(&json!("c1"), &json!(false)))
        })
        .run();
}

#[test]
fn fm7_a_result_with_a_stale_or_a_wrong_token_is_refused() {
    let forged = json!({"taskId": "t0", "token": "0123456789abcdef", "success": true, "result": 1});
    begun()
        .step(manager("updateConfig", &json!({"workerTimeout": 3_000, "maxRetries": 0})))
        .step(up(C1, 9))
        .step(soon())
        .step(ext(1))
        .step(soon())
        .step(Step::call(C1, "result", forged))
        .step(Step::Pass { ms: 3_500 })
        // It was told to drop the task; what it says nevertheless does not count.
        .step(Step::call(C1, "insist", json!({"taskId": "t0"})))
        .step(soon())
        .check(|world| {
            let (status, results) = only_batch(world)?;
            same("status", &status["status"], &json!("failed"))?;
            same("error", &results[0]["error"], &json!("timed out after 3000 ms"))?;
            let refused = |answer: &&Value| answer["accepted"] == json!(false);
            same("refusals", &answers(world, C1)?.iter().filter(refused).count(), &2)
        })
        .run();
}

#[test]
fn fm7_a_late_result_of_one_attempt_changes_nothing_of_the_next() {
    let late = |simulation: Simulation| {
        simulation
            .step(up(C1, 1))
            .step(soon())
            .step(submit(&json!({"tasks": [{"id": "t0", "type": "ext", "timeout": 1_000}]})))
            // The first attempt is over, and the second has begun.
            .step(Step::Pass { ms: 1_600 })
            .step(Step::call(C1, "insist", json!({"taskId": "t0"})))
            .step(Step::Pass { ms: 100 })
    };
    late(begun())
        .check(|world| {
            let (status, results) = only_batch(world)?;
            same("running", &(&status["runningTasks"], results.len()), &(&json!(1), 0))?;
            let last = answers(world, C1)?.pop().ok_or("no answer")?;
            same("the late one", &last["accepted"], &json!(false))
        })
        .run();
    late(begun())
        .step(Step::call(C1, "finish", json!({})))
        .step(soon())
        .check(|world| {
            let (status, results) = only_batch(world)?;
            same("status", &status["status"], &json!("completed"))?;
            let result = (&results[0]["result"], &results[0]["attempts"], results.len());
            same("what counts is the second", &result, &(&json!(7), &json!(2), 1))
        })
        .run();
}

#[test]
fn wc5_a_worker_that_comes_back_within_its_lease_goes_on_with_its_tasks() {
    begun()
        .step(up(C1, 9))
        .step(soon())
        .step(ext(3))
        .step(soon())
        .step(Step::Crash)
        .step(up(C1, 9))
        .step(soon())
        .step(Step::call(C1, "finish", json!({})))
        .step(soon())
        .step(Step::call(C1, "finish", json!({})))
        .step(soon())
        .step(Step::call(C1, "finish", json!({})))
        .step(soon())
        .check(|world| {
            let (status, results) = only_batch(world)?;
            same("status", &status["status"], &json!("completed"))?;
            same("attempts", &results.iter().map(|result| number(result, "attempts")).collect::<Vec<_>>(), &vec![1; 3])
        })
        .run();
}

#[test]
fn wc5_what_a_worker_says_of_itself_is_checked() {
    let text = |worker, payload| begun().step(Step::call(worker, "up", payload)).step(soon());
    for (payload, wanted) in [
        (json!({"capacity": 1_000_000_000}), "capacity is 1000000000; it must be a whole number from 1 to 1000"),
        (json!({"capacity": 0}), "capacity is 0; it must be"),
        (json!({"capacity": 1, "types": []}), "types must be 1 to 256 texts of 1 to 64 characters, or absent for any"),
    ] {
        text(C1, payload)
            .check(move |world| {
                let answers = answers(world, C1)?;
                let found = answers.iter().filter_map(Value::as_str).any(|answer| answer.starts_with(wanted));
                if found { Ok(()) } else { Err(format!("{wanted}: {answers:?}")) }
            })
            .run();
    }
    begun()
        .check(|world| {
            for method in ["workerReady", "workerHeartbeat", "workerProgress", "workerResults", "workerGone"] {
                let error = world.call(MANAGER, method, json!({"capacity": 1})).unwrap_err();
                same(method, &&*error, &"only a worker's connection, a child of this manager, may call this")?;
            }
            Ok(())
        })
        .run();
}

#[test]
fn wc4_the_status_has_every_worker_and_its_latest_metrics() {
    begun()
        .step(up(C1, 2))
        .step(up(C2, 3))
        .step(soon())
        .step(Step::call(C1, "beat", json!({"metrics": {"load": 0.5}})))
        .step(Step::call(C2, "down", json!({})))
        .step(soon())
        .check(|world| {
            let workers = world.call(MANAGER, "status", ())?;
            let seen = |n: usize, key: &str| workers["workers"][n][key].clone();
            same(
                "c1",
                &(seen(0, "id"), seen(0, "connected"), seen(0, "metrics")),
                &(json!("c1"), json!(true), json!({"load": 0.5})),
            )?;
            same(
                "c2",
                &(seen(1, "id"), seen(1, "connected"), seen(1, "metrics")),
                &(json!("c2"), json!(false), Value::Null),
            )?;
            if seen(0, "metricsAt").is_u64() { Ok(()) } else { Err(format!("when? {workers}")) }
        })
        .run();
}

#[test]
fn wc4_the_status_has_all_workers_or_a_page_of_them() {
    begun()
        .step(up(C1, 2))
        .step(up(C2, 3))
        .step(soon())
        .check(|world| {
            let page = |query: Value| world.call(MANAGER, "status", query);
            let ids = |page: &Value| -> Vec<String> {
                page["workers"].as_array().into_iter().flatten().map(|worker| worker["id"].to_string()).collect()
            };
            let all = page(Value::Null)?;
            same("all", &(ids(&all).len(), all.get("cursor")), &(2, None))?;
            let first = page(json!({"limit": 1}))?;
            let last = page(json!({"limit": 1, "cursor": first["cursor"]}))?;
            same("pages", &[ids(&first), ids(&last)].concat(), &ids(&all))?;
            same("the end", &last.get("cursor"), &None)
        })
        .run();
}

#[test]
fn wc4_the_status_names_the_tasks_of_a_worker_as_its_own_status_does() {
    let current = |world: &World<'_>| {
        let workers = world.call(MANAGER, "status", ())?;
        let mut tasks: Vec<Value> = workers["workers"][0]["currentTasks"].as_array().cloned().ok_or("no list")?;
        tasks.sort_by_key(Value::to_string);
        Ok::<_, String>(tasks)
    };
    let with_tasks = || begun().step(up(C1, 2)).step(soon()).step(ext(3)).step(soon());
    with_tasks().check(move |world| same("its tasks", &current(world)?, &vec![json!("t0"), json!("t1")])).run();
    with_tasks()
        .step(Step::call(C1, "down", json!({})))
        .step(soon())
        .check(move |world| same("when it is away", &current(world)?, &Vec::new()))
        .run();
}

#[test]
fn fm9_latencies_are_told_by_the_types_as_they_were_submitted() {
    const KINDS: [&str; 3] = ["50%", "a%2Fb", "a/b"];
    let finish = |simulation: Simulation| simulation.step(Step::call(C1, "finish", json!({}))).step(soon());
    let task = |kind: &&str| json!({"id": kind, "type": kind});
    let begun = begun()
        .step(Step::call(C1, "up", json!({"capacity": 9, "types": KINDS, "sessions": 1})))
        .step(soon())
        .step(submit(&json!({"tasks": KINDS.iter().map(task).collect::<Vec<_>>()})))
        .step(soon());
    KINDS
        .iter()
        .fold(begun, |simulation, _| finish(simulation))
        .check(|world| {
            let stats = world.call(MANAGER, "getStats", ())?;
            let latency = stats["latency"].as_object().ok_or("no latencies")?;
            let counts: Vec<_> =
                latency.iter().map(|(kind, latency)| (kind.as_str(), number(latency, "count"))).collect();
            same("latencies", &counts, &KINDS.map(|kind| (kind, 1)).to_vec())
        })
        .run();
}

#[test]
fn wc5_how_far_a_task_is_can_be_seen_and_the_newest_word_counts() {
    begun()
        .step(up(C1, 2))
        .step(soon())
        .step(ext(1))
        .step(soon())
        .step(Step::call(C1, "progress", json!({"percent": 10})))
        .step(Step::call(C1, "progress", json!({"percent": 20})))
        .step(soon())
        .step(Step::call(C1, "progress", json!("x".repeat(1_025))))
        .step(soon())
        .check(|world| {
            let id = submitted(world)?.pop().ok_or("no batch")?;
            let running = items(world, "listTasks", &json!({"batchId": id, "state": "running"}))?;
            let seen = (&running[0]["id"], &running[0]["progress"], &running[0]["workerId"]);
            same("progress", &seen, &(&json!("t0"), &json!({"percent": 20}), &json!("c1")))?;
            let refused = answers(world, C1)?.pop().ok_or("no answer")?;
            same("one that is too large", &refused, &json!("progress is 1027 bytes; the limit is 1024"))
        })
        .run();
}

#[test]
fn fm4_cancelling_tells_connected_workers_to_stop() {
    begun()
        .step(up(C1, 2))
        .step(soon())
        .step(ext(4))
        .step(soon())
        .step(Step::call("/u", "cancel", 0))
        .step(soon())
        .check(|world| {
            let connection = world.call(C1, "get", ())?;
            same("told to stop", &connection["cancelled"].as_array().map(Vec::len), &Some(2))?;
            same("running", &tasks(world, C1)?, &0)?;
            let (status, _) = only_batch(world)?;
            same("status", &status["status"], &json!("cancelled"))
        })
        .run();
}

/// A manager that hands out as much as there is.
fn roomy() -> Simulation {
    roomy_with(1)
}

fn roomy_with(seed: u64) -> Simulation {
    begun_with(seed).step(manager("scaleWorkers", &json!({"count": 1_000}))).step(soon())
}

fn finish(count: usize) -> Step {
    Step::call(C1, "finish", json!({ "count": count }))
}

/// How many tasks each call gave the worker.
fn calls(world: &World<'_>) -> Result<Value, String> {
    Ok(world.call(C1, "get", ())?["calls"].clone())
}

#[test]
fn wc5_tasks_of_one_turn_are_given_in_one_call() {
    roomy()
        .step(up(C1, 1_000))
        .step(soon())
        .step(ext(30))
        .step(soon())
        .step(ext(250))
        .step(soon())
        .check(|world| same("tasks a call", &calls(world)?, &json!([30, 100, 100, 50])))
        .run();
    // And so are those that follow results.
    roomy()
        .step(up(C1, 40))
        .step(soon())
        .step(ext(100))
        .step(soon())
        .step(finish(40))
        .step(soon())
        .step(finish(40))
        .step(soon())
        .step(finish(40))
        .step(soon())
        .check(|world| {
            same("tasks a call", &calls(world)?, &json!([40, 40, 20]))?;
            same("completed", &only_batch(world)?.0["completedTasks"], &json!(100))
        })
        .run();
}

#[test]
fn wc5_what_a_call_gives_is_bounded_in_bytes() {
    let task = |n: usize, bytes: usize| json!({"id": format!("t{n}"), "type": "ext", "data": "x".repeat(bytes)});
    let sizes = [200_000, 200_000, 200_000, 1_000_000, 1_000];
    let tasks: Vec<_> = sizes.into_iter().enumerate().map(|(n, bytes)| task(n, bytes)).collect();
    roomy()
        .step(up(C1, 9))
        .step(soon())
        .step(manager("submitBatch", &json!({ "tasks": tasks })))
        .step(soon())
        .check(|world| same("tasks a call", &calls(world)?, &json!([2, 1, 1, 1])))
        .run();
}

#[test]
fn wc5_what_no_worker_can_be_told_of_does_not_run() {
    let tasks =
        |count: usize| json!((0..count).map(|n| json!({"id": format!("t{n}"), "type": "ext"})).collect::<Vec<_>>());
    // The manager's own calls would lie too deep.
    let deep = |ms| {
        roomy()
            .step(up(C1, 5))
            .step(soon())
            .step(Step::call("/u", "submitDeep", json!({"depth": 31, "tasks": tasks(7)})))
            .step(Step::Pass { ms })
    };
    deep(300)
        .check(|world| {
            let batch = world.call(MANAGER, "listBatches", json!({}))?["items"][0].clone();
            same("running", &number(&batch, "runningTasks"), &0)?;
            same("queued", &number(&batch, "queuedTasks"), &7)?;
            same("tasks a call", &calls(world)?, &json!([]))
        })
        .run();
    deep(3_000)
        .step(finish(5))
        .step(soon())
        .step(finish(5))
        .step(soon())
        .check(|world| {
            same("tasks a call", &calls(world)?, &json!([5, 2]))?;
            let id = world.call(MANAGER, "listBatches", json!({}))?["items"][0]["batchId"].clone();
            let results = items(world, "getBatchResults", &json!({ "batchId": id }))?;
            let attempts: Vec<_> = results.iter().map(|result| number(result, "attempts")).collect();
            same("attempts", &attempts, &vec![1; 7])
        })
        .run();
}

#[test]
fn fm7_each_result_of_a_bunch_is_judged_for_itself() {
    let forged = json!({"taskId": "t0", "token": "0123456789abcdef", "success": true, "result": 1});
    roomy()
        .step(up(C1, 9))
        .step(soon())
        .step(ext(4))
        .step(soon())
        .step(Step::call(C1, "finish", json!({"count": 4, "before": [forged], "twice": true})))
        .step(soon())
        .check(|world| {
            let verdicts = answers(world, C1)?;
            let verdicts: Vec<_> = verdicts.iter().filter_map(|verdict| verdict["accepted"].as_bool()).collect();
            same("verdicts", &verdicts, &vec![false, true, true, true, true, false])?;
            let (status, results) = only_batch(world)?;
            same("status", &(&status["status"], results.len()), &(&json!("completed"), 4))
        })
        .run();
}

#[test]
fn fm4_a_batch_that_is_cancelled_while_a_bunch_is_under_way_is_exact() {
    for seed in 0..20 {
        for steps in [[finish(3), Step::call("/u", "cancel", 0)], [Step::call("/u", "cancel", 0), finish(3)]] {
            let begun = roomy_with(seed).step(up(C1, 4)).step(soon()).step(ext(6)).step(soon());
            steps
                .into_iter()
                .fold(begun, Simulation::step)
                .step(soon())
                .step(up(C1, 4))
                .step(soon())
                .check(|world| {
                    let (status, results) = only_batch(world)?;
                    let counted = number(&status, "completedTasks");
                    same("status", &status["status"], &json!("cancelled"))?;
                    same("results", &(results.len() as u64), &counted)?;
                    same("all of a bunch or none of it", &(counted % 3), &0)?;
                    same("what the worker has", &tasks(world, C1)?, &0)
                })
                .run();
        }
    }
}

#[test]
fn fm10_a_bunch_whose_commit_fails_or_that_a_crash_meets_counts_once() {
    Simulation::seeds(0..20, |seed| {
        let begun = roomy_with(seed).step(up(C1, 6)).step(soon()).step(ext(6)).step(soon());
        let trouble = if seed % 2 == 0 { [Step::CommitFails, finish(6)] } else { [finish(6), Step::Crash] };
        let troubled = trouble.into_iter().fold(begun, Simulation::step);
        // Whoever was not acknowledged says it again.
        (0..3).flat_map(|_| [up(C1, 6), soon(), finish(6), soon()]).fold(troubled.step(soon()), Simulation::step).check(
            |world| {
                let (status, results) = only_batch(world)?;
                same("status", &(&status["status"], results.len()), &(&json!("completed"), 6))
            },
        )
    });
}

#[test]
fn wc5_a_turn_judges_no_more_results_than_it_can_write() {
    let task = |n: usize| json!({"id": format!("t{n}"), "type": "ext", "retries": 0, "data": "x".repeat(1_000_000)});
    roomy()
        .step(up(C1, 9))
        .step(soon())
        .step(manager("submitBatch", &json!({ "tasks": (0..8).map(task).collect::<Vec<_>>() })))
        .step(soon())
        .step(Step::call(C1, "finish", json!({"count": 8, "success": false})))
        .step(soon())
        .check(|world| {
            let judged = answers(world, C1)?.iter().filter(|answer| answer["accepted"] == json!(true)).count();
            let failed = number(&world.call(MANAGER, "getStats", json!({}))?, "failedTasks");
            same("failed", &failed, &(judged as u64))?;
            if (1..8).contains(&judged) { Ok(()) } else { Err(format!("{judged} of 8 in one turn")) }
        })
        .run();
}
