//! The protocol, step by step; under a seeded scheduler; and, where it is small enough, in every order there is.

mod schedule;
mod world;

use super::*;

const EVENTS: usize = 64;

type Slot = Core<u32, &'static str>;

fn slot() -> Slot {
    Core::new("body", Seq::NONE)
}

/// A slot with a runner.
fn running() -> (Slot, &'static str) {
    let mut slot = slot();
    let body = slot.start().unwrap();
    (slot, body)
}

#[track_caller]
fn queue(slot: &mut Slot, events: impl IntoIterator<Item = u32>) {
    for event in events {
        assert!(matches!(slot.post(event, Room::Ordinary), Posted::Queued), "{event}");
    }
}

#[track_caller]
fn taken(next: Next<u32, &'static str>) -> Vec<u32> {
    match next {
        Next::Run("body", events) => events,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_to_post_runs_and_the_others_queue() {
    let mut slot = slot();
    assert!(slot.is_resting());
    assert!(matches!(slot.post(1, Room::Ordinary), Posted::Run("body")));
    assert!(!slot.is_resting());
    assert!(matches!(slot.post(2, Room::Reserved), Posted::Queued));
    assert!(slot.start().is_none(), "there is a runner");
    assert!(slot.body_mut().is_none(), "the runner has the body");
    assert_eq!(taken(slot.next("body", EVENTS)), [1, 2]);
}

#[test]
fn a_runner_takes_no_more_than_it_asks_for_and_in_order() {
    let (mut slot, body) = running();
    queue(&mut slot, 1..=5);
    assert_eq!(taken(slot.next(body, 2)), [1, 2]);
    queue(&mut slot, [6]);
    assert_eq!(taken(slot.next(body, EVENTS)), [3, 4, 5, 6]);
}

#[test]
fn the_body_is_back_when_nothing_waits() {
    let (mut slot, body) = running();
    assert!(matches!(slot.next(body, EVENTS), Next::Rest));
    assert!(slot.is_resting());
    assert_eq!(slot.body_mut(), Some(&mut "body"));
    assert!(slot.resume().is_none(), "nobody laid it down");
    assert!(matches!(slot.post(1, Room::Ordinary), Posted::Run(_)), "the next event finds it");
}

#[test]
fn a_full_mailbox_refuses_and_has_room_for_what_must_not_be_refused() {
    let (mut slot, body) = running();
    queue(&mut slot, (0..).take(MAILBOX_EVENTS));
    assert!(matches!(slot.post(7, Room::Ordinary), Posted::Full(7)));
    for _ in 0..MAILBOX_RESERVED_EVENTS {
        assert!(matches!(slot.post(8, Room::Reserved), Posted::Queued));
    }
    assert!(matches!(slot.post(9, Room::Reserved), Posted::Full(9)));
    assert_eq!(taken(slot.next(body, MAILBOX_RESERVED_EVENTS + 1))[MAILBOX_EVENTS..], [8].repeat(65_537 - 1_024));
    queue(&mut slot, [10]);
}

#[test]
fn a_runner_that_waits_stays_responsible() {
    let (mut slot, body) = running();
    queue(&mut slot, 1..=4);
    let events = taken(slot.next(body, 3));
    assert_eq!(events, [1, 2, 3]);
    assert!(slot.park(body, vec![2, 3]).is_none());
    assert!(!slot.is_resting(), "events wait");
    assert!(slot.start().is_none());
    assert!(slot.evict().is_none());
    queue(&mut slot, [5]);
    assert_eq!(slot.resume(), Some("body"));
    assert!(slot.resume().is_none(), "only one takes it up");
    assert_eq!(taken(slot.next("body", EVENTS)), [2, 3, 4, 5], "in the order in which they came");
}

#[test]
fn a_parked_slot_without_events_is_not_resting() {
    let (mut slot, body) = running();
    assert!(slot.park(body, Vec::new()).is_none());
    assert!(!slot.is_resting());
    assert!(slot.evict().is_none());
    queue(&mut slot, [1]);
}

#[test]
fn only_a_resting_slot_is_evicted_and_then_it_is_gone() {
    let (mut slot, body) = running();
    assert!(slot.evict().is_none(), "somebody runs it");
    assert!(matches!(slot.next(body, EVENTS), Next::Rest));
    assert_eq!(slot.evict(), Some("body"));
    assert_eq!(slot.life(), Life::Evicted);
    assert!(matches!(slot.post(1, Room::Reserved), Posted::Gone(1)));
    assert!(slot.start().is_none() && slot.resume().is_none() && slot.evict().is_none());
    assert!(!slot.is_resting());
}

#[test]
fn a_kill_gives_back_what_waits_and_the_body_of_a_resting_slot() {
    let mut slot = slot();
    assert!(matches!(slot.kill(), (events, Some("body")) if events.is_empty()));
    assert_eq!(slot.life(), Life::Deleting);
    assert!(matches!(slot.post(1, Room::Reserved), Posted::Gone(1)));
    slot.killed(Life::Deleted(Seq(7)));
    assert_eq!(slot.life(), Life::Deleted(Seq(7)));
    assert!(slot.start().is_none() && slot.resume().is_none() && slot.evict().is_none());
}

#[test]
fn a_kill_leaves_the_mailbox_to_a_runner_which_then_finds_out() {
    let (mut slot, body) = running();
    queue(&mut slot, 1..=3);
    assert_eq!(taken(slot.next(body, 1)), [1]);
    assert!(matches!(slot.kill(), (events, None) if events.is_empty()));
    assert!(matches!(slot.post(4, Room::Reserved), Posted::Gone(4)));
    slot.killed(Life::Dropped);
    assert!(matches!(slot.next(body, EVENTS), Next::Dead("body", events) if events == [2, 3]));
    assert!(slot.start().is_none(), "a dead slot has no next runner");
}

#[test]
fn a_runner_that_would_wait_finds_out_too_and_keeps_its_events() {
    let (mut slot, body) = running();
    queue(&mut slot, 1..=3);
    let events = taken(slot.next(body, 2));
    drop(slot.kill());
    assert_eq!(slot.park(body, events), Some(("body", vec![1, 2, 3])), "with those that it had not taken yet");
    assert!(slot.resume().is_none());
}

#[test]
fn a_kill_takes_the_body_of_a_runner_that_waits() {
    let (mut slot, body) = running();
    queue(&mut slot, 1..=3);
    let events = taken(slot.next(body, EVENTS));
    assert!(slot.park(body, events).is_none());
    assert!(matches!(slot.kill(), (events, Some("body")) if events == [1, 2, 3]));
    assert!(slot.resume().is_none(), "a wake-up that comes late finds nothing");
}
