//! Messages between objects: in order, until they are handled.

use super::*;
use crate::limits::INBOX_BYTES;

#[test]
fn co1_an_inbox_is_in_the_order_of_commits_over_all_senders() {
    let mut bed = Bed::new();
    bed.durable(send("/z", &[("/t", "1"), ("/other", "x"), ("/t", "2")]));
    bed.durable(send("/a", &[("/t", "3")]));
    bed.durable(send("/t", &[("/t", "4")]));
    bed.durable(send("/z", &[("/t", "5")]));
    for _ in 0..2 {
        let inbox = bed.storage().inbox(&path("/t"), None, 10).unwrap();
        let texts: Vec<_> = inbox.iter().map(|received| utf8(&received.message)).collect();
        let senders: Vec<_> = inbox.iter().map(|received| received.sender.to_string()).collect();
        assert_eq!(texts, ["1", "2", "3", "4", "5"]);
        assert_eq!(senders, ["/z", "/z", "/a", "/t", "/z"]);
        assert!(inbox.is_sorted_by_key(|received| received.position));
        let (mut paged, mut after) = (Vec::new(), None);
        while let [received] = &bed.storage().inbox(&path("/t"), after, 1).unwrap()[..] {
            after = Some(received.position);
            paged.push(received.clone());
        }
        assert_eq!(paged, inbox);
        let outbox = |at, most| bed.storage().outbox(&path(at), most).unwrap().messages;
        assert_eq!((outbox("/z", 10), outbox("/z", 2), outbox("/a", 0), outbox("/other", 10)), (4, 2, 0, 0));
        assert_eq!(bed.inboxes(), ["/other", "/t"]);
        assert_eq!(bed.storage().inboxes(Some(&path("/other")), 10).unwrap(), [path("/t")]);
        assert_eq!(bed.storage().inboxes(None, 1).unwrap(), [path("/other")]);
        bed.reopen();
    }
}

#[test]
fn co1_what_was_handled_goes_with_the_commit_and_nothing_else_does() {
    let bed = Bed::new();
    bed.durable(send("/a", &[("/t", "1"), ("/t", "2"), ("/u", "same place")]));
    bed.durable(send("/b", &[("/t", "3")]));
    let inbox = bed.storage().inbox(&path("/t"), None, 10).unwrap();
    let mut set = put("/t", "handled");
    set.handled = [&inbox[0], &inbox[2]].map(|received| received.position).into();
    // Handled by another object: its own inbox has nothing there.
    let mut wrong = WriteSet::new(path("/v"));
    wrong.handled.push(inbox[1].position);
    bed.durable(wrong);
    bed.durable(set);
    assert_eq!(bed.inbox("/t"), [("/a".to_owned(), "2".to_owned())]);
    assert_eq!(bed.inbox("/u").len(), 1);
    assert_eq!(bed.storage().outbox(&path("/a"), 10).unwrap().messages, 2);
    assert_eq!(bed.storage().outbox(&path("/b"), 10).unwrap().messages, 0);
}

#[test]
fn co1_of_messages_that_were_sent_together_only_those_go_that_were_handled() {
    let bed = Bed::new();
    bed.durable(send("/a", &[("/t", "0"), ("/t", "1"), ("/u", "x"), ("/t", "2"), ("/t", "3"), ("/t", "4")]));
    bed.durable(send("/b", &[("/t", "5")]));
    let inbox = bed.storage().inbox(&path("/t"), None, 10).unwrap();
    let mut set = put("/t", "handled");
    // Not in order, and one twice, as when it was handled again after a failure.
    set.handled = [3, 0, 1, 5, 1].map(|index: usize| inbox[index].position).into();
    bed.durable(set);
    let left: Vec<_> = bed.inbox("/t").into_iter().map(|(_, text)| text).collect();
    assert_eq!(left, ["2", "4"]);
    assert_eq!(bed.inbox("/u").len(), 1);
}

#[test]
fn an_answer_is_bounded_in_bytes_but_has_at_least_one_message() {
    let bed = Bed::new();
    let third = "x".repeat(INBOX_BYTES / 3);
    let large = "x".repeat(INBOX_BYTES + 1);
    for message in [&third, &third, &third, &third, &large, &third] {
        bed.durable(send("/a", &[("/t", message)]));
    }
    let (mut sizes, mut after) = (Vec::new(), None);
    loop {
        let page = bed.storage().inbox(&path("/t"), after, 10).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.position);
        sizes.push(page.len());
    }
    assert_eq!(sizes, [3, 1, 1, 1]);
}
