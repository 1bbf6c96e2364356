//! Computations on the thread that wants them, for a simulation that is to be the same each time.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::Work;

thread_local! {
    static HERE: RefCell<Option<VecDeque<Work>>> = const { RefCell::new(None) };
}

/// From now on, what this thread wants computed waits for [`compute`].
pub fn begin() {
    HERE.set(Some(VecDeque::new()));
}

/// Computes and answers all that waits on this thread, and what comes of it.
pub fn compute() {
    while let Some(work) = HERE.with_borrow_mut(|here| here.as_mut()?.pop_front()) {
        work()();
    }
}

pub(super) fn is_begun() -> bool {
    HERE.with_borrow(Option::is_some)
}

/// Keeps work for this thread; gives it back when it is for the workers.
pub(super) fn keep(work: Work) -> Option<Work> {
    HERE.with_borrow_mut(|here| match here {
        Some(here) => {
            here.push_back(work);
            None
        }
        None => Some(work),
    })
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use crate::on_worker;

    fn poll<T>(answer: &mut (impl Future<Output = Option<T>> + Unpin)) -> Poll<Option<T>> {
        std::pin::Pin::new(answer).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_this_thread_wants_computed_waits_for_it() {
        super::begin();
        let thread = || std::thread::current().id();
        let mut answer = Box::pin(on_worker(move || (thread(), Box::pin(on_worker(thread)))));
        assert!(poll(&mut answer).is_pending());
        super::compute();
        let Poll::Ready(Some((outer, mut inner))) = poll(&mut answer) else { panic!("not computed") };
        assert_eq!((outer, poll(&mut inner)), (thread(), Poll::Ready(Some(thread()))));
    }
}
