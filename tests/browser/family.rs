//! A parent and its children: creating, messages, broadcasts, deletion.

use fantoccini::key::Key;
use serde_json::json;

use crate::{Window, play};

fn row(name: &str, part: &str) -> String {
    format!("#children li[data-name='{name}'] {part}")
}

/// Sends a message through the row of a child.
async fn send(parent: &Window, name: &str, message: &str) {
    parent.submit(&row(name, ".message"), message, &row(name, ".send")).await;
}

#[tokio::test]
async fn fp12_a_message_arrives_in_the_childs_window() {
    play(async |stage| {
        let parent = stage.open("/team1").await;
        parent.create_child("worker-1").await;
        parent.until_text("#create-note", "Created /team1/worker-1").await;
        assert_eq!(parent.value("one('#create-name').value").await, "", "what was done leaves the field");

        let child = stage.blank().await;
        let link = parent.value(&format!("one(\"{}\").href", row("worker-1", ".open"))).await;
        child.go(link.as_str().unwrap()).await;
        child.until("the child is live", "dataset('#connection').state === 'live'").await;
        send(&parent, "worker-1", "good morning").await;
        child.until_text("#latest-message", "good morning").await;
        child.until_text("#latest-sender", "team1").await;
        child.until("it is in the log", "entries('message')[0] === 'team1 good morning'").await;
        parent.until_text(&row("worker-1", ".note"), "Sent").await;
        assert_eq!(parent.value("entries('message').length").await, 0, "nobody else gets it");
    })
    .await;
}

#[tokio::test]
async fn fp12_a_broadcast_arrives_in_every_childs_window() {
    play(async |stage| {
        stage.create("/team1/a").await;
        stage.create("/team1/b").await;
        stage.create("/team1/c/grandchild").await;
        let parent = stage.open("/team1").await;
        let children = [stage.open("/team1/a").await, stage.open("/team1/b").await];
        let grandchild = stage.open("/team1/c/grandchild").await;
        parent.submit("#broadcast-message", "all hands", "#broadcast").await;
        parent.until_text("#broadcast-note", "Sent to 3 children").await;
        for child in &children {
            child.until_text("#latest-message", "all hands").await;
        }
        assert_eq!(grandchild.value("entries('message').length").await, 0, "it reaches children only");

        let root = stage.open("/").await;
        root.submit("#broadcast-message", "from the top", "#broadcast").await;
        parent.until_text("#latest-message", "from the top").await;
        parent.until_text("#latest-sender", "root").await;
    })
    .await;
}

#[tokio::test]
async fn fp12_a_deleted_child_says_so_and_can_be_opened_anew() {
    play(async |stage| {
        stage.create("/team1/worker-1/part").await;
        let parent = stage.open("/team1").await;
        let other = stage.open("/team1").await;
        let child = stage.open("/team1/worker-1").await;
        let grandchild = stage.open("/team1/worker-1/part").await;
        child.click("#increment").await;
        child.until_text("#count", "1").await;
        child.submit("#create-name", "no spaces", "#create").await;
        child.until_text("#error", "Invalid agent name").await;

        parent.delete_child("worker-1").await;
        parent.until("the row is gone", "names().length === 0").await;
        other.until("it is gone in the other window", "names().length === 0").await;
        for deleted in [&child, &grandchild] {
            deleted.until_text("#connection", "deleted").await;
            deleted.until_text("#closed-title", "This object was deleted").await;
            assert_eq!(deleted.value("shown('#closed') && shown('#reopen') && !shown('#retry')").await, true);
            for part in ["#increment", "#tree", "#delete-object"] {
                let inert = format!("one('{part}').closest('[inert]') !== null");
                assert_eq!(deleted.value(&inert).await, true, "{part} does nothing any more");
            }
            assert_eq!(deleted.value("text('#error')").await, "", "what went wrong before does not matter now");
        }
        assert_eq!(stage.objects("/team1").await, ["/team1"], "a deleted window brings nothing back");

        child.click("#reopen").await;
        child.until_text("#connection", "live").await;
        child.until_text("#count", "0").await;
        child.until("there are no children", "names().length === 0 && !shown('#closed')").await;
        child.click("#increment").await;
        child.until_text("#count", "1").await;
        assert_eq!(grandchild.value("text('#connection')").await, "deleted", "the other waits to be asked");
    })
    .await;
}

#[tokio::test]
async fn fp12_deletion_asks_once_more() {
    play(async |stage| {
        stage.create("/team1/a").await;
        let window = stage.open("/team1").await;
        let button = row("a", ".delete");
        let armed = format!("'armed' in dataset(\"{button}\")");
        for disarm in [Key::Escape, Key::Tab] {
            window.click(&button).await;
            window.until("it is armed", &armed).await;
            assert_eq!(window.value(&format!("text(\"{button}\")")).await, "Confirm");
            window.press(&[disarm]).await;
            window.until("it is disarmed", &format!("!({armed})")).await;
        }
        assert_eq!(stage.state("/team1").await["agents"], json!(["a"]));
    })
    .await;
}

#[tokio::test]
async fn fp12_an_object_is_deleted_from_its_own_page() {
    play(async |stage| {
        stage.create("/team1/a/b").await;
        let parent = stage.open("/team1").await;
        let window = stage.open("/team1/a").await;
        assert_eq!(window.value("text('#danger-path')").await, "/team1/a");
        window.click("#delete-object").await;
        window.until("it is armed", "'armed' in dataset('#delete-object')").await;
        assert_eq!(stage.objects("/team1/a").await.len(), 2, "one press deletes nothing");
        window.click("#delete-object").await;
        window.until_text("#connection", "deleted").await;
        parent.until("the parent's list loses it", "names().length === 0").await;
        assert_eq!(stage.objects("/team1").await, ["/team1"]);
    })
    .await;
}

#[tokio::test]
async fn fp12_the_list_follows_what_others_do() {
    play(async |stage| {
        let window = stage.open("/team1").await;
        for name in ["zoe", "adam", "mia"] {
            stage.call("/team1", "createAgent", &json!({ "name": name })).await;
        }
        window.until("in the order of creation", "names().join() === 'zoe,adam,mia'").await;
        window.write(&row("mia", ".message"), "half a senten").await;
        stage.call("/team1", "deleteAgent", &json!({ "name": "adam" })).await;
        window.until("one is gone", "names().join() === 'zoe,mia'").await;
        stage.call("/team1", "createAgent", &json!({ "name": "adam" })).await;
        window.until("it comes back last", "names().join() === 'zoe,mia,adam'").await;
        window.type_text("ce").await;
        let written = window.value(&format!("one(\"{}\").value", row("mia", ".message"))).await;
        assert_eq!(written, "half a sentence", "what is being written stays, and so does the focus");
        assert_eq!(window.value("text('#children-count')").await, "3");
        window.until("the log tells", "entries('event').includes('deleted adam')").await;
    })
    .await;
}

#[tokio::test]
async fn fp12_many_children_are_shown_a_part_at_a_time() {
    play(async |stage| {
        let window = stage.open("/many").await;
        let create = "
            const created = [];
            for (let child = 0; child < 150; child++) {
                const name = `child-${child}`;
                created.push(fetch('/many:createAgent', {
                    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name }),
                }));
            }
            return Promise.all(created).then((answers) => answers.every((answer) => answer.ok));";
        assert_eq!(window.run(create).await, true);
        window.until_text("#children-count", "150").await;
        window.until_text("#children-more", "Show 100 more of 150").await;
        assert_eq!(window.value("names().length").await, 20);
        window.click("#children-more").await;
        window.until("a hundred more", "names().length === 120").await;
        window.write("#filter", "child-14").await;
        window.until_text("#filter-matches", "11 matches").await;
        assert_eq!(window.value("names().every((name) => name.startsWith('child-14'))").await, true);
        window.write("#filter", "").await;
        window.until("twenty at first again", "names().length === 20").await;
        window.create_child("last").await;
        assert_eq!(window.value("names().length").await, 21, "what one has made is shown, however far down it is");
        window.write("#filter", "no such").await;
        window.until_text("#filter-matches", "0 matches").await;
        assert_eq!(window.value("names().length").await, 0);
    })
    .await;
}
