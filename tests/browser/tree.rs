//! The subtree below the path.

use fantoccini::key::Key;
use serde_json::json;

use crate::{Window, play};

fn node(path: &str) -> String {
    format!("#tree li[data-path='{path}']")
}

fn facts(path: &str) -> String {
    format!("text(\"{} > .node .facts\")", node(path))
}

async fn open_node(window: &Window, path: &str) {
    window.until(&format!("{path} is shown"), &format!("shown(\"{}\")", node(path))).await;
    window.click(&format!("{} > .node .toggle", node(path))).await;
}

#[tokio::test]
async fn fp12_the_subtree_is_shown_and_followed() {
    play(async |stage| {
        stage.create("/team1/a/b/c").await;
        stage.create("/team1/d").await;
        let window = stage.open("/team1").await;
        open_node(&window, "/team1/a").await;
        open_node(&window, "/team1/a/b").await;
        window.until("the third level", &format!("shown(\"{}\")", node("/team1/a/b/c"))).await;
        window.until("what is below is counted", &format!("{} === '1 child'", facts("/team1/a"))).await;
        assert_eq!(window.value(&format!("one(\"{} .toggle\").disabled", node("/team1/d"))).await, true);

        // What others do is seen within the two seconds of a refresh.
        let child = stage.open("/team1/a/b").await;
        window.until("a socket", &format!("{} === '1 child · 1 connected'", facts("/team1/a/b"))).await;
        child.create_child("new").await;
        window.until("a new one", &format!("shown(\"{}\")", node("/team1/a/b/new"))).await;
        stage.call("/team1/a/b", "deleteAgent", &json!({ "name": "c" })).await;
        window.until("one is gone", &format!("one(\"{}\") === null", node("/team1/a/b/c"))).await;
        window.click(&format!("{} > .node .toggle", node("/team1/a"))).await;
        window.until("it closes", &format!("!shown(\"{}\")", node("/team1/a/b"))).await;

        window.click(&format!("{} > .node a", node("/team1/d"))).await;
        window.until("its page opens", "location.pathname === '/team1/d'").await;
    })
    .await;
}

#[tokio::test]
async fn fp12_looking_creates_nothing() {
    play(async |stage| {
        let window = stage.open("/looked/at").await;
        window.until("an empty subtree", "shown('#tree > .empty')").await;
        assert_eq!(stage.objects("/").await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn fp12_what_no_parent_lists_is_in_the_subtree() {
    play(async |stage| {
        stage.call("/team1/unlisted/deep", "increment", &json!(null)).await;
        let window = stage.open("/team1").await;
        open_node(&window, "/team1/unlisted").await;
        window.until("it is found", &format!("shown(\"{}\")", node("/team1/unlisted/deep"))).await;
        assert_eq!(window.value("names().length").await, 0);
    })
    .await;
}

#[tokio::test]
async fn fp12_arrow_keys_walk_through_the_subtree() {
    play(async |stage| {
        stage.create("/t/a/b").await;
        stage.create("/t/c").await;
        let window = stage.open("/t").await;
        window.until("it is shown", &format!("shown(\"{}\")", node("/t/c"))).await;
        window.run("one('#tree .toggle').focus();").await;
        let at = async |path: &str| {
            let what = format!("{path} has the focus");
            window.until(&what, &format!("document.activeElement.pathname === '{path}'")).await;
        };
        window.press(&[Key::Right]).await;
        window.until("it opens", &format!("shown(\"{}\")", node("/t/a/b"))).await;
        window.press(&[Key::Right]).await;
        at("/t/a/b").await;
        window.press(&[Key::Down]).await;
        at("/t/c").await;
        window.press(&[Key::Up]).await;
        at("/t/a/b").await;
        window.press(&[Key::Left]).await;
        at("/t/a").await;
        window.press(&[Key::Left]).await;
        window.until("it closes", &format!("!shown(\"{}\")", node("/t/a/b"))).await;
    })
    .await;
}
