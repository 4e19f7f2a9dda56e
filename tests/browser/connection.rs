//! The connection is lost, and comes back.

use serde_json::json;

use crate::play;

/// Counts the sockets that a page opens, and notes when.
const NOTE_ATTEMPTS: &str = "
    window.attempts = [];
    window.WebSocket = class extends WebSocket {
        constructor(...given) { super(...given); window.attempts.push(performance.now()); }
    };";

#[tokio::test]
async fn fp12_it_reconnects_after_the_server_was_killed_and_nothing_is_lost() {
    play(async |stage| {
        let windows = [stage.open("/team1/project1").await, stage.open("/team1/project1").await];
        for count in ["1", "2", "3"] {
            windows[0].click("#increment").await;
            windows[0].until_text("#count", count).await;
        }
        windows[0].create_child("worker-1").await;
        stage.server.kill().await;
        for window in &windows {
            window.until_text("#connection", "reconnecting").await;
        }
        windows[1].click("#increment").await;
        windows[1].until_text("#error", "Not connected to the server").await;
        assert_eq!(windows[1].value("count()").await, 3, "nothing is counted that was not done");

        stage.server.start_again().await;
        for window in &windows {
            window.until_text("#connection", "live").await;
            window.until("it shows what was kept", "count() === 3 && names().join() === 'worker-1'").await;
            assert_eq!(window.value("shown('#retry') || shown('#closed')").await, false);
        }
        windows[1].click("#increment").await;
        windows[0].until_text("#count", "4").await;
        windows[1].until("the error is over", "text('#error') === ''").await;

        stage.server.terminate().await;
        for window in &windows {
            window.until_text("#connection", "reconnecting").await;
        }
        stage.server.start_again().await;
        for window in &windows {
            window.until_text("#connection", "live").await;
            window.until_text("#count", "4").await;
        }
        let told = stage.console().await;
        let refused = |line: &&String| line.contains("ERR_CONNECTION_REFUSED") || line.contains("net::ERR_");
        assert_eq!(told.iter().find(|line| !refused(line)), None, "beside connections that were refused");
    })
    .await;
}

#[tokio::test]
async fn fp12_it_waits_longer_after_each_attempt_and_tries_at_once_when_asked() {
    play(async |stage| {
        let window = stage.blank().await;
        window.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": NOTE_ATTEMPTS })).await;
        window.go(&stage.server.url("/a")).await;
        window.until("the window is live", "dataset('#connection').state === 'live'").await;
        stage.server.kill().await;
        window.until("some attempts", "window.attempts.length >= 5").await;
        let gaps = window.value("window.attempts.slice(1).map((at, n) => at - window.attempts[n]).slice(1)").await;
        let gaps: Vec<f64> = gaps.as_array().unwrap().iter().map(|gap| gap.as_f64().unwrap()).collect();
        for (gap, least) in gaps.iter().zip([500.0, 1_000.0, 2_000.0]) {
            assert!(*gap >= least - 5.0, "attempt after attempt waits longer: {gaps:?}");
        }
        assert_eq!(window.value("shown('#retry')").await, true);
        stage.server.start_again().await;
        let before = window.value("window.attempts.length").await;
        window.click("#retry").await;
        window.until_text("#connection", "live").await;
        let after = window.value("window.attempts.length").await;
        assert_eq!(after.as_u64().unwrap(), before.as_u64().unwrap() + 1, "it did not wait");
        stage.console().await;
    })
    .await;
}

#[tokio::test]
async fn fp12_a_deleted_window_does_not_connect_by_itself() {
    play(async |stage| {
        let window = stage.blank().await;
        window.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": NOTE_ATTEMPTS })).await;
        window.go(&stage.server.url("/a")).await;
        window.until("the window is live", "dataset('#connection').state === 'live'").await;
        window.run("fetch('/a', { method: 'DELETE' });").await;
        window.until_text("#connection", "deleted").await;
        // Neither does what brings other lost connections back at once.
        window.run("dispatchEvent(new Event('online')); document.dispatchEvent(new Event('visibilitychange'));").await;
        assert_eq!(window.value("window.attempts.length").await, 1);
        assert_eq!(window.value("text('#connection')").await, "deleted");
    })
    .await;
}
