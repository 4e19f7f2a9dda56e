//! One window of the browser, and what a person does in it.

use std::cell::OnceCell;

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::key::Key;
use fantoccini::wd::WindowHandle;
use fantoccini::{Client, Locator};
use serde_json::Value;

use crate::chrome::Extra;
use crate::{DEADLINE, within};

/// What every script may use.
const PRELUDE: &str = "
    const one = (selector) => document.querySelector(selector);
    const all = (selector) => [...document.querySelectorAll(selector)];
    const text = (selector) => one(selector).textContent;
    const texts = (selector) => all(selector).map((each) => each.textContent);
    const dataset = (selector) => one(selector).dataset;
    const count = () => Number(text('#count'));
    const names = () => all('#children > li').map((row) => row.dataset.name);
    const entries = (kind) => texts(`#log .entry.${kind} .text`);
    const shown = (selector) => one(selector)?.checkVisibility() ?? false;
";

/// Looks at a condition whenever anything in the page has changed, until it holds.
const UNTIL: &str = "
    const done = arguments[arguments.length - 1];
    const holds = () => { try { return Boolean(CONDITION); } catch { return false; } };
    const events = ['focusin', 'focusout', 'input', 'visibilitychange'];
    const look = () => holds() && finish(true);
    const seen = new MutationObserver(look);
    const late = setTimeout(() => finish(holds()), MILLISECONDS);
    const finish = (held) => {
        seen.disconnect();
        clearTimeout(late);
        for (const event of events) document.removeEventListener(event, look, true);
        done(held);
    };
    seen.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    for (const event of events) document.addEventListener(event, look, true);
    look();
";

/// A window; commands go to the one that was used last, so each is preceded by a switch.
pub(crate) struct Window {
    client: Client,
    handle: WindowHandle,
    /// Where it was sent first, for messages.
    url: OnceCell<String>,
}

impl Window {
    pub(crate) fn new(client: Client, handle: WindowHandle) -> Self {
        Self { client, handle, url: OnceCell::new() }
    }

    pub(crate) async fn go(&self, url: &str) {
        self.url.get_or_init(|| url.to_owned());
        within("the page loads", self.here().await.goto(url)).await.unwrap();
    }

    /// Runs a script in the page and gives what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let script = format!("{PRELUDE}{script}");
        within("a script runs", self.here().await.execute(&script, Vec::new())).await.unwrap()
    }

    /// The value of an expression, awaited if it is a promise.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        self.run(&format!("return ({expression});")).await
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, what: &str, condition: &str) {
        let milliseconds = DEADLINE.as_millis().to_string();
        let waiting = UNTIL.replace("CONDITION", condition).replace("MILLISECONDS", &milliseconds);
        let script = format!("{PRELUDE}{waiting}");
        let held = self.here().await.execute_async(&script, Vec::new()).await;
        if !matches!(held, Ok(Value::Bool(true))) {
            let page = self.client.execute("return document.body.innerText;", Vec::new()).await;
            let page = page.ok().and_then(|page| page.as_str().map(str::to_owned)).unwrap_or_default();
            panic!("{what}: not within {DEADLINE:?} ({held:?}) in {:?}:\n{page}", self.url.get());
        }
    }

    /// Waits until the text of an element is this.
    pub(crate) async fn until_text(&self, selector: &str, wanted: &str) {
        let condition = format!("text({}) === {}", quoted(selector), quoted(wanted));
        self.until(&format!("{selector} says {wanted:?}"), &condition).await;
    }

    /// Clicks on what is there to be clicked on.
    pub(crate) async fn click(&self, selector: &str) {
        let client = self.here().await;
        let clicking = async { client.find(Locator::Css(selector)).await?.click().await };
        within("a click", clicking).await.unwrap_or_else(|error| panic!("click on {selector}: {error}"));
    }

    /// Writes into a field, over what it holds.
    pub(crate) async fn write(&self, selector: &str, text: &str) {
        let select = format!("const field = one({}); field.focus(); field.select();", quoted(selector));
        self.run(&select).await;
        self.press(&[Key::Backspace]).await;
        self.type_text(text).await;
    }

    /// Writes into a field and presses its button.
    pub(crate) async fn submit(&self, field: &str, text: &str, button: &str) {
        self.write(field, text).await;
        self.click(button).await;
    }

    /// Creates a child, and waits until it is listed.
    pub(crate) async fn create_child(&self, name: &str) {
        self.submit("#create-name", name, "#create").await;
        self.until(&format!("{name} is listed"), &format!("names().includes('{name}')")).await;
    }

    /// Deletes a child with two presses.
    pub(crate) async fn delete_child(&self, name: &str) {
        let button = format!("#children li[data-name='{name}'] .delete");
        self.click(&button).await;
        self.until("the button is armed", &format!("'armed' in dataset({})", quoted(&button))).await;
        self.click(&button).await;
    }

    /// Presses keys one after the other, wherever the focus is.
    pub(crate) async fn press(&self, keys: &[Key]) {
        let keys: String = keys.iter().map(|key| char::from(*key)).collect();
        self.type_text(&keys).await;
    }

    /// Presses the keys of a text, wherever the focus is.
    pub(crate) async fn type_text(&self, text: &str) {
        let mut actions = KeyActions::new("keyboard".to_owned());
        for value in text.chars() {
            actions = actions.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        self.perform(actions).await;
    }

    /// Presses a key while another is held.
    pub(crate) async fn chord(&self, held: Key, value: char) {
        let held = char::from(held);
        let keys = KeyActions::new("keyboard".to_owned());
        let keys = keys.then(KeyAction::Down { value: held }).then(KeyAction::Down { value });
        self.perform(keys.then(KeyAction::Up { value }).then(KeyAction::Up { value: held })).await;
    }

    async fn perform(&self, keys: KeyActions) {
        within("keys are pressed", self.here().await.perform_actions(keys)).await.unwrap();
    }

    /// A command of the DevTools protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let command = Extra::devtools(command, parameters);
        within("a command of the DevTools", self.here().await.issue_cmd(command)).await.unwrap()
    }

    async fn here(&self) -> &Client {
        within("a window comes to the front", self.client.switch_to_window(self.handle.clone())).await.unwrap();
        &self.client
    }
}

/// A text as a literal of JavaScript.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
