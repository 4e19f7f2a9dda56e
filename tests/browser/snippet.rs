//! The lines for a terminal and a socket: they must do what they say.

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::window::quoted;
use crate::{Window, play, within};

/// Runs the curl line that stands in the page, as a person would paste it.
async fn run_line(window: &Window) -> String {
    let line = window.value("text('#snippet-curl')").await;
    let line = line.as_str().unwrap().to_owned();
    assert!(line.starts_with("curl "), "{line}");
    let running = tokio::process::Command::new("sh").arg("-c").arg(&line).output();
    let output = within(&line, running).await.unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn run_json(window: &Window) -> Value {
    serde_json::from_str(&run_line(window).await).unwrap()
}

/// Waits until the lines are about this, then runs the one for a terminal.
async fn last_call(window: &Window, method: &str) -> Value {
    window.until_text("#snippet-about", &format!("Last call: {method}")).await;
    run_json(window).await
}

#[tokio::test]
async fn fp12_the_curl_line_does_what_was_just_done() {
    play(async |stage| {
        let window = stage.open("/team1/project1").await;
        assert_eq!(run_json(&window).await, json!({ "data": { "count": 0 }, "agents": [] }));
        window.click("#increment").await;
        window.until_text("#count", "1").await;
        assert_eq!(last_call(&window, "increment").await, json!({ "count": 2 }));
        window.until_text("#count", "2").await;

        window.create_child("a").await;
        let again = last_call(&window, "createAgent").await;
        assert_eq!(again, json!({ "error": "Agent already exists", "code": "conflict" }));
        let child = stage.open("/team1/project1/a").await;
        let message = r#"it's "quoted" $HOME `pwd` \n <b> %20 ! ü"#;
        window.submit("#children .message", message, "#children .send").await;
        window.until_text("#children .note", "Sent").await;
        assert_eq!(last_call(&window, "sendMessage").await, json!({ "recipients": 1 }));
        let twice =
            format!("entries('message').filter((text) => text === 'project1 ' + {}).length === 2", quoted(message));
        child.until("the message came twice", &twice).await;
        window.submit("#broadcast-message", message, "#broadcast").await;
        window.until_text("#broadcast-note", "Sent to 1 child").await;
        assert_eq!(last_call(&window, "broadcast").await, json!({ "recipients": 1 }));

        window.delete_child("a").await;
        window.until("it is gone", "names().length === 0").await;
        let again = last_call(&window, "deleteAgent").await;
        assert_eq!(again, json!({ "error": "Agent not found", "code": "not_found" }));
        window.click("#delete-object").await;
        window.click("#delete-object").await;
        window.until_text("#connection", "deleted").await;
        window.until_text("#snippet-about", "Last call: DELETE").await;
        assert_eq!(run_line(&window).await, "OK");
    })
    .await;
}

#[tokio::test]
async fn fp12_the_lines_for_the_root_are_true() {
    play(async |stage| {
        let window = stage.open("/").await;
        assert_eq!(run_json(&window).await, json!({ "data": { "count": 0 }, "agents": [] }));
        window.click("#increment").await;
        window.until_text("#count", "1").await;
        assert_eq!(last_call(&window, "increment").await, json!({ "count": 2 }));
    })
    .await;
}

#[tokio::test]
async fn fp12_the_socket_line_and_its_message_work_in_a_console() {
    play(async |stage| {
        let window = stage.open("/team1").await;
        let line = window.value("text('#snippet-socket')").await;
        window.create_child("a").await;
        window.until_text("#snippet-about", "Last call: createAgent").await;
        let message = window.value("text('#snippet-socket')").await;
        let (line, message) = (line.as_str().unwrap(), message.as_str().unwrap());
        let script = format!(
            "const socket = {line};
             const frames = [];
             return new Promise((resolve) => {{
                 socket.onmessage = ({{ data }}) => frames.push(JSON.parse(data)) === 2 && resolve(frames);
                 socket.onopen = () => socket.send({});
             }});",
            quoted(message)
        );
        let frames = window.run(&script).await;
        assert_eq!(frames[0]["payload"]["agents"], json!(["a"]));
        let refused = json!({ "error": "Agent already exists", "code": "conflict" });
        assert_eq!(frames[1], json!({ "type": "error", "id": 1, "payload": refused }));
    })
    .await;
}

#[tokio::test]
async fn fp12_a_line_can_be_copied() {
    play(async |stage| {
        let window = stage.open("/team1").await;
        for part in ["curl", "socket"] {
            let button = format!("#snippet .copy[data-copies='snippet-{part}']");
            window.click(&button).await;
            window.until_text(&button, "Copied").await;
            let line = window.value(&format!("text('#snippet-{part}')")).await;
            window.write("#broadcast-message", "").await;
            window.click("#broadcast-message").await;
            window.chord(Key::Control, 'v').await;
            let pasted = format!("one('#broadcast-message').value === {line}");
            window.until("what was copied is pasted", &pasted).await;
            window.until_text(&button, "Copy").await;
        }
    })
    .await;
}
