//! Pages of tasks in a state which lie among others.

use super::*;
use crate::limits::{LIST_ROWS, PAGE_LISTS};

/// Two batches: of the tasks of each, which have no retries, these fail.
fn ended(tasks: usize, fails: impl Fn(usize) -> bool) -> Simulation {
    let task = |n: usize| {
        let deed = if fails(n) { "fail" } else { "ok" };
        json!({"id": format!("t{n:05}"), "type": "http", "retries": 0, "data": {"do": deed}})
    };
    let tasks = json!({"tasks": (0..tasks).map(task).collect::<Vec<_>>()});
    simulation(1)
        .step(Step::call("/u", "begin", ()))
        .step(Step::Settle)
        .step(manager("scaleWorkers", &json!({"count": 1})))
        .step(Step::Settle)
        .step(submit(&tasks))
        .step(submit(&tasks))
        .step(Step::Pass { ms: 10_000 })
        .step(Step::Settle)
}

/// The ids on each page of a list.
fn pages(world: &World<'_>, state: &str, limit: usize) -> Result<Vec<Vec<String>>, String> {
    let batch = submitted(world)?.pop().ok_or("no batch")?;
    let (mut pages, mut query) = (Vec::new(), json!({"batchId": batch, "state": state, "limit": limit}));
    loop {
        let page = world.call(MANAGER, "listTasks", &query)?;
        let id = |item: &Value| item.get("taskId").or(item.get("id")).and_then(Value::as_str).unwrap_or("?").to_owned();
        pages.push(page["items"].as_array().ok_or("no items")?.iter().map(id).collect());
        match page.get("cursor") {
            Some(cursor) => query["cursor"] = cursor.clone(),
            None => return Ok(pages),
        }
    }
}

fn lengths(pages: &[Vec<String>]) -> Vec<usize> {
    pages.iter().map(Vec::len).collect()
}

#[test]
fn fm3_pages_of_tasks_that_completed_are_full_though_others_failed_between() {
    ended(40, |n| n % 4 != 1)
        .check(|world| {
            let pages = pages(world, "completed", 4)?;
            same("lengths", &lengths(&pages), &vec![4, 4, 2])?;
            let wanted: Vec<String> = (0..10).map(|n| format!("t{:05}", 4 * n + 1)).collect();
            same("tasks", &pages.concat(), &wanted)
        })
        .run();
    // The last row is one of them, and nothing follows.
    ended(8, |n| n % 2 == 0)
        .check(|world| same("lengths", &lengths(&pages(world, "completed", 2)?), &vec![2, 2]))
        .run();
}

#[test]
fn fm3_a_page_looks_at_so_many_tasks_and_goes_on_behind_them() {
    let far = 1 + (PAGE_LISTS - 1) * LIST_ROWS;
    ended(far + 1, move |n| n != far)
        .check(move |world| {
            // The first call looks at as many rows as the page has items, and at whole lists after that.
            same("a page of one", &lengths(&pages(world, "completed", 1)?), &vec![0, 1])?;
            same("a page of two", &lengths(&pages(world, "completed", 2)?), &vec![1])
        })
        .run();
}

#[test]
fn fm3_pages_of_tasks_that_wait_for_a_retry_are_full_though_those_of_others_lie_between() {
    let task = |n: usize| json!({"id": format!("t{n:05}"), "type": "http", "data": {"do": "fail"}});
    let tasks = json!({"tasks": (0..7).map(task).collect::<Vec<_>>()});
    simulation(1)
        .step(Step::call("/u", "begin", ()))
        .step(Step::Settle)
        .step(manager("updateConfig", &json!({"retryBackoff": {"initialMs": 600_000, "maxMs": 600_000}})))
        .step(Step::Settle)
        .step(submit(&tasks))
        .step(submit(&tasks))
        .step(submit(&tasks))
        .step(Step::Pass { ms: 5_000 })
        .check(|world| {
            let pages = pages(world, "retrying", 3)?;
            same("lengths", &lengths(&pages), &vec![3, 3, 1])?;
            let mut all = pages.concat();
            all.sort_unstable();
            same("tasks", &all, &(0..7).map(|n| format!("t{n:05}")).collect())
        })
        .run();
}
