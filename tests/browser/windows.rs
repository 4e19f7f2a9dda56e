//! Several windows on one object.

use fantoccini::key::Key;

use crate::play;

#[tokio::test]
async fn fp12_two_windows_on_one_path_see_each_others_increments() {
    play(async |stage| {
        let first = stage.open("/team1/project1").await;
        let second = stage.open("/team1//project1/").await;
        first.click("#increment").await;
        first.until_text("#count", "1").await;
        second.until_text("#count", "1").await;
        second.click("#increment").await;
        second.until_text("#count", "2").await;
        first.until_text("#count", "2").await;
        assert_eq!(stage.state("/team1/project1").await["data"]["count"], 2);
    })
    .await;
}

#[tokio::test]
async fn fp12_increments_of_two_windows_at_once_are_all_counted() {
    play(async |stage| {
        let first = stage.open("/busy").await;
        let second = stage.open("/busy").await;
        let press = "for (let press = 0; press < 50; press++) one('#increment').click();";
        first.run(press).await;
        second.run(press).await;
        first.until_text("#count", "100").await;
        second.until_text("#count", "100").await;
        assert_eq!(stage.state("/busy").await["data"]["count"], 100);
    })
    .await;
}

#[tokio::test]
async fn fp12_the_path_is_shown_as_links_up_to_the_root() {
    play(async |stage| {
        let window = stage.open("/team1/project1").await;
        assert_eq!(window.value("document.title").await, "/team1/project1 · Fleet");
        assert_eq!(window.value("text('h1')").await, "/team1/project1");
        assert_eq!(window.value("texts('#breadcrumb a').join(' ')").await, "root team1 project1");
        window.click("#breadcrumb li:nth-child(2) a").await;
        window.until("the parent opens", "location.pathname === '/team1' && shown('#danger')").await;
        window.click("#breadcrumb a").await;
        window.until("the root opens", "location.pathname === '/' && dataset('#connection').state === 'live'").await;
        assert_eq!(window.value("shown('#danger')").await, false, "nobody deletes the whole fleet by two clicks");
        window.click("#root-hint a").await;
        window.until("what the hint names opens", "location.pathname === '/team1/project1'").await;

        let deep = stage.open("/a/b/c/d/e/f/g/h/i/j").await;
        assert_eq!(deep.value("all('#breadcrumb a').filter((a) => a.checkVisibility()).length").await, 5);
        deep.click("#breadcrumb button").await;
        deep.until("the path unfolds", "all('#breadcrumb a').every((a) => a.checkVisibility())").await;
        deep.press(&[Key::Enter]).await;
        deep.until("the first of what was folded has the focus", "location.pathname === '/a'").await;
    })
    .await;
}
