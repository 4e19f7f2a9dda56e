//! Issue 4: the page of a `coordinator`.

use serde_json::{Value, json};

use crate::accessibility::assert_accessible;
use crate::{Stage, Window, play};

const HTML: &str = r#"<img src="/nothing.png" onerror="document.title='caught'"><b id="bold">bold</b>"#;
const IDS: &str = "all('#results > li').map((result) => result.dataset.task)";

async fn open(stage: &mut Stage) -> Window {
    stage.call("/", "createAgent", &json!({ "name": "results", "class": "coordinator" })).await;
    stage.open("/results").await
}

async fn report(stage: &Stage, worker: &str, result: Value) {
    let payload = json!({ "workerId": worker, "taskType": result["taskType"], "result": result });
    let answer = stage.call("/results", "submitResult", &payload).await;
    assert_eq!(answer["error"], Value::Null, "{answer}");
}

fn done(id: &str, kind: &str) -> Value {
    json!({ "taskId": id, "taskType": kind, "success": true, "result": { "html": HTML }, "duration": 300 })
}

fn failed(id: &str, kind: &str) -> Value {
    json!({ "taskId": id, "taskType": kind, "success": false, "error": HTML, "duration": 100 })
}

#[tokio::test]
async fn issue4_results_are_summed_up_live_listed_and_filtered() {
    play(async |stage| {
        let window = open(stage).await;
        window.until("none", "shown('#results-none') && text('#results-rate') === '–'").await;
        report(stage, "w1", done("a", "render")).await;
        report(stage, "w1", failed("<b id=bold>b</b>", "mail")).await;
        report(stage, "w2", done("c", "render")).await;
        window.until_text("#results-total", "3").await;
        assert_eq!(window.value("text('#results-good') + text('#results-bad')").await, "21");
        assert_eq!(window.value("text('#results-rate')").await, "66.7 %");
        assert_eq!(window.value("text('#results-average')").await, "233 ms");
        window.until("the newest first", &format!("{IDS}.join() === 'c,<b id=bold>b</b>,a'")).await;
        assert_eq!(window.value("text('#results .error')").await, "");
        window.click("#results .toggle").await;
        window.until("what it gave", "text('#results .json').includes('onerror')").await;
        assert_eq!(window.value("all('main img, #bold').length").await, 0, "as text");

        window.click("#results-filter label:nth-child(4)").await;
        window.until("what failed", &format!("{IDS}.join() === '<b id=bold>b</b>'")).await;
        window.click("#results-filter label:nth-child(2)").await;
        window.write("#filter-worker", "w1").await;
        window.run("one('#filter-worker').dispatchEvent(new Event('change', { bubbles: true }));").await;
        window.until("what one did", &format!("{IDS}.join() === '<b id=bold>b</b>,a'")).await;
        window.write("#filter-type", "render").await;
        window.run("one('#filter-type').dispatchEvent(new Event('change', { bubbles: true }));").await;
        window.until("of one type", &format!("{IDS}.join() === 'a'")).await;
        report(stage, "w1", done("d", "render")).await;
        window.until("it follows", &format!("{IDS}.join() === 'd,a'")).await;

        window.click("#clear").await;
        window.until("it asks once more", "'armed' in dataset('#clear')").await;
        window.click("#clear").await;
        window.until_text("#results-total", "0").await;
        window.until("none", &format!("{IDS}.length === 0 && !shown('#clear')")).await;
    })
    .await;
}

#[tokio::test]
async fn issue4_only_the_last_results_are_listed() {
    play(async |stage| {
        let window = open(stage).await;
        let many = "
            const headers = { 'Content-Type': 'application/json' };
            const submit = (n) => fetch('/results:submitResult', { method: 'POST', headers, body: JSON.stringify({
                workerId: 'w', result: { taskId: `t${n}`, success: n % 10 !== 0, duration: 1, timestamp: 1e12 + n * 5000 },
            }) });
            return (async () => { for (let n = 0; n < 120; n++) if (!(await submit(n)).ok) return false; return true; })();";
        assert_eq!(window.run(many).await, true);
        window.until_text("#results-total", "120").await;
        window.until("the last 25", &format!("{IDS}.length === 25 && {IDS}[0] === 't119' && {IDS}[24] === 't95'")).await;
        window.click("#results-more").await;
        window.until("more of them", &format!("{IDS}.length === 100 && {IDS}[99] === 't20'")).await;
        window.click("#results-more").await;
        window.until("all", &format!("{IDS}.length === 120 && {IDS}[119] === 't0' && !shown('#results-more')")).await;
        window.click("#results-filter label:nth-child(4)").await;
        window.until("failed ones, from far back", &format!("{IDS}.length === 12 && {IDS}[11] === 't0'")).await;
    })
    .await;
}

#[tokio::test]
async fn issue4_axe_finds_nothing_in_a_coordinator() {
    play(async |stage| {
        let window = open(stage).await;
        assert_accessible(&window, "a fresh coordinator").await;
        for n in 0..4 {
            report(stage, "w1", done(&format!("task-{n}"), "render")).await;
            report(stage, "w2", failed(&"long-".repeat(20), "mail")).await;
        }
        window.until("they are listed", &format!("{IDS}.length >= 5")).await;
        window.click("#results .toggle").await;
        assert_accessible(&window, "a coordinator with results").await;
    })
    .await;
}
