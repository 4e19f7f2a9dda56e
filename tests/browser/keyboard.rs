//! Without a mouse.

use fantoccini::key::Key;

use crate::{Window, play};

/// More than there are places to go to in the page.
const MOST_STEPS: usize = 80;

/// Presses Tab until an element has the focus, and checks that one can see where the focus is on the way.
pub(crate) async fn tab_to(window: &Window, selector: &str) {
    for _ in 0..MOST_STEPS {
        window.press(&[Key::Tab]).await;
        let seen = "document.activeElement === document.body
            || getComputedStyle(document.activeElement).outlineStyle !== 'none'";
        let focused = window.value("document.activeElement.outerHTML.slice(0, 120)").await;
        assert_eq!(window.value(seen).await, true, "the focus can be seen on {focused}");
        if window.value(&format!("document.activeElement.matches(\"{selector}\")")).await == true {
            return;
        }
    }
    panic!("{selector} is not reached by Tab");
}

#[tokio::test]
async fn fp12_everything_can_be_done_with_the_keyboard() {
    play(async |stage| {
        let window = stage.open("/team1").await;
        let child = stage.open("/team1/worker-1").await;
        tab_to(&window, "#increment").await;
        window.press(&[Key::Enter]).await;
        window.type_text(" ").await;
        window.until_text("#count", "2").await;

        tab_to(&window, "#create-name").await;
        window.type_text("worker-1").await;
        window.press(&[Key::Enter]).await;
        window.until("it is created", "names().join() === 'worker-1'").await;
        assert_eq!(window.value("document.activeElement.id").await, "create-name", "for the next one");

        tab_to(&window, "#broadcast-message").await;
        window.type_text("all hands").await;
        window.press(&[Key::Enter]).await;
        child.until_text("#latest-message", "all hands").await;

        tab_to(&window, ".message").await;
        window.type_text("just you").await;
        window.press(&[Key::Enter]).await;
        child.until_text("#latest-message", "just you").await;

        tab_to(&window, ".delete").await;
        window.press(&[Key::Enter]).await;
        window.until("it is armed", "'armed' in document.activeElement.dataset").await;
        window.until("that is announced", "text('#announcer').startsWith('Press again to delete worker-1')").await;
        window.press(&[Key::Escape]).await;
        window.until("it is disarmed", "!('armed' in document.activeElement.dataset)").await;
        window.press(&[Key::Enter, Key::Enter]).await;
        window.until("it is deleted", "names().length === 0").await;
        window.until("the focus is not lost", "document.activeElement.id === 'create-name'").await;

        tab_to(&window, "#delete-object").await;
        window.press(&[Key::Enter, Key::Enter]).await;
        window.until_text("#connection", "deleted").await;
        window.until("the way back has the focus", "document.activeElement.id === 'reopen'").await;
        window.press(&[Key::Enter]).await;
        window.until_text("#connection", "live").await;
        window.until("and so has what comes next", "document.activeElement.id === 'increment'").await;
        window.press(&[Key::Enter]).await;
        window.until_text("#count", "1").await;
    })
    .await;
}

#[tokio::test]
async fn fp12_an_error_is_corrected_where_it_was_made() {
    play(async |stage| {
        let window = stage.open("/team1").await;
        tab_to(&window, "#create-name").await;
        window.type_text("no spaces").await;
        window.press(&[Key::Enter]).await;
        window.until_text("#create-note", "Invalid agent name").await;
        window.until("the focus is there", "document.activeElement.id === 'create-name'").await;
        assert_eq!(window.value("one('#create-name').getAttribute('aria-describedby')").await, "create-note");
        window.type_text("!").await;
        window.until("the error goes", "text('#error') === '' && one('#create-name').ariaInvalid === 'false'").await;
    })
    .await;
}
