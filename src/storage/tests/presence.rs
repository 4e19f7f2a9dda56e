//! What is noted of what is stored: never too little.

use super::*;
use crate::limits::PRESENCE_OBJECTS;

fn may_have(bed: &Bed, at: &str) -> bool {
    bed.storage().0.shared.presence.may_have(&path(at))
}

/// More children than are noted when storage opens.
fn many_children() -> WriteSet {
    let children = (0..=PRESENCE_OBJECTS as u64)
        .map(|ordinal| (ordinal, Some(Child { name: name(&format!("c{ordinal}")), class: "agent".into() })));
    WriteSet { children: children.collect(), ..WriteSet::new(path("/many")) }
}

#[test]
fn what_is_stored_is_found_before_and_after_all_of_it_is_noted() {
    let mut bed = Bed::new();
    bed.durable(many_children());
    bed.reopen();
    assert!(bed.storage().load(&path("/many/c7")).unwrap().is_some());
    bed.eventually("noted", |storage| !storage.0.shared.presence.may_have(&path("/never")));
    assert!((0..=PRESENCE_OBJECTS).all(|ordinal| may_have(&bed, &format!("/many/c{ordinal}"))));
    bed.durable(put("/new", "x"));
    assert_eq!(bed.state("/new").as_deref(), Some("x"));
}

#[test]
fn what_is_gone_is_forgotten_and_what_is_written_meanwhile_is_not() {
    let bed = Bed::new();
    bed.durable(put("/before", "x"));
    assert!(!may_have(&bed, "/never"));
    let noted = |number: usize| path(&format!("/gone/{number}"));
    let mut written = 0;
    let mut last = Seq::NONE;
    // More than eight times what there was room for.
    for number in 0..16 * PRESENCE_OBJECTS {
        bed.storage().0.shared.presence.note(&noted(number));
        if number % 64 == 0 {
            last = bed.storage().commit(put(&format!("/written/{written}"), "x"), Seq::NONE).unwrap();
            written += 1;
        }
    }
    assert_eq!(bed.decided(last), Outcome::Durable);
    // The early ones, which no filter made since has seen.
    bed.eventually("forgotten", |storage| {
        (0..1_000).filter(|number| storage.0.shared.presence.may_have(&noted(*number))).count() < 100
    });
    assert!(may_have(&bed, "/before"));
    assert!((0..written).all(|number| bed.state(&format!("/written/{number}")).is_some()));
}
