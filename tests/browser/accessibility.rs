//! What axe-core finds, in every state of the page, light and dark, wide and narrow.

use serde_json::{Value, json};

use crate::{Stage, Window, play};

const AXE: &str = include_str!("../vendor/axe-core/axe.min.js");

/// What was found, each with where and why.
const FINDINGS: &str = "
    return axe.run(document, { resultTypes: ['violations'] }).then(({ violations, passes }) => ({
        checked: passes.length,
        found: violations.flatMap(({ id, help, nodes }) =>
            nodes.map((node) => `${id}: ${help}: ${node.target} ${node.any.map((each) => each.message)}`)),
    }));";

pub(crate) async fn assert_accessible(window: &Window, state: &str) {
    window.run(AXE).await;
    for (width, height, mobile) in [(1_280, 1_000, false), (390, 844, true)] {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        window.devtools("Emulation.setDeviceMetricsOverride", &size).await;
        for scheme in ["light", "dark"] {
            show_in(window, scheme).await;
            let outcome = window.run(FINDINGS).await;
            assert_eq!(outcome["found"], json!([]), "{state}, {scheme}, {width} wide");
            assert!(outcome["checked"].as_u64().unwrap() > 20, "axe has looked: {outcome}");
            let beyond = window.value("document.documentElement.scrollWidth - innerWidth").await;
            assert!(beyond.as_i64().unwrap() <= 0, "{state}, {width} wide: {beyond} pixels stick out");
        }
    }
}

/// Without motion, so that no colour is measured on its way to another.
async fn show_in(window: &Window, scheme: &str) {
    let features = json!({ "features": [
        { "name": "prefers-color-scheme", "value": scheme },
        { "name": "prefers-reduced-motion", "value": "reduce" },
    ] });
    window.devtools("Emulation.setEmulatedMedia", &features).await;
    window.until("the scheme is there", &format!("matchMedia('(prefers-color-scheme: {scheme})').matches")).await;
}

async fn play_family(stage: &mut Stage) -> Window {
    stage.create("/team1/project1/worker-1/part").await;
    for child in 2..30 {
        stage.call("/team1/project1", "createAgent", &json!({ "name": format!("worker-{child}") })).await;
    }
    let long = "a-name-of-thirty-two-characters-";
    stage.call("/team1/project1", "createAgent", &json!({ "name": long })).await;
    stage.open("/team1/project1").await
}

#[tokio::test]
async fn fp12_axe_finds_nothing_in_a_fresh_object() {
    play(async |stage| {
        let window = stage.open("/").await;
        assert_accessible(&window, "the root").await;
    })
    .await;
}

#[tokio::test]
async fn fp12_axe_finds_nothing_where_a_lot_is_shown() {
    play(async |stage| {
        let window = play_family(stage).await;
        let delivery = json!({ "type": "message", "payload": { "message": "hello ".repeat(80), "sender": "x" } });
        let url = stage.server.url("/team1/project1/_message");
        let body: Value = delivery;
        stage.curl(&["-H", "Content-Type: application/json", "-d", &body.to_string(), &url]).await;
        window.until("a message", "shown('#latest')").await;
        window.click("#tree li[data-path='/team1/project1/worker-1'] .toggle").await;
        window.until("an open node", "shown(\"#tree li[data-path='/team1/project1/worker-1/part']\")").await;
        window.submit("#create-name", "not a name", "#create").await;
        window.until("an error", "shown('#error-dismiss')").await;
        window.click("#children .delete").await;
        window.until("an armed button", "'armed' in dataset('#children .delete')").await;
        assert_accessible(&window, "a lot").await;
    })
    .await;
}

#[tokio::test]
async fn fp12_axe_finds_nothing_in_a_closed_or_lost_object() {
    play(async |stage| {
        let deleted = stage.open("/team1/project1").await;
        deleted.run("fetch('/team1/project1', { method: 'DELETE' });").await;
        deleted.until_text("#connection", "deleted").await;
        assert_accessible(&deleted, "deleted").await;
        let lost = stage.open("/team1/a/very/deep/path/that/is/folded/in/the/middle").await;
        stage.server.kill().await;
        lost.until("it is lost", "shown('#retry')").await;
        assert_accessible(&lost, "reconnecting").await;
        stage.console().await;
    })
    .await;
}

#[tokio::test]
async fn fp12_axe_would_find_something() {
    play(async |stage| {
        let window = stage.open("/").await;
        window.run("one('label[for=create-name]').remove(); one('#create-name').removeAttribute('placeholder');").await;
        window.run(AXE).await;
        let outcome = window.run(FINDINGS).await;
        assert!(outcome["found"].to_string().contains("label"), "{outcome}");
    })
    .await;
}
