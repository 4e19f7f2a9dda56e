//! Bounds of the queue.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;
use std::thread::Thread;

use super::*;
use crate::limits::WRITER_QUEUE_SETS;

#[test]
fn a_full_queue_admits_nobody_until_a_batch_has_ended() {
    struct Count(AtomicUsize, Thread);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            self.1.unpark();
        }
    }
    let bed = Bed::new();
    let lock = bed.raw();
    assert!(bed.storage().admit(Waker::noop()));
    // The writer waits for this lock, or fails and lets go of everything: both are fine here.
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let count = Arc::new(Count(AtomicUsize::new(0), thread::current()));
    let mut refused = false;
    for _ in 0..8 * WRITER_QUEUE_SETS {
        let _ = bed.storage().commit(put("/a", "x"), Seq::NONE);
        if !bed.storage().admit(&count.clone().into()) {
            refused = true;
            break;
        }
    }
    lock.execute_batch("ROLLBACK").unwrap();
    if refused {
        while count.0.load(Ordering::SeqCst) == 0 {
            thread::park();
        }
        assert!(bed.storage().admit(Waker::noop()));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}
