//! The way back to a thread of actors. Answers that come together go through it together: given one by one, the first
//! would wake the thread, which would take the processor from the worker before the second is given, and so on.

use std::cell::RefCell;

use actix_rt::{Arbiter, System};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Answer;

thread_local! {
    /// With the number of the system of actors that it was made in: a thread may see several, one after the other.
    static PORT: RefCell<Option<(usize, Port)>> = const { RefCell::new(None) };
}

/// Where a thread of actors takes answers. Clones are the same.
#[derive(Clone)]
pub(super) struct Port(UnboundedSender<Batch>);

/// Answers that are to be given on one thread. Whatever becomes of that thread, all are given.
struct Batch(Vec<Answer>);

impl Drop for Batch {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|answer| answer());
    }
}

impl Port {
    /// That of the thread that calls; `None` when it is none of actors.
    pub(super) fn of_this_thread() -> Option<Self> {
        let system = System::try_current()?.id();
        PORT.with_borrow_mut(|known| match known {
            Some((of, port)) if *of == system && !port.0.is_closed() => Some(port.clone()),
            _ => {
                let (port, batches) = unbounded_channel();
                let is_open = Arbiter::try_current()?.spawn(take(batches));
                is_open.then(|| known.insert((system, Self(port))).1.clone())
            }
        })
    }

    /// Lets the thread give these answers.
    pub(super) fn give(&self, answers: Vec<Answer>) {
        // Those of a thread that has gone are given when they come back from the channel.
        let _ = self.0.send(Batch(answers));
    }

    fn is(&self, other: Option<&Self>) -> bool {
        other.is_some_and(|other| self.0.same_channel(&other.0))
    }
}

async fn take(mut batches: UnboundedReceiver<Batch>) {
    while let Some(batch) = batches.recv().await {
        drop(batch);
    }
}

/// Gives answers, those that go to the same thread together.
pub(super) fn give_all(mut answers: Vec<(Option<Port>, Answer)>) {
    while let Some((port, answer)) = answers.pop() {
        let Some(port) = port else {
            answer();
            continue;
        };
        let together = answers.extract_if(.., |(other, _)| port.is(other.as_ref()));
        let mut together: Vec<_> = together.map(|(_, answer)| answer).collect();
        together.push(answer);
        match together.len() {
            // A lone one need not go by way of the port.
            1 => together.drain(..).for_each(|answer| answer()),
            _ => port.give(together),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;

    type Told = UnboundedSender<(u32, ThreadId)>;

    fn answer(told: &Told, number: u32) -> Answer {
        let told = told.clone();
        Box::new(move || told.send((number, thread::current().id())).unwrap())
    }

    fn all(mut hears: UnboundedReceiver<(u32, ThreadId)>) -> Vec<(u32, ThreadId)> {
        std::iter::from_fn(|| hears.try_recv().ok()).collect()
    }

    #[actix_rt::test]
    async fn what_goes_to_one_thread_is_given_there_together_and_in_order() {
        let (told, hears) = unbounded_channel();
        let (here, port) = (thread::current().id(), Port::of_this_thread().unwrap());
        let answers: Vec<_> =
            (0..5).map(|number| ((number != 2).then(|| port.clone()), answer(&told, number))).collect();
        let worker = thread::spawn(move || {
            give_all(answers);
            thread::current().id()
        });
        let worker = worker.join().unwrap();
        tokio::task::yield_now().await;
        assert_eq!(all(hears), [(2, worker), (0, here), (1, here), (3, here), (4, here)]);
    }

    #[actix_rt::test]
    async fn one_alone_is_given_at_once() {
        let (told, hears) = unbounded_channel();
        give_all(vec![(Port::of_this_thread(), answer(&told, 1)), (None, answer(&told, 2))]);
        assert_eq!(all(hears).len(), 2, "nothing was waited for");
    }

    #[test]
    fn what_goes_to_a_thread_that_has_gone_is_given_all_the_same() {
        let (told, hears) = unbounded_channel();
        let open = || actix_rt::System::new().block_on(async { Port::of_this_thread().unwrap() });
        // One of them is on its way when the thread ends, the others come later.
        let port = actix_rt::System::new().block_on(async {
            let port = Port::of_this_thread().unwrap();
            port.give(vec![answer(&told, 1)]);
            port
        });
        port.give(vec![answer(&told, 2), answer(&told, 3)]);
        let mut given: Vec<_> = all(hears).into_iter().map(|(number, _)| number).collect();
        given.sort_unstable();
        assert_eq!(given, [1, 2, 3]);
        assert!(!open().is(Some(&port)), "the next system of actors has a port of its own");
        assert!(Port::of_this_thread().is_none(), "there is none now");
    }
}
