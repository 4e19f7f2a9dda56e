//! `coordinator`: its ten methods over HTTP, what a page costs, what a restart keeps; and against a plain list, whatever fails.

use std::fmt::Write as _;

use fleet::class::Coordinator;
use fleet::server::Builder;
use fleet::sim::{Random, Simulation, Step, World};
use fleet::{Class, Error, ObjectPath, RawValue, Turn, json as encode, read};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::{Server, eventually};

const AT: &str = "/results";

fn server() -> Builder {
    fleet::Server::builder().route(AT, "coordinator").route("/sender", "sender").class::<Sender>()
}

/// Sends what it is told to.
#[derive(Default, Serialize, Deserialize)]
struct Sender;

impl Class for Sender {
    const NAME: &'static str = "sender";

    fn call(&mut self, turn: &mut Turn<'_>, _: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let to = ObjectPath::parse(AT).map_err(|error| Error::bad_request(error.to_string()))?;
        read::<Vec<Value>>(payload)?.iter().try_for_each(|message| turn.send(&to, message))?;
        encode(&())
    }
}

fn submission(worker: &str, task: &str, success: bool, more: &Value) -> Value {
    let mut result = json!({"taskId": task, "success": success});
    result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"workerId": worker, "result": result})
}

async fn submit(server: &Server, worker: &str, task: &str, success: bool, more: Value) {
    assert_eq!(server.call(AT, "submitResult", submission(worker, task, success, &more)).await, json!({}));
}

/// The tasks of a page, and its cursor.
fn tasks(page: &Value) -> (Vec<&str>, Option<&str>) {
    let items = page["items"].as_array().unwrap();
    (items.iter().map(|item| item["taskId"].as_str().unwrap()).collect(), page["cursor"].as_str())
}

async fn listed(server: &Server, method: &str, query: Value) -> Vec<String> {
    let page = server.call(AT, method, query).await;
    let (tasks, cursor) = tasks(&page);
    assert_eq!(cursor, None);
    tasks.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn coordinator_submit_result_is_listed_as_it_was_given() {
    let server = Server::built(server);
    let whole = json!({"taskId": "t1", "success": true, "result": {"b": [1, 2.50], "a": null}, "duration": 12.5,
        "timestamp": 1_000, "attempts": 3});
    let payload = json!({"workerId": "/jobs/w1", "taskType": "resize", "result": whole});
    server.call(AT, "submitResult", payload).await;
    let mut failed = json!({"error": "no disk", "taskType": "print", "timestamp": 2_000, "unknown": 1});
    submit(&server, "w2", "t2", false, failed.clone()).await;
    let mut kept = whole;
    kept["workerId"] = json!("/jobs/w1");
    kept["taskType"] = json!("resize");
    failed.as_object_mut().unwrap().remove("unknown");
    failed.as_object_mut().unwrap().extend(
        json!({"taskId": "t2", "success": false, "duration": 0, "attempts": 1, "workerId": "w2"})
            .as_object()
            .unwrap()
            .clone(),
    );
    assert_eq!(server.call(AT, "getResults", json!(null)).await, json!({"items": [kept, failed]}));
}

#[tokio::test]
async fn coordinator_submit_result_without_a_time_is_of_now() {
    let server = Server::built(server);
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let before = now();
    submit(&server, "w1", "t1", true, json!({})).await;
    let page = server.call(AT, "getResults", json!({})).await;
    let timestamp = u128::from(page["items"][0]["timestamp"].as_u64().unwrap());
    assert!(before <= timestamp && timestamp <= now(), "{timestamp}");
}

#[tokio::test]
async fn coordinator_submit_result_refuses_what_is_none() {
    let server = Server::built(server);
    let long = "x".repeat(1_025);
    for (payload, text) in [
        (json!(null), "invalid payload"),
        (json!({"workerId": "w1"}), "missing field `result`"),
        (json!({"result": {"taskId": "t", "success": true}}), "missing field `workerId`"),
        (submission("", "t", true, &json!({})), "workerId must not be empty"),
        (submission(&long, "t", true, &json!({})), "workerId is 1025 bytes; the limit is 1024"),
        (submission("w", "", true, &json!({})), "taskId must not be empty"),
        (submission("w", &long, true, &json!({})), "taskId is 1025 characters; the limit is 128"),
        (submission("w", "t", true, &json!({"taskType": long})), "taskType is 1025 characters; the limit is 64"),
        (submission("w", "t", true, &json!({"duration": -1})), "duration is -1; it must be milliseconds, 0 or more"),
        (submission("w", "t", true, &json!({"timestamp": "now"})), "invalid payload"),
    ] {
        server.post(&format!("{AT}:submitResult")).json(&payload).await.fails_saying(400, text, "bad_request");
    }
    assert_eq!(server.call(AT, "getCount", json!(null)).await, json!(0));
}

#[tokio::test]
async fn coordinator_filters_alone_and_combined() {
    let server = Server::built(server);
    for (index, (worker, kind, success)) in
        [("a", "x", true), ("b", "x", false), ("a", "y", true), ("a", "x", false), ("ab", "x", true), ("b", "", true)]
            .into_iter()
            .enumerate()
    {
        let mut more = json!({"timestamp": 1_000 * (index + 1)});
        if !kind.is_empty() {
            more["taskType"] = json!(kind);
        }
        submit(&server, worker, &index.to_string(), success, more).await;
    }
    for (query, found) in [
        (json!(null), "012345"),
        (json!({}), "012345"),
        (json!({"workerId": null, "success": null, "taskType": null, "since": null}), "012345"),
        (json!({"workerId": "a"}), "023"),
        (json!({"workerId": "b"}), "15"),
        (json!({"workerId": "nobody"}), ""),
        (json!({"success": false}), "13"),
        (json!({"taskType": "x"}), "0134"),
        (json!({"taskType": "nothing"}), ""),
        (json!({"since": 3_000}), "2345"),
        (json!({"since": 3_001}), "345"),
        (json!({"since": 9_000}), ""),
        (json!({"workerId": "a", "taskType": "x"}), "03"),
        (json!({"workerId": "a", "success": true}), "02"),
        (json!({"workerId": "a", "success": true, "taskType": "x"}), "0"),
        (json!({"workerId": "a", "success": true, "taskType": "x", "since": 2_000}), ""),
        (json!({"success": true, "taskType": "x", "since": 2_000}), "4"),
    ] {
        let tasks = listed(&server, "getResults", query.clone()).await.concat();
        assert_eq!(tasks, found, "{query}");
    }
    let refused = server.post(&format!("{AT}:getResults")).json(&json!({"worker": "a"})).await;
    refused.fails_saying(400, "unknown field `worker`", "bad_request");
}

#[tokio::test]
async fn coordinator_get_successful_failed_and_by_worker() {
    let server = Server::built(server);
    for (task, worker, success) in [("1", "a", true), ("2", "b", false), ("3", "b", true), ("4", "a", false)] {
        submit(&server, worker, task, success, json!({})).await;
    }
    assert_eq!(listed(&server, "getSuccessfulResults", json!(null)).await, ["1", "3"]);
    assert_eq!(listed(&server, "getSuccessfulResults", json!({"workerId": "b"})).await, ["3"]);
    assert_eq!(listed(&server, "getFailedResults", json!({})).await, ["2", "4"]);
    assert_eq!(listed(&server, "getFailedResults", json!({"success": true})).await, ["2", "4"], "its name says it");
    assert_eq!(listed(&server, "getResultsByWorker", json!({"workerId": "b"})).await, ["2", "3"]);
    let refused = server.post(&format!("{AT}:getResultsByWorker")).json(&json!({})).await;
    refused.fails(400, "workerId required", "bad_request");
}

#[tokio::test]
async fn coordinator_get_recent_results_by_a_while_or_a_time() {
    let server = Server::built(server);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let now = u64::try_from(now).unwrap();
    for (task, ago) in [("old", 7_200_000), ("hour", 3_600_000), ("new", 0)] {
        submit(&server, "w", task, true, json!({"timestamp": now - ago})).await;
    }
    assert_eq!(listed(&server, "getRecentResults", json!({"sinceMs": 1_800_000})).await, ["new"]);
    assert_eq!(listed(&server, "getRecentResults", json!({"sinceMs": 5_400_000})).await, ["hour", "new"]);
    assert_eq!(listed(&server, "getRecentResults", json!({"sinceMs": now - 3_600_000})).await, ["hour", "new"]);
    assert_eq!(listed(&server, "getRecentResults", json!({"sinceMs": 86_400_000})).await.len(), 3);
    let refused = server.post(&format!("{AT}:getRecentResults")).json(&json!(null)).await;
    refused.fails(400, "sinceMs required", "bad_request");
}

#[tokio::test]
async fn coordinator_summary_count_and_success_rate() {
    let server = Server::built(server);
    let nothing = json!({"totalResults": 0, "successCount": 0, "failureCount": 0, "averageDuration": 0.0,
        "oldestResult": null, "newestResult": null});
    assert_eq!(server.call(AT, "getSummary", json!(null)).await, nothing);
    assert_eq!(server.call(AT, "getSuccessRate", json!(null)).await, json!(0.0));
    for (task, success, duration, timestamp) in
        [("1", true, 10, 2_000), ("2", false, 20, 1_000), ("3", true, 60, 3_000)]
    {
        submit(&server, "w", task, success, json!({"duration": duration, "timestamp": timestamp})).await;
    }
    let summary = json!({"totalResults": 3, "successCount": 2, "failureCount": 1, "averageDuration": 30.0,
        "oldestResult": 1_000, "newestResult": 3_000});
    assert_eq!(server.call(AT, "getSummary", json!(null)).await, summary);
    assert_eq!(server.call(AT, "getCount", json!(null)).await, json!(3));
    let rate = server.call(AT, "getSuccessRate", json!(null)).await.as_f64().unwrap();
    assert!((rate - 200.0 / 3.0).abs() < 1e-9, "{rate}");
    assert_eq!(server.state(AT).await, json!({"class": "coordinator", "summary": summary}));
}

#[tokio::test]
async fn coordinator_pages_hold_what_was_asked_for_and_go_on() {
    let server = Server::built(server);
    for index in 0..7 {
        submit(&server, ["a", "b"][index % 2], &index.to_string(), index % 3 != 0, json!({})).await;
    }
    let page = async |query: Value| server.call(AT, "getResults", query).await;
    let first = page(json!({"limit": 3})).await;
    let (found, cursor) = tasks(&first);
    assert_eq!(found, ["0", "1", "2"]);
    // What arrives meanwhile is on a later page.
    submit(&server, "a", "7", true, json!({"timestamp": 1})).await;
    let second = page(json!({"limit": 3, "cursor": cursor.unwrap()})).await;
    assert_eq!(tasks(&second).0, ["3", "4", "5"]);
    let last = page(json!({"limit": 3, "cursor": tasks(&second).1.unwrap()})).await;
    assert_eq!(tasks(&last), (vec!["6", "7"], None));
    // The newest first: what arrives meanwhile stands before all of them.
    let newest = page(json!({"limit": 3, "order": "newest"})).await;
    assert_eq!(tasks(&newest).0, ["7", "6", "5"]);
    submit(&server, "b", "8", false, json!({})).await;
    let before = page(json!({"limit": 5, "order": "newest", "cursor": tasks(&newest).1.unwrap()})).await;
    assert_eq!(tasks(&before), (vec!["4", "3", "2", "1", "0"], None));
    // A cursor is a place, from which one can go either way.
    let back = page(json!({"limit": 9, "order": "oldest", "cursor": tasks(&newest).1.unwrap()})).await;
    assert_eq!(tasks(&back), (vec!["6", "7", "8"], None));
    for (order, cursor) in [("newest", "0"), ("oldest", "8"), ("oldest", "18446744073709551614")] {
        assert_eq!(tasks(&page(json!({"order": order, "cursor": cursor})).await), (vec![], None), "{order} {cursor}");
    }
    let exact = page(json!({"limit": 9})).await;
    assert_eq!(tasks(&exact), (vec!["0", "1", "2", "3", "4", "5", "6", "7", "8"], None));
    for (query, text) in [
        (json!({"limit": 0}), "limit is 0; it must be 1 to 1000"),
        (json!({"limit": 1_001}), "limit is 1001; it must be 1 to 1000"),
        (json!({"cursor": "first"}), "cursor: it must be that of a page before"),
        (json!({"cursor": "18446744073709551615"}), "cursor: it must be that of a page before"),
        (json!({"order": "first"}), "invalid payload: unknown variant `first`, expected `oldest` or `newest`"),
    ] {
        server.post(&format!("{AT}:getResults")).json(&query).await.fails_saying(400, text, "bad_request");
    }
}

#[tokio::test]
async fn coordinator_a_page_of_large_results_is_short() {
    let server = Server::built(server);
    for task in ["1", "2", "3", "4", "5"] {
        submit(&server, "w", task, true, json!({"result": "x".repeat(1_000_000)})).await;
    }
    let first = server.call(AT, "getResults", json!(null)).await;
    assert_eq!(tasks(&first).0, ["1", "2", "3", "4"]);
    let rest = server.call(AT, "getResults", json!({"cursor": tasks(&first).1.unwrap()})).await;
    assert_eq!(tasks(&rest), (vec!["5"], None));
}

#[tokio::test]
async fn coordinator_takes_results_as_messages_and_tells_its_sockets() {
    let server = Server::built(server);
    let mut viewer = server.socket(AT).await;
    viewer.json().await;
    let result =
        json!({"workerId": "w1", "taskType": "x", "result": {"taskId": "t1", "success": true, "timestamp": 5}});
    server.call("/sender", "send", json!([{"submitResult": result}])).await;
    let summary = json!({"totalResults": 1, "successCount": 1, "failureCount": 0, "averageDuration": 0.0,
        "oldestResult": 5, "newestResult": 5});
    viewer.expect(json!({"type": "state", "payload": {"class": "coordinator", "summary": summary}})).await;
    // What is no result is for whoever looks on; what is a wrong one is in the log.
    server.call("/sender", "send", json!([{"submitResult": {"workerId": "w1"}}, {"other": 1}])).await;
    let said = viewer.json().await;
    assert_eq!((said["type"].as_str(), &said["payload"]["message"]), (Some("message"), &json!({"other": 1})), "{said}");
    assert_eq!(listed(&server, "getResults", json!({"taskType": "x"})).await, ["t1"]);
}

#[tokio::test]
async fn coordinator_clear_forgets_everything_and_goes_on() {
    let mut server = Server::built(server);
    for task in ["1", "2", "3"] {
        submit(&server, "w", task, true, json!({"timestamp": 9_000, "taskType": "x"})).await;
    }
    let page = server.call(AT, "getResults", json!({"limit": 2})).await;
    let cursor = tasks(&page).1.unwrap().to_owned();
    assert_eq!(server.call(AT, "clear", json!(null)).await, json!({"cleared": 3}));
    for restarts in 0..2 {
        assert_eq!(listed(&server, "getResults", json!({"workerId": "w"})).await, [""; 0]);
        let summary = server.call(AT, "getSummary", json!(null)).await;
        assert_eq!((&summary["totalResults"], &summary["newestResult"]), (&json!(0), &json!(null)));
        if restarts == 0 {
            server.restart();
        }
    }
    submit(&server, "w", "4", false, json!({"timestamp": 5_000, "taskType": "x"})).await;
    for query in [json!(null), json!({"cursor": cursor}), json!({"since": 4_000}), json!({"taskType": "x"})] {
        assert_eq!(listed(&server, "getResults", query).await, ["4"]);
    }
    assert_eq!(server.call(AT, "clear", json!(null)).await, json!({"cleared": 1}));
    assert_eq!(server.call(AT, "clear", json!(null)).await, json!({"cleared": 0}));
}

#[tokio::test]
async fn coordinator_survives_a_restart() {
    let mut server = Server::built(server);
    for index in 0..20_u64 {
        let kind = if index % 2 == 0 { "x" } else { "y" };
        let more = json!({"timestamp": 1_000 + index, "duration": index, "taskType": kind});
        submit(&server, "w", &index.to_string(), index % 4 != 0, more).await;
    }
    let queries = [json!(null), json!({"taskType": "y", "success": true}), json!({"since": 1_010, "workerId": "w"})];
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut all = vec![server.state(AT).await];
        for query in &queries {
            all.push(server.call(AT, "getResults", query.clone()).await);
        }
        seen.push(all);
        server.restart();
    }
    assert_eq!(seen[0], seen[1]);
    submit(&server, "w", "20", true, json!({})).await;
    assert_eq!(listed(&server, "getResults", json!({})).await.len(), 21);
}

/// Rows that the coordinator has read and written so far.
async fn operations(server: &Server) -> u64 {
    server.metrics().await.value(r#"fleet_state_operations_total{class="coordinator"}"#)
}

#[tokio::test]
async fn coordinator_a_page_costs_what_it_holds() {
    const MANY: u64 = 4_000;
    let server = Server::built(server);
    let message = |index: u64| {
        // One in 400 is of the rare worker, and of the rare kind.
        let rare = index.is_multiple_of(400);
        let (worker, kind) = if rare { ("rare", "rare") } else { ("usual", "usual") };
        let result = json!({"taskId": index.to_string(), "success": !rare, "timestamp": 10_000 + index});
        json!({"submitResult": {"workerId": worker, "taskType": kind, "result": result}})
    };
    for chunk in (0..MANY).collect::<Vec<_>>().chunks(1_000) {
        server.call("/sender", "send", chunk.iter().map(|index| message(*index)).collect()).await;
    }
    eventually("all arrived", async || server.call(AT, "getCount", json!(null)).await == json!(MANY)).await;
    for (query, found, most) in [
        (json!({"limit": 10}), 10, 40),
        (json!({"limit": 10, "order": "newest"}), 10, 40),
        (json!({"workerId": "rare", "limit": 5, "order": "newest", "since": 10_000 + MANY / 2}), 5, 40),
        (json!({"workerId": "rare"}), 10, 40),
        (json!({"taskType": "rare", "success": false}), 10, 40),
        (json!({"workerId": "rare", "taskType": "rare"}), 10, 40),
        (json!({"workerId": "rare", "taskType": "usual"}), 0, 10),
        (json!({"success": false, "since": 10_000 + MANY - 700}), 1, 40),
        (json!({"since": 10_000 + MANY - 5}), 5, 40),
        (json!({"workerId": "usual", "limit": 5, "since": 10_000 + MANY / 2}), 5, 40),
    ] {
        let before = operations(&server).await;
        let page = server.call(AT, "getResults", query.clone()).await;
        assert_eq!(tasks(&page).0.len(), found, "{query}");
        let cost = operations(&server).await - before;
        assert!(cost <= most, "{query}: {cost} rows");
    }
    let before = operations(&server).await;
    server.call(AT, "getSummary", json!(null)).await;
    let cost = operations(&server).await - before;
    assert!(cost <= 2, "{cost} rows");
}

/// A result as a simulation submits it.
#[derive(Debug, Clone)]
struct Given {
    worker: &'static str,
    kind: Option<&'static str>,
    success: bool,
    timestamp: u64,
    duration: u64,
}

impl Given {
    fn drawn(random: &mut Random) -> Self {
        Self {
            worker: *random.pick(&["a", "b", "b/t1:x"]),
            kind: *random.pick(&[None, Some("x"), Some("y")]),
            success: random.one_in(2),
            // Most come in order, some late, some from the future.
            timestamp: 1_000 + random.below(200),
            duration: random.below(1_000),
        }
    }

    fn step(&self, task: u64) -> Step {
        let Self { worker, kind, success, timestamp, duration } = self;
        let mut result =
            json!({"taskId": task.to_string(), "success": success, "timestamp": timestamp, "duration": duration});
        if let Some(kind) = kind {
            result["taskType"] = json!(kind);
        }
        Step::call(AT, "submitResult", json!({"workerId": worker, "result": result}))
    }
}

/// Every page of a query.
fn walk(world: &World<'_>, query: &Value, limit: u64) -> Result<Vec<Value>, String> {
    let (mut items, mut cursor) = (Vec::new(), json!(null));
    for _ in 0..1_000 {
        let mut query = query.clone();
        query["limit"] = json!(limit);
        query["cursor"] = cursor;
        let mut page = world.call(AT, "getResults", query)?;
        items.append(page["items"].as_array_mut().ok_or("no items")?);
        cursor = page["cursor"].take();
        if cursor.is_null() {
            return Ok(items);
        }
    }
    Err("the pages do not end".to_owned())
}

/// The summary is what counting again gives, every list what looking at each result gives, and nothing acknowledged is lost.
#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn agrees(world: &World<'_>) -> Result<(), String> {
    let all = walk(world, &json!({}), 7)?;
    let number = |item: &Value, field: &str| item[field].as_u64().unwrap_or_default();
    let successes = all.iter().filter(|item| item["success"] == true).count();
    let sum: u64 = all.iter().map(|item| number(item, "duration")).sum();
    let mut found = world.call(AT, "getSummary", ())?;
    let average = found["averageDuration"].take().as_f64().ok_or("no average")?;
    let summary = json!({"totalResults": all.len(), "successCount": successes,
        "failureCount": all.len() - successes, "averageDuration": null,
        "oldestResult": all.iter().map(|item| number(item, "timestamp")).min(),
        "newestResult": all.iter().map(|item| number(item, "timestamp")).max()});
    // As near as numbers in JSON are.
    if found != summary || (average * all.len() as f64 - sum as f64).abs() > 1e-6 {
        return Err(format!("the summary is {found} and {average} on average, counted again {summary} and {sum}"));
    }
    let is_clear = |step: &Step| matches!(step, Step::Call { method, .. } if method == "clear");
    if !world.timeline().any(|(step, _)| is_clear(step)) {
        for (step, _) in world.answers() {
            let Step::Call { payload, .. } = step else { continue };
            let count = all.iter().filter(|item| item["taskId"] == payload["result"]["taskId"]).count();
            if count != 1 {
                return Err(format!("{payload} was acknowledged and is there {count} times"));
            }
        }
    }
    for worker in [None, Some("a"), Some("b"), Some("b/t1:x")] {
        for kind in [None, Some("x"), Some("y")] {
            for success in [None, Some(true), Some(false)] {
                for since in [None, Some(1_050), Some(1_150), Some(1_199)] {
                    let query = json!({"workerId": worker, "taskType": kind, "success": success, "since": since});
                    let holds = |field: &str, item: &Value, wanted: &Value| wanted.is_null() || item[field] == *wanted;
                    let wanted = all.iter().filter(|item| {
                        ["workerId", "taskType", "success"].iter().all(|field| holds(field, item, &query[*field]))
                            && number(item, "timestamp") >= since.unwrap_or(0)
                    });
                    let (wanted, found): (Vec<_>, _) = (wanted.cloned().collect(), walk(world, &query, 3)?);
                    if wanted != found {
                        return Err(format!("{query}: {found:?}, not {wanted:?}"));
                    }
                    let mut backwards = query;
                    backwards["order"] = json!("newest");
                    let mut found = walk(world, &backwards, 3)?;
                    found.reverse();
                    if wanted != found {
                        return Err(format!("{backwards}: {found:?}, not {wanted:?} backwards"));
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn coordinator_summary_equals_recount_and_lists_equal_filters_whatever_fails() {
    Simulation::seeds(0..40, |seed| {
        let mut task = 0;
        let clears = seed % 3 == 0;
        Simulation::new(seed)
            .class::<Coordinator>()
            .steps(60, move |random| match random.below(40) {
                0 => Step::Crash,
                1 => Step::CommitFails,
                2 => Step::Pass { ms: 15_000 },
                3 if clears => Step::call(AT, "clear", ()),
                4 => Step::call(AT, "submitResult", json!({"workerId": "a"})),
                _ => {
                    task += 1;
                    Given::drawn(random).step(task)
                }
            })
            .check(agrees)
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Names with every mark that a key is made of.
    #[test]
    fn coordinator_no_name_is_taken_for_another(
        names in prop::collection::vec(("[wt0-9:/]{1,6}", prop::option::of("[wt0-9:/]{1,6}")), 1..12)
    ) {
        let mut simulation = Simulation::new(1).class::<Coordinator>();
        for (task, (worker, kind)) in names.iter().enumerate() {
            let result = json!({"taskId": task.to_string(), "success": task % 2 == 0, "taskType": kind});
            let step = Step::call(AT, "submitResult", json!({"workerId": worker, "result": result}));
            simulation = simulation.step(step).step(Step::Settle);
        }
        let check = move |world: &World<'_>| {
            for (worker, kind) in &names {
                let mut wanted = String::new();
                for (task, _) in names.iter().enumerate().filter(|(_, (w, k))| w == worker && (kind.is_none() || k == kind)) {
                    let _ = write!(wanted, "{task} ");
                }
                let page = world.call(AT, "getResults", json!({"workerId": worker, "taskType": kind}))?;
                let found = tasks(&page).0.iter().flat_map(|task| [task, " "]).collect::<String>();
                if found != wanted {
                    return Err(format!("{worker} {kind:?}: {found}, not {wanted}"));
                }
            }
            Ok(())
        };
        prop_assert!(simulation.check(check).try_run().is_ok());
    }
}
