//! From a list that fails to a short one that still does.

/// Leaves out as much of a list as it can while `fails` still gives a reason, trying at most `tries` shorter lists: halves
/// first, then smaller and smaller parts, at last one by one.
pub(super) fn shortest<T: Clone>(
    mut list: Vec<T>,
    mut reason: String,
    mut tries: usize,
    fails: impl Fn(&[T]) -> Option<String>,
) -> (Vec<T>, String) {
    let mut part = list.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        let before = list.len();
        while at < list.len() && tries > 0 {
            let mut shorter = list.clone();
            shorter.drain(at..(at + part).min(list.len()));
            tries -= 1;
            match fails(&shorter) {
                Some(why) => (list, reason) = (shorter, why),
                None => at += part,
            }
        }
        // What could not be left out alone may be left out now that others are.
        part = if part == 1 && list.len() < before { 1 } else { part / 2 };
        if tries == 0 {
            break;
        }
    }
    (list, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_needed_stays_and_nothing_else_does(length in 1usize..60, needed in prop::collection::btree_set(0usize..60, 1..4)) {
            prop_assume!(needed.iter().all(|index| *index < length));
            let fails = |list: &[usize]| needed.iter().all(|index| list.contains(index)).then(|| "it fails".to_owned());
            let (short, reason) = shortest((0..length).collect(), String::new(), 10_000, fails);
            prop_assert_eq!(short, needed.iter().copied().collect::<Vec<_>>());
            prop_assert!(reason == "it fails" || length == needed.len());
        }
    }
}
