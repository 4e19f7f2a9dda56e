//! Issue 4: the page of a `fleet-manager`.

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::accessibility::assert_accessible;
use crate::keyboard::tab_to;
use crate::{Stage, Window, play};

const HTML: &str = r#"<img src="/nothing.png" onerror="document.title='caught'"><b id="bold">bold</b>"#;

/// Creates a manager and opens its page.
async fn open_manager(stage: &mut Stage, config: Value) -> Window {
    stage.call("/", "createAgent", &json!({ "name": "jobs", "class": "fleet-manager" })).await;
    let told = stage.call("/jobs", "updateConfig", &config).await;
    assert_eq!(told["error"], Value::Null, "{told}");
    stage.open("/jobs").await
}

async fn submit(window: &Window, count: &str, kind: &str, data: &str) -> String {
    window.write("#submit-count", count).await;
    window.write("#submit-type", kind).await;
    window.write("#submit-data", data).await;
    window.click("#submit").await;
    window.until("it is submitted", "dataset('#submit-note').kind === 'done'").await;
    let note = window.value("text('#submit-note')").await;
    let id = note.as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    window.until("it is listed", &format!("shown(\"{}\")", row(&id, ""))).await;
    id
}

async fn submit_tasks(stage: &Stage, tasks: Value) -> String {
    let answer = stage.call("/jobs", "submitBatch", &json!({ "tasks": tasks })).await;
    answer["batchId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn tasks(count: usize, kind: &str, data: &Value) -> Value {
    (0..count).map(|n| json!({ "id": format!("{kind}-{n}"), "type": kind, "data": data })).collect()
}

/// A task that fails at its only attempt.
fn failing(id: &str) -> Value {
    json!({ "id": id, "type": "sleep", "data": { "ms": HTML }, "retries": 0 })
}

fn row(batch: &str, part: &str) -> String {
    format!("#batches li[data-batch='{batch}'] {part}").trim_end().to_owned()
}

async fn until_status(window: &Window, batch: &str, status: &str) {
    window.until_text(&row(batch, ".status"), status).await;
}

/// Opens a batch and shows its tasks in a state.
async fn show_tasks(window: &Window, batch: &str, state: &str) {
    let name = row(batch, ".name");
    if window.value(&format!("one(\"{name}\").ariaExpanded")).await == "false" {
        window.click(&name).await;
    }
    window.until("its tasks are shown", &format!("one(\"{}\") !== null", row(batch, "#tasks-section"))).await;
    window.run(&format!("one('#tasks-filter input[value={state}]').click();")).await;
}

const IDS: &str = "all('#tasks > li').map((task) => task.dataset.task)";

#[tokio::test]
async fn issue4_fm12_a_batch_submitted_in_the_page_runs_and_its_bar_fills_live() {
    play(async |stage| {
        let window = open_manager(stage, json!({ "maxConcurrentWorkers": 5 })).await;
        let other = stage.open("/jobs").await;
        let watch = "window.seen = []; new MutationObserver(() => {
            const bar = one('#batches [role=progressbar]');
            if (bar) seen.push(Number(bar.ariaValueNow));
        }).observe(one('#batches'), { subtree: true, attributes: true, childList: true });";
        other.run(watch).await;
        let batch = submit(&window, "40", "sleep", r#"{"ms":150}"#).await;
        other.until("the other window has it", &format!("shown(\"{}\")", row(&batch, ""))).await;
        for each in [&window, &other] {
            until_status(each, &batch, "completed").await;
            let bar = format!("one(\"{}\").ariaValueNow", row(&batch, ".progress"));
            assert_eq!(each.value(&bar).await, "100");
            let facts = each.value(&format!("text(\"{}\")", row(&batch, ".facts"))).await;
            assert!(facts.as_str().unwrap().starts_with("40 of 40 tasks · took "), "{facts}");
        }
        let seen = other.value("seen.filter((value, index) => value !== seen[index - 1])").await;
        let seen: Vec<u64> = seen.as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect();
        assert!(seen.len() > 4 && seen.is_sorted(), "it fills bit by bit, without anybody asking: {seen:?}");
        window.until("the figures follow", "text('#completed') === '40' && text('#todo') === '0'").await;
        window
            .until("the log tells", &format!("entries('event').includes('{batch} completed 40 of 40 tasks done')"))
            .await;
        window.until("times are told", "text('#latency').startsWith('sleep')").await;
    })
    .await;
}

#[tokio::test]
async fn issue4_fm4_a_cancelled_batch_stays_cancelled() {
    play(async |stage| {
        let window = open_manager(stage, json!({ "maxConcurrentWorkers": 2 })).await;
        let batch = submit(&window, "50", "sleep", r#"{"ms":700}"#).await;
        window.until("some are done", "Number(text('#completed')) >= 2").await;
        let cancel = row(&batch, ".cancel");
        window.click(&cancel).await;
        window.until("it asks once more", &format!("'armed' in dataset(\"{cancel}\")")).await;
        assert_eq!(window.value(&format!("text(\"{}\")", row(&batch, ".status"))).await, "processing");
        window.click(&cancel).await;
        until_status(&window, &batch, "cancelled").await;
        window.until("there is nothing left to do", "text('#todo') === '0' && text('#running') === '0'").await;
        assert_eq!(window.value(&format!("shown(\"{cancel}\")")).await, false);
        let again = stage.open("/jobs").await;
        until_status(&again, &batch, "cancelled").await;
        assert_eq!(stage.call("/jobs", "cancelBatch", &json!({ "batchId": batch })).await, false);
    })
    .await;
}

#[tokio::test]
async fn issue4_fm6_failed_tasks_are_listed_with_their_errors_and_submitted_again() {
    play(async |stage| {
        let window = open_manager(stage, json!({})).await;
        let well = json!({ "id": "well", "type": "echo", "data": { "html": HTML } });
        let batch = submit_tasks(stage, json!([failing("<b id=bold>one</b>"), failing("two"), well])).await;
        until_status(&window, &batch, "partial").await;
        window.click(&row(&batch, ".name")).await;
        window.until("what failed is shown at once", &format!("{IDS}.length === 2")).await;
        assert_eq!(window.value("text('#tasks-failed') + text('#tasks-completed')").await, "21");
        window.until("with what went wrong", "texts('#tasks .error').every((error) => error.length > 0)").await;
        window.click("#tasks .toggle").await;
        let data = format!("JSON.parse(text('#tasks .json')).data.ms === {}", json!(HTML));
        window.until("and what it was given", &data).await;
        assert_eq!(window.value("all('main img, #bold').length").await, 0, "as text");

        show_tasks(&window, &batch, "completed").await;
        window.until("what was done", &format!("{IDS}.join() === 'well'")).await;
        window.click("#tasks .toggle").await;
        window.until("and gave", &format!("text('#tasks .json').includes({})", json!(HTML.replace('"', "\\\"")))).await;

        show_tasks(&window, &batch, "failed").await;
        window.until("two again", &format!("{IDS}.length === 2")).await;
        window.click("#tasks > li[data-task='two'] button.quiet").await;
        window.until("one is submitted again", "texts('#batches .facts')[0].startsWith('1 of 1 task')").await;
        window.click(&row(&batch, ".resubmit")).await;
        window.until("both are", "texts('#batches .facts')[0].startsWith('2 of 2 tasks')").await;
        window.until("it is told", "text('#announcer').startsWith('Resubmitted 2 tasks')").await;
        assert_eq!(window.value("text('#batches-count')").await, "3");
        until_status(&window, &batch, "partial").await;
    })
    .await;
}

#[tokio::test]
async fn issue4_fm6_a_task_that_waits_for_a_retry_is_shown_with_its_last_error() {
    play(async |stage| {
        let config = json!({ "retryBackoff": { "initialMs": 30_000, "maxMs": 30_000 } });
        let window = open_manager(stage, config).await;
        let batch = submit_tasks(stage, json!([{ "id": "again", "type": "sleep", "data": "nothing" }])).await;
        window.until("it waits", "text('#retrying') === '1' && text('#todo') === '1'").await;
        show_tasks(&window, &batch, "retrying").await;
        window.until("it is there", &format!("{IDS}.join() === 'again'")).await;
        let facts = window.value("text('#tasks .facts')").await;
        assert!(facts.as_str().unwrap().starts_with("1 attempt · again in "), "{facts}");
        assert_eq!(window.value("shown('#tasks .error')").await, true);
    })
    .await;
}

#[tokio::test]
async fn issue4_fm8_scaling_changes_the_running_workers() {
    play(async |stage| {
        let window = open_manager(stage, json!({ "maxConcurrentWorkers": 2 })).await;
        assert_eq!(window.value("one('#scale-count').value").await, "2");
        let batch = submit(&window, "30", "sleep", r#"{"ms":60000}"#).await;
        window.until_text("#running", "2").await;
        window.until("they are listed", "all('#workers > li').length === 2").await;
        window.submit("#scale-count", "5", "#scale").await;
        window.until_text("#scale-note", "5 workers at once from now on").await;
        window.until_text("#running", "5").await;
        window.until("they are listed", "all('#workers > li').length === 5").await;
        window.submit("#scale-count", "0", "#scale").await;
        window.until_text("#scale-note", "Worker count must be at least 1").await;
        window.until_text("#error", "Worker count must be at least 1").await;
        let other = stage.open("/jobs").await;
        stage.call("/jobs", "scaleWorkers", &json!({ "count": 7 })).await;
        other.until("others see it", "one('#scale-count').value === '7'").await;
        stage.call("/jobs", "cancelBatch", &json!({ "batchId": batch })).await;
        window.until_text("#running", "0").await;
    })
    .await;
}

#[tokio::test]
async fn issue4_tasks_are_filtered_by_their_state_and_shown_a_page_at_a_time() {
    play(async |stage| {
        let window = open_manager(stage, json!({ "maxConcurrentWorkers": 3 })).await;
        let batch = submit_tasks(stage, tasks(240, "sleep", &json!({ "ms": 60_000 }))).await;
        window.until_text("#todo", "240").await;
        show_tasks(&window, &batch, "running").await;
        window.until("three run", &format!("{IDS}.join() === 'sleep-0,sleep-1,sleep-2'")).await;
        show_tasks(&window, &batch, "queued").await;
        window.until("a page of those that wait", &format!("{IDS}.length === 25 && {IDS}[0] === 'sleep-3'")).await;
        assert_eq!(window.value("text('#tasks-queued')").await, "237");
        window.click("#tasks-more").await;
        window.until("and more", &format!("{IDS}.length === 100")).await;
        window.click("#tasks-more").await;
        window.click("#tasks-more").await;
        window.until("to the last", &format!("{IDS}.length === 237 && !shown('#tasks-more')")).await;
        for (state, none) in [
            ("retrying", "No task waits for another attempt."),
            ("completed", "No task has completed yet."),
            ("failed", "No task has failed."),
        ] {
            show_tasks(&window, &batch, state).await;
            window.until("none", &format!("{IDS}.length === 0 && text('#tasks-none') === '{none}'")).await;
        }
        let cancelled = stage.call("/jobs", "cancelBatch", &json!({ "batchId": batch })).await;
        assert_eq!(cancelled, true);
    })
    .await;
}

#[tokio::test]
async fn issue4_many_batches_are_shown_a_part_at_a_time() {
    play(async |stage| {
        let window = open_manager(stage, json!({})).await;
        let submit = "
            const body = JSON.stringify({ tasks: [{ id: 'a', type: 'echo', data: 1 }] });
            const headers = { 'Content-Type': 'application/json' };
            const submitted = [];
            for (let batch = 0; batch < 130; batch++) {
                submitted.push(fetch('/jobs:submitBatch', { method: 'POST', headers, body }));
            }
            return Promise.all(submitted).then((answers) => answers.every((answer) => answer.ok));";
        assert_eq!(window.run(submit).await, true);
        window.until_text("#batches-count", "130").await;
        window.until_text("#completed", "130").await;
        assert_eq!(window.value("all('#batches > li').length").await, 10);
        window.until_text("#batches-more", "Show 50 more of 130").await;
        for (shown, more) in [(60, "Show 50 more of 130"), (110, "Show 20 more of 130")] {
            window.click("#batches-more").await;
            window.until("more", &format!("all('#batches > li').length === {shown}")).await;
            window.until_text("#batches-more", more).await;
        }
        window.click("#batches-more").await;
        window.until("all", "all('#batches > li').length === 130 && !shown('#batches-more')").await;
        let sorted = "all('#batches > li').map((row) => row.dataset.batch).join() ===
            all('#batches > li').map((row) => row.dataset.batch).sort().reverse().join()";
        assert_eq!(window.value(sorted).await, true, "the newest first");
    })
    .await;
}

#[tokio::test]
async fn issue4_what_nobody_handles_and_what_is_wrong_is_said() {
    play(async |stage| {
        let window = open_manager(stage, json!({})).await;
        submit(&window, "3", "no-such", "{}").await;
        window.until_text("#unhandled", "Nobody handles 3 tasks of type no-such.").await;
        window.write("#submit-data", "{").await;
        window.click("#submit").await;
        window.until("the data", "text('#submit-note').startsWith('The data is not JSON')").await;
        window.until("that is where it is wrong", "document.activeElement.id === 'submit-data'").await;
        window.write("#submit-data", "1").await;
        window.write("#submit-count", "0").await;
        window.click("#submit").await;
        window.until_text("#submit-note", "From here, 1 to 100,000 tasks at once").await;
        window.write("#submit-count", "1").await;
        window.write("#submit-type", "").await;
        window.click("#submit").await;
        window.until("the server refuses", "dataset('#submit-note').kind === 'error' && text('#error') !== ''").await;
    })
    .await;
}

#[tokio::test]
async fn issue4_a_manager_is_created_from_the_page_and_tried_at_once() {
    play(async |stage| {
        let root = stage.open("/").await;
        root.write("#create-class", "fleet-manager").await;
        root.create_child("jobs").await;
        root.write("#create-class", "no-such").await;
        root.submit("#create-name", "other", "#create").await;
        root.until("a class that is not there", "text('#create-note').includes('no-such')").await;
        root.click("#children li[data-name='jobs'] .open").await;
        root.until("its page opens", "location.pathname === '/jobs' && shown('#todo')").await;
        root.until("it is live", "dataset('#connection').state === 'live'").await;
        assert_eq!(
            root.value("texts('#batches-none').join()").await,
            "No batches yet. Submit one above, or from a terminal."
        );
        root.click("#submit").await;
        root.until("it runs", "text('#batches .status') === 'completed'").await;
        root.until_text("#completed", "20").await;
    })
    .await;
}

#[tokio::test]
async fn issue4_a_deleted_manager_comes_again_as_what_its_path_says() {
    play(async |stage| {
        let window = open_manager(stage, json!({})).await;
        let other = stage.open("/jobs").await;
        window.click("#delete-object").await;
        window.click("#delete-object").await;
        for each in [&window, &other] {
            each.until_text("#closed-title", "This object was deleted").await;
            assert_eq!(each.value("one('#submit').closest('[inert]') !== null").await, true);
        }
        window.click("#reopen").await;
        window.until("it is an agent now", "shown('#increment') && dataset('#connection').state === 'live'").await;
        window.click("#increment").await;
        window.until_text("#count", "1").await;
    })
    .await;
}

#[tokio::test]
async fn issue4_a_manager_is_handled_with_the_keyboard() {
    play(async |stage| {
        let window = open_manager(stage, json!({ "maxConcurrentWorkers": 1 })).await;
        tab_to(&window, "#scale-count").await;
        window.press(&[Key::Up, Key::Enter]).await;
        window.until_text("#scale-note", "2 workers at once from now on").await;
        tab_to(&window, "#submit-data").await;
        window.chord(Key::Control, 'a').await;
        window.type_text(r#"{"ms":60000}"#).await;
        tab_to(&window, "#submit").await;
        window.press(&[Key::Enter]).await;
        window.until("it is submitted", "text('#batches .status') === 'processing'").await;
        tab_to(&window, "#batches .cancel").await;
        window.press(&[Key::Enter]).await;
        window.until("that is announced", "text('#announcer').startsWith('Press again to cancel ')").await;
        window.press(&[Key::Escape]).await;
        window.until("it is disarmed", "!('armed' in document.activeElement.dataset)").await;
        tab_to(&window, "#batches .name").await;
        window.press(&[Key::Enter]).await;
        window.until("its tasks are shown", &format!("{IDS}.length === 2")).await;
        tab_to(&window, "#tasks-filter input:checked").await;
        window.press(&[Key::Left]).await;
        window.until("those that wait", &format!("{IDS}.length === 18")).await;
        tab_to(&window, "#tasks .toggle").await;
        window.press(&[Key::Enter]).await;
        window.until("one is opened", "shown('#tasks .json')").await;
        tab_to(&window, "#batches .cancel").await;
        window.press(&[Key::Enter, Key::Enter]).await;
        window.until("it is cancelled", "text('#batches .status') === 'cancelled'").await;
    })
    .await;
}

#[tokio::test]
async fn issue4_axe_finds_nothing_in_a_manager() {
    play(async |stage| {
        let window = open_manager(stage, json!({ "maxConcurrentWorkers": 2 })).await;
        assert_accessible(&window, "a fresh manager").await;
        let long = "a-task-with-a-long-name-".repeat(5);
        let partial = submit_tasks(
            stage,
            json!([failing(&long), failing("two"), { "id": "well", "type": "echo", "data": HTML }]),
        )
        .await;
        until_status(&window, &partial, "partial").await;
        submit_tasks(stage, tasks(2, "no-such", &json!(null))).await;
        let cancelled = submit_tasks(stage, tasks(9, "sleep", &json!({ "ms": 60_000 }))).await;
        stage.call("/jobs", "cancelBatch", &json!({ "batchId": cancelled })).await;
        submit_tasks(stage, tasks(9, "sleep", &json!({ "ms": 60_000 }))).await;
        window.until("a warning", "shown('#unhandled')").await;
        window.click(&row(&partial, ".name")).await;
        window.until("what failed", &format!("{IDS}.length === 2")).await;
        window.click("#tasks .toggle").await;
        window.submit("#scale-count", "0", "#scale").await;
        window.until("an error", "shown('#error-dismiss')").await;
        assert_accessible(&window, "a busy manager").await;
    })
    .await;
}
