//! What a worker says while the manager has not answered goes with the next question, and none of it is lost.

use super::*;

const TASKS: u64 = 120;

/// A worker that has been given so many tasks, below a manager that does not answer this method before it is released.
fn held(method: &str, tasks: u64) -> Vec<Step> {
    let given: Vec<Value> = (1..=tasks).map(task).collect();
    let mut steps = vec![connect(1), ready(1, tasks), pass(1_000)];
    steps.extend([Step::call("/", "assign", json!({"tasks": given})), Step::Settle]);
    steps.extend([Step::call("/", "hold", method), Step::Settle]);
    steps
}

fn release() -> [Step; 2] {
    [Step::call("/", "release", ()), pass(1_000)]
}

fn done(token: &str) -> Step {
    say(1, "result", json!({"taskId": token.replace('k', "t"), "token": token, "success": true}))
}

fn ack(token: &str, accepted: bool) -> Value {
    let mut ack = json!({"taskId": token.replace('k', "t"), "token": token, "accepted": accepted});
    if !accepted {
        ack["reason"] = json!("stale");
    }
    ack
}

/// The tokens of each question about results.
fn questions(world: &World<'_>) -> Result<Vec<Vec<String>>, String> {
    let token = |result: &Value| result["token"].as_str().unwrap().to_owned();
    let told = told(world, "workerResults")?;
    Ok(told.iter().map(|told| told["results"].as_array().unwrap().iter().map(token).collect()).collect())
}

#[test]
fn wc5_one_question_about_results_is_under_way_at_a_time() {
    let all: Vec<String> = (1..=TASKS).map(|number| format!("k{number}")).collect();
    let steps: Vec<_> = held("workerResults", TASKS).into_iter().chain(all.iter().map(|token| done(token))).collect();
    let first = all[..1].to_vec();
    run(simulation, steps.clone().into_iter().chain([pass(5_000)]), move |world| {
        expect(&questions(world)?, &vec![first.clone()])?;
        expect(&acks(world, 1), &vec![])
    });
    run(simulation, steps.into_iter().chain(release()), move |world| {
        let questions = questions(world)?;
        expect(&questions.iter().map(Vec::len).collect::<Vec<_>>(), &vec![1, 100, 19])?;
        expect(&questions.concat(), &all)?;
        expect(&acks(world, 1), &all.iter().map(|token| ack(token, true)).collect())
    });
}

#[test]
fn wc5_a_question_about_results_is_bounded_in_bytes() {
    let large = |token: &str| {
        let result = json!({"taskId": "t", "token": token, "success": true, "result": "x".repeat(200_000)});
        say(1, "result", result)
    };
    let alone =
        say(1, "result", json!({"taskId": "t", "token": "k6", "success": true, "result": "x".repeat(1_000_000)}));
    let results = [done("k1"), large("k2"), large("k3"), large("k4"), large("k5"), alone, done("k7")];
    run(simulation, held("workerResults", 9).into_iter().chain(results).chain(release()), |world| {
        let expected = [&["k1"][..], &["k2", "k3"], &["k4", "k5"], &["k6"], &["k7"]];
        expect(
            &questions(world)?,
            &expected.iter().map(|told| told.iter().map(ToString::to_string).collect()).collect(),
        )
    });
}

#[test]
fn fm7_each_result_of_a_bunch_has_its_own_verdict() {
    let results = ["k1", "k2", "k2", "stale1", "k3", "k1"];
    let steps = held("workerResults", 3).into_iter().chain(results.map(done)).chain(release());
    run(simulation, steps, |world| {
        let verdicts = [("k1", true), ("k2", true), ("k2", false), ("stale1", false), ("k3", true), ("k1", false)];
        expect(&acks(world, 1), &verdicts.map(|(token, accepted)| ack(token, accepted)).to_vec())?;
        expect(&world.call("/", "counted", ())?, &json!(["k1", "k2", "k3"]))
    });
}

#[test]
fn fm10_a_bunch_whose_answer_is_lost_is_told_again_and_counts_once() {
    // The manager has counted the first, and its answer comes too late.
    let steps = [held("workerResults", 3), vec![done("k1"), done("k2"), done("k3"), pass(31_000)]].concat();
    let late = [Step::call("/", "hold", "nothing"), pass(30_000)];
    let steps = steps.into_iter().chain(late).chain(release());
    run(simulation, steps, |world| {
        let lost = [&["k1"][..], &["k1", "k2", "k3"], &["k1", "k2", "k3"]];
        expect(&questions(world)?, &lost.iter().map(|told| told.iter().map(ToString::to_string).collect()).collect())?;
        expect(&world.call("/", "counted", ())?, &json!(["k1", "k2", "k3"]))?;
        // That it was counted before, nobody can tell the worker.
        expect(&acks(world, 1), &["k1", "k2", "k3"].map(|token| ack(token, false)).to_vec())
    });
}

#[test]
fn wc5_what_a_manager_had_no_room_to_judge_it_is_told_at_once_again() {
    let results = ["k1", "k2", "k3", "k4", "k5", "k6"];
    for (judges, sizes) in [(2, vec![1, 5, 3, 1]), (4, vec![1, 5, 1])] {
        let limit = [Step::call("/", "judges", judges), Step::Settle];
        let release = [Step::call("/", "release", ()), pass(200)];
        run(simulation, limit.into_iter().chain(held("workerResults", 6)).chain(results.map(done)).chain(release), {
            move |world| {
                expect(&questions(world)?.iter().map(Vec::len).collect(), &sizes)?;
                expect(&acks(world, 1), &results.map(|token| ack(token, true)).to_vec())
            }
        });
    }
}

#[test]
fn wc5_a_bunch_that_is_refused_is_told_again_with_what_came_since_and_in_order() {
    let refused = [Step::call("/", "refuse", 1), Step::Settle, done("k1"), Step::Settle];
    let steps = held("nothing", 3).into_iter().chain(refused).chain([done("k2"), done("k3"), pass(1_000)]);
    run(simulation, steps, |world| {
        let expected = vec![vec!["k1".to_owned()], ["k1", "k2", "k3"].map(str::to_owned).to_vec()];
        expect(&questions(world)?, &expected)?;
        expect(&acks(world, 1), &["k1", "k2", "k3"].map(|token| ack(token, true)).to_vec())
    });
}

#[test]
fn wc5_a_worker_is_gone_only_behind_the_results_that_it_left() {
    let methods = |world: &World<'_>| -> Result<Vec<String>, String> {
        let told: Vec<(String, Value)> = serde_json::from_value(world.call("/", "told", ())?).unwrap();
        Ok(told.into_iter().map(|(method, _)| method).filter(|method| *method != "answer").collect())
    };
    let results = [done("k1"), done("k2"), done("k3")];
    let left = held("workerResults", 4).into_iter().chain(results).chain([Step::Vanish { client: 1 }, pass(5_000)]);
    run(simulation, left.clone(), move |world| {
        expect(&methods(world)?.join(" "), &"workerReady workerResults".to_owned())
    });
    run(simulation, left.clone().chain(release()), move |world| {
        expect(&methods(world)?.join(" "), &"workerReady workerResults workerResults workerGone".to_owned())?;
        expect(&world.call("/", "counted", ())?, &json!(["k1", "k2", "k3"]))
    });
    // One that comes back before that was never gone, and what it says that it runs is not lost.
    let back = [connect(1), say(1, "ready", json!({"capacity": 4, "running": ["k4"]})), pass(100)];
    run(simulation, left.chain(back).chain(release()), move |world| {
        expect(&told(world, "workerGone")?, &vec![])?;
        let running = json!(["k4", "k1", "k2", "k3"]);
        expect(&told(world, "workerReady")?[1]["running"], &running)?;
        expect(&acks(world, 1), &["k1", "k2", "k3"].map(|token| ack(token, true)).to_vec())
    });
}

#[test]
fn fm4_what_is_cancelled_while_its_result_is_under_way_is_judged_by_the_manager() {
    let cancelled = [Step::call("/", "cancelTasks", json!({"tokens": ["k1", "k2", "stale3"]})), Step::Settle];
    let results = [done("k1"), done("k2"), done("stale3")];
    run(simulation, held("workerResults", 3).into_iter().chain(results).chain(cancelled).chain(release()), |world| {
        let verdicts = [("k1", true), ("k2", true), ("stale3", false)];
        expect(&acks(world, 1), &verdicts.map(|(token, accepted)| ack(token, accepted)).to_vec())
    });
}

#[test]
fn wc5_progress_of_many_tasks_is_told_in_one_question_at_a_time() {
    let far = |number: u64, percent: u64| {
        say(1, "progress", json!({"taskId": format!("t{number}"), "token": format!("k{number}"), "progress": percent}))
    };
    let said = (1..=2).flat_map(|percent| (1..=20).map(move |number| far(number, percent)));
    let steps = held("workerProgress", 20).into_iter().chain(said).chain([done("k7")]).chain(release());
    run(simulation, steps, |world| {
        let told = told(world, "workerProgress")?;
        expect(&told.len(), &2)?;
        let of = |number: u64, percent: u64| json!({"taskId": format!("t{number}"), "token": format!("k{number}"), "progress": percent});
        expect(&told[0]["progress"], &json!([of(1, 1)]))?;
        // The newest word of each, but not of one that is over.
        let mut newest: Vec<Value> = told[1]["progress"].as_array().unwrap().clone();
        newest.sort_by_key(|progress| progress["taskId"].as_str().unwrap()[1..].parse::<u64>().unwrap());
        expect(&newest, &(1..=20).filter(|number| *number != 7).map(|number| of(number, 2)).collect())
    });
}
