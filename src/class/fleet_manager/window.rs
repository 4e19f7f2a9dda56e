//! The front of the queue of one type, as it is in memory: ranks alone, so that it is small whatever the tasks are.

use std::collections::BTreeSet;

use super::keys;
use crate::limits::WINDOW_RANKS;

/// The lowest ranks of a queue. What is not here sorts behind all that is, unless all is here.
#[derive(Debug, Default)]
pub(super) struct Window {
    ranks: BTreeSet<Box<str>>,
    /// Whether there are no others.
    whole: bool,
}

impl Window {
    pub(super) fn new(ranks: impl IntoIterator<Item = Box<str>>, whole: bool) -> Self {
        Self { ranks: ranks.into_iter().collect(), whole }
    }

    /// Whether the front of the queue must be read.
    pub(super) fn is_spent(&self) -> bool {
        self.ranks.is_empty() && !self.whole
    }

    pub(super) fn first(&self) -> Option<&str> {
        self.ranks.first().map(|rank| &**rank)
    }

    pub(super) fn remove(&mut self, rank: &str) {
        self.ranks.remove(rank);
    }

    /// A task was queued.
    pub(super) fn insert(&mut self, rank: &str) {
        if self.whole || self.ranks.last().is_some_and(|last| rank < &**last) {
            self.ranks.insert(rank.into());
        }
        if self.ranks.len() > 2 * WINDOW_RANKS {
            self.ranks.pop_last();
            self.whole = false;
        }
    }

    /// A batch was cancelled.
    pub(super) fn remove_batch(&mut self, batch: &str) {
        self.ranks.retain(|rank| keys::batch_of(rank) != batch);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A window that is read anew when it is spent gives the queue in its order, whatever is queued meanwhile.
        #[test]
        fn fm5_the_front_of_the_queue_is_always_the_lowest(steps in prop::collection::vec((any::<bool>(), 0..500_u32), 1..400)) {
            let mut queue: BTreeSet<Box<str>> = BTreeSet::new();
            let mut window = Window::default();
            for (take, n) in steps {
                if take {
                    if window.is_spent() {
                        let ranks: Vec<Box<str>> = queue.iter().take(7).cloned().collect();
                        window = Window::new(ranks, queue.len() <= 7);
                    }
                    let first = window.first().map(str::to_owned);
                    prop_assert_eq!(first.as_deref(), queue.first().map(|rank| &**rank));
                    if let Some(first) = first {
                        window.remove(&first);
                        queue.remove(&*first);
                    }
                } else {
                    let rank: Box<str> = keys::rank(0, "b", n).into();
                    if queue.insert(rank.clone()) {
                        window.insert(&rank);
                    }
                }
            }
        }
    }

    #[test]
    fn fm1_a_window_stays_small() {
        let mut window = Window::new([], true);
        (0..10_000).rev().for_each(|n| window.insert(&keys::rank(0, "b", n)));
        assert!(window.ranks.len() <= 2 * WINDOW_RANKS && !window.whole);
        assert_eq!(window.first(), Some(&*keys::rank(0, "b", 0)));
    }

    #[test]
    fn fm4_the_ranks_of_a_cancelled_batch_go() {
        let mut window = Window::new([keys::rank(0, "a", 1).into(), keys::rank(0, "b", 1).into()], true);
        window.remove_batch("a");
        assert_eq!(window.first(), Some(&*keys::rank(0, "b", 1)));
    }
}
