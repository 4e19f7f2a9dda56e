//! The tour of the README, word for word: every command and every line in the console, and what comes of them.

use serde_json::{Value, json};

use crate::{Stage, Window, play, within};

const README: &str = include_str!("../../README.md");
/// Where the README's server listens; the test's listens somewhere else.
const ADDRESS: &str = "127.0.0.1:8787";
const START: &str = "cargo run --release";
/// Where the README's reader has the console.
const PAGE: &str = "/tour/project1";

/// A fenced block: its language and its text.
fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut parts = text.split("```");
    parts.next();
    let fenced = parts.step_by(2).filter_map(|block| block.split_once('\n'));
    fenced.map(|(language, text)| (language, text.to_owned())).collect()
}

/// Commands, each with what it prints.
fn commands(block: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((_, printed))) => printed.extend([line, "\n"]),
            (None, None) => panic!("a block begins with what no command printed: {line}"),
        }
    }
    commands
}

/// What the console has printed since the last time.
struct Console {
    window: Window,
}

impl Console {
    async fn open(stage: &mut Stage) -> Self {
        let window = stage.open(PAGE).await;
        let gather = "window.printed = []; console.log = (...said) => {
            window.printed.push(said.join(' ').trim());
            document.body.toggleAttribute('data-printed');
        };";
        window.run(gather).await;
        Self { window }
    }

    async fn enter(&self, lines: &str) {
        let line = json!({ "expression": lines, "replMode": true });
        let entered = self.window.devtools("Runtime.evaluate", &line).await;
        assert_eq!(entered["exceptionDetails"], Value::Null, "{lines}");
    }

    async fn prints(&self, text: &str) {
        let expected: Vec<&str> = text.lines().collect();
        let enough = format!("window.printed.length >= {}", expected.len());
        self.window.until(&format!("the console prints {text}"), &enough).await;
        let printed = self.window.value("window.printed.splice(0)").await;
        assert_eq!(printed, json!(expected));
    }
}

/// The server is started by the stage, and again where the tour does so after it has killed it.
async fn start(stage: &mut Stage, console: Option<&Console>, printed: &str) {
    if let Some(console) = console {
        stage.server.ended().await;
        console.window.until_text("#connection", "reconnecting").await;
        stage.server.start_again().await;
        console.window.until_text("#connection", "live").await;
    }
    assert_eq!(printed.trim_end(), format!("listening on {}", stage.server.url("")));
}

async fn run(stage: &Stage, command: &str, printed: &str) {
    let mut shell = tokio::process::Command::new("sh");
    shell.arg("-c").arg(command).current_dir(stage.server.directory());
    let output = within(command, shell.output()).await.unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), printed.trim_end(), "{command}");
}

#[tokio::test]
async fn the_tour_of_the_readme_is_true() {
    play(async |stage| {
        let url = stage.server.url("");
        let readme = README.replace(ADDRESS, url.trim_start_matches("http://"));
        let tour = readme.split("\n## ").find(|section| section.starts_with("A tour")).unwrap();
        let mut console = None;
        let mut starts = 0;
        for (language, text) in blocks(tour) {
            match language {
                "console" => {
                    for (command, printed) in commands(&text) {
                        if command == START {
                            start(stage, console.as_ref(), &printed).await;
                            starts += 1;
                        } else {
                            run(stage, &command, &printed).await;
                        }
                    }
                }
                "js" => {
                    if console.is_none() {
                        console = Some(Console::open(stage).await);
                    }
                    console.as_ref().unwrap().enter(&text).await;
                }
                "text" => console.as_ref().unwrap().prints(&text).await,
                other => panic!("a block of {other:?}"),
            }
        }
        assert_eq!(starts, 2, "the server was started, killed and started again");
        let console = console.unwrap();
        console.window.until_text("#connection", "deleted").await;
        stage.console().await;
    })
    .await;
}
