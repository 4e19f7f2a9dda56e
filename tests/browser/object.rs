//! Issue 4: the page of a class that it knows nothing of: its state as JSON, its methods, and what it says.

use fleet::server::{Builder, Running};
use fleet::{Change, Class, Error, Frame, RawValue, SocketId, Turn, json, read, unknown_method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json as value};
use tempfile::TempDir;

use crate::{Stage, Window, play};

#[path = "../../examples/chat_room.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example is a program")]
mod chat_room;

const HTML: &str = r#"<img src="/nothing.png" onerror="document.title='caught'"><b id="bold">bold</b>"#;

/// A class of one's own, whose state looks like no agent's.
#[derive(Default, Serialize, Deserialize)]
struct Notes {
    class: u64,
    agents: String,
    entries: Vec<String>,
}

impl Class for Notes {
    const NAME: &'static str = "notes";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "add" => self.entries.push(read(payload)?),
            other => return Err(unknown_method(other)),
        }
        // What this means, only this class knows.
        turn.publish(Change::field("newest", self.entries.len()));
        json(&self.entries.len())
    }
}

/// A class that neither tells its state nor speaks the protocol.
#[derive(Default, Serialize, Deserialize)]
struct Echo {
    heard: u64,
}

impl Class for Echo {
    const NAME: &'static str = "echo";
    const TELLS_STATE: bool = false;

    fn websocket_open(&mut self, turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
        turn.send_frame(socket, Frame::Text("plain <i>text</i>".into()));
        turn.send_frame(socket, Frame::Text("[1,2]".into()));
        turn.send_frame(socket, Frame::Binary(vec![0; 3].into()));
        Ok(())
    }

    fn websocket_message(&mut self, _: &mut Turn<'_>, _: SocketId, _: &Frame) -> Result<(), Error> {
        self.heard += 1;
        Ok(())
    }
}

fn server() -> Builder {
    chat_room::server().class::<Notes>().class::<Echo>().route("/notes", "notes").route("/echo", "echo")
}

/// A server with classes of one's own, as long as it is not dropped.
struct Own {
    running: Running,
    _data: TempDir,
}

impl Own {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = fleet::config::Config::default();
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        data.path().clone_into(&mut config.storage.data_dir);
        Self { running: server().config(config).start().await.unwrap(), _data: data }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.address())
    }

    async fn open(&self, stage: &mut Stage, path: &str) -> Window {
        let window = stage.blank().await;
        window.go(&self.url(path)).await;
        window.until("the window is live", "dataset('#connection').state === 'live'").await;
        window
    }
}

async fn call(window: &Window, method: &str, payload: &str) {
    window.write("#call-method", method).await;
    window.write("#call-payload", payload).await;
    window.click("#call").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn issue4_any_class_shows_its_state_live_and_is_called() {
    play(async |stage| {
        let own = Own::start().await;
        let window = own.open(stage, "/notes").await;
        let other = own.open(stage, "/notes").await;
        let state = "JSON.stringify(JSON.parse(text('#state')))";
        window.until("its state", &format!("{state} === '{{\"class\":0,\"agents\":\"\",\"entries\":[]}}'")).await;

        call(&window, "add", &value!(HTML).to_string()).await;
        window.until_text("#answer", "1").await;
        window.until_text("#call-note", "Answered").await;
        for each in [&window, &other] {
            let shown = format!("JSON.parse(text('#state')).entries[0] === {}", value!(HTML));
            each.until("the note is there", &shown).await;
            assert_eq!(each.value("all('main img, #bold').length").await, 0, "as text");
        }
        window.until("what it is", "text('.lede').endsWith('class notes.')").await;
        window.until("the log has it", "entries('event')[0] === 'add 1'").await;
        let line = window.value("text('#snippet-curl')").await;
        assert!(line.as_str().unwrap().contains("/notes:add"), "{line}");

        call(&window, "add", "{").await;
        window.until("what is wrong", "text('#call-note').startsWith('The payload is not JSON')").await;
        window.until("where", "document.activeElement.id === 'call-payload'").await;
        call(&window, "nothing", "").await;
        window.until_text("#error", "Unknown message type: nothing").await;
        window.until_text("#call-note", "Unknown message type: nothing").await;
        call(&window, "", "").await;
        window.until_text("#call-note", "Method required").await;
        call(&window, "add", r#""two""#).await;
        window.until_text("#answer", "2").await;
        window.until("the error is over", "text('#error') === ''").await;
        // A wrong method is refused by the server, which the console of a browser tells of.
        let told = stage.console().await;
        assert_eq!(told.iter().find(|line| !line.contains("404 (Not Found)")), None, "{told:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn issue4_a_class_that_tells_no_state_is_read_and_spoken_to_by_its_socket() {
    play(async |stage| {
        let own = Own::start().await;
        let window = own.open(stage, "/rooms/lobby").await;
        window.until("its state", "JSON.parse(text('#state')).said === 0").await;
        window.click("#call-form .choice label:last-child").await;
        call(&window, "join", r#""ann""#).await;
        window.until("it is a member", "JSON.parse(text('#answer')).members[0] === 'ann'").await;
        window.until("its own state follows", "JSON.parse(text('#state')).members[0] === 'ann'").await;
        let other = own.open(stage, "/rooms/lobby").await;
        other.click("#call-form .choice label:last-child").await;
        call(&other, "join", r#""bob""#).await;
        window.until("what the class says is told", "entries('message')[0] === 'joined {\"name\":\"bob\"}'").await;
        call(&window, "say", &value!({ "text": HTML }).to_string()).await;
        window.until_text("#error", "invalid payload: invalid type: map, expected a string at line 1 column 0").await;
        call(&window, "say", &value!(HTML).to_string()).await;
        let said = |text: &str| {
            format!("entries('message').some((entry) => entry.startsWith('said') && entry.includes({}))", value!(text))
        };
        other.until("it is heard", &said("<b id=")).await;
        other.until("the state is read again", "JSON.parse(text('#state')).said === 1").await;
        assert_eq!(other.value("all('main img, #bold').length").await, 0, "as text");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn issue4_frames_that_are_no_frames_are_told_as_they_are() {
    play(async |stage| {
        let own = Own::start().await;
        let window = own.open(stage, "/echo").await;
        let entries = "entries('message').slice().reverse()";
        window.until("all three", &format!("{entries}.length === 3")).await;
        let told: Value = window.value(entries).await;
        assert_eq!(told, value!(["plain <i>text</i>", "[1,2]", "3 bytes"]));
        window.until("its state", "text('#state') === '{ \"heard\": 0 }'").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn issue4_axe_finds_nothing_in_an_object_of_any_class() {
    play(async |stage| {
        let own = Own::start().await;
        let window = own.open(stage, "/notes").await;
        call(&window, "add", &value!("a long note ".repeat(50)).to_string()).await;
        window.until_text("#answer", "1").await;
        call(&window, "add", "{").await;
        window.until("what is wrong", "text('#call-note').startsWith('The payload is not JSON')").await;
        crate::accessibility::assert_accessible(&window, "any class").await;
    })
    .await;
}
