//! What others write, what goes wrong, and what the page may not do.

use serde_json::json;

use crate::play;
use crate::window::quoted;

const HTML: &str = r#"<img src="/nothing.png" onerror="document.title='caught'"><b id="bold">bold</b> &amp; <script>document.title='caught'</script>"#;

#[tokio::test]
async fn fp12_html_is_shown_as_text() {
    play(async |stage| {
        let parent = stage.open("/team1").await;
        parent.create_child("a").await;
        let child = stage.open("/team1/a").await;
        let row = "#children li[data-name='a']";
        parent.submit(&format!("{row} .message"), HTML, &format!("{row} .send")).await;
        child.until_text("#latest-message", HTML).await;
        child.until("in the log", &format!("entries('message')[0] === {}", quoted(&format!("team1 {HTML}")))).await;
        parent.until("in the sender's log", &format!("entries('event')[0].endsWith({})", quoted(HTML))).await;
        parent.submit("#broadcast-message", HTML, "#broadcast").await;
        child
            .until(
                "twice",
                &format!("entries('message').filter((text) => text.endsWith({})).length === 2", quoted(HTML)),
            )
            .await;

        // From outside a sender may have any name, and a message any shape.
        let delivery =
            json!({ "type": "message", "payload": { "message": { "html": HTML }, "sender": "<i>mallory</i>" } });
        let body = delivery.to_string();
        let url = stage.server.url("/team1/a/_message");
        stage.curl(&["-X", "POST", "-H", "Content-Type: application/json", "-d", &body, &url]).await;
        child.until_text("#latest-sender", "<i>mallory</i>").await;
        child.until_text("#latest-message", &json!({ "html": HTML }).to_string()).await;

        parent.submit("#create-name", "<b>x</b>", "#create").await;
        parent.until_text("#error", "Invalid agent name").await;
        for window in [&parent, &child] {
            let made = window.value("all('main img, main script, #bold, main i').length").await;
            assert_eq!(made, 0, "nothing of it became an element");
            assert_ne!(window.value("document.title").await, "caught");
        }
        let snippet = parent.value("text('#snippet-curl')").await;
        assert!(snippet.as_str().unwrap().contains("<b>x</b>"), "{snippet}");
    })
    .await;
}

#[tokio::test]
async fn fp12_errors_are_shown_and_block_nothing() {
    play(async |stage| {
        let window = stage.open("/team1").await;
        let other = stage.open("/team1").await;
        window.create_child("a").await;
        for (name, error) in [
            ("", "Agent name required"),
            ("a", "Agent already exists"),
            ("no spaces", "Invalid agent name"),
            ("_message", "Invalid agent name"),
            ("x23456789012345678901234567890123", "Invalid agent name"),
        ] {
            window.submit("#create-name", name, "#create").await;
            window.until_text("#error", error).await;
            window.until_text("#create-note", error).await;
            assert_eq!(window.value("one('#create-name').value").await, name, "what was written can be corrected");
            assert_eq!(window.value("one('#create-name').ariaInvalid").await, "true");
            window.until("the log has it", &format!("entries('error')[0] === '{error}'")).await;
        }
        window.submit("#broadcast-message", "", "#broadcast").await;
        window.until_text("#broadcast-note", "Message required").await;
        window.click("#children li[data-name='a'] .send").await;
        window.until_text("#children li[data-name='a'] .note", "Message required").await;
        assert_eq!(window.value("one('#error').getAttribute('role')").await, "alert");
        assert_eq!(other.value("entries('error').length + text('#error').length").await, 0, "only the sender is told");

        window.click("#error-dismiss").await;
        window.until("the error goes", "!shown('#error-dismiss') && text('#error') === ''").await;
        window.click("#increment").await;
        window.until_text("#count", "1").await;
        assert_eq!(stage.state("/team1").await, json!({ "data": { "count": 1 }, "agents": ["a"] }));
    })
    .await;
}

#[tokio::test]
async fn fp12_a_child_deleted_elsewhere_is_an_error_here() {
    play(async |stage| {
        stage.create("/team1/a").await;
        let window = stage.open("/team1").await;
        // What the page knows is old by the time it asks.
        let late = "one(\"#children li[data-name='a'] .message\").value = 'too late';
            const send = one(\"#children li[data-name='a'] .send\");
            return fetch('/team1/a', { method: 'DELETE' }).then(() => send.click());";
        window.run(late).await;
        window
            .until("it says so or shows it", "text('#error') === 'Recipient not found' || names().length === 0")
            .await;
        window.until("the list is right", "names().length === 0").await;
    })
    .await;
}

#[tokio::test]
async fn fp12_the_policy_stops_scripts_and_styles_that_are_written_into_the_page() {
    play(async |stage| {
        let window = stage.open("/team1").await;
        let inline = "
            const script = document.createElement('script');
            script.textContent = 'document.title = \"caught\"';
            const style = document.createElement('style');
            style.textContent = 'body { display: none }';
            document.head.append(script, style);
            document.body.setAttribute('onclick', 'document.title = \"caught\"');
            document.body.click();
            return document.title + getComputedStyle(document.body).display;";
        assert_eq!(window.run(inline).await, "/team1 · Fleetblock");
        let told = stage.console().await;
        for directive in ["script-src", "style-src"] {
            assert!(told.iter().any(|line| line.contains(directive)), "{directive} is in the console: {told:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn fp12_everything_comes_from_the_server_itself() {
    play(async |stage| {
        let window = stage.open("/team1").await;
        let foreign = "performance.getEntriesByType('resource').map((entry) => entry.name)
            .filter((name) => new URL(name).origin !== location.origin)";
        assert_eq!(window.value(foreign).await, json!([]));
        let preloaded = "all('link[rel=modulepreload]').map((link) => link.href)";
        let in_vain = format!("{preloaded}.filter((module) => !performance.getEntriesByName(module).length)");
        assert_eq!(window.value(&in_vain).await, json!([]), "no module of the shell is asked for in vain");
        let late = "performance.getEntriesByType('resource').filter(({ initiatorType, name }) =>
            name.endsWith('.js') && initiatorType === 'script').map(({ name }) => new URL(name).pathname)";
        let views = format!("{late}.filter((name) => name.startsWith('/view-'))");
        assert_eq!(window.value(&views).await, json!(["/view-agent.js"]), "of the views, its own alone");
    })
    .await;
}
