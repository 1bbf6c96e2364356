//! Futures that run side by side in a set, and begin in the order in which they were added to it.

use tokio::task::{Unconstrained, unconstrained};

/// A future whose first step, such as sending something, comes before that of every future that is added to its
/// `FuturesOrdered` or `FuturesUnordered` later.
///
/// Without this it is so nearly always: a task that has done much is told by tokio to give way, and a future that is
/// told so before it has sent anything can find itself behind those that were added after it.
pub(crate) fn begins_in_order<F: Future>(future: F) -> Unconstrained<F> {
    unconstrained(future)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use futures_util::stream::FuturesUnordered;
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[tokio::test]
    async fn what_was_added_first_is_sent_first() {
        const CALLS: u32 = 50_000;
        let (send, mut sent) = mpsc::channel::<(u32, oneshot::Sender<()>)>(1024);
        let answering = tokio::spawn(async move {
            let mut order = Vec::new();
            let mut calls = Vec::new();
            while sent.recv_many(&mut calls, 100).await > 0 {
                for (number, reply) in calls.drain(..) {
                    order.push(number);
                    let _ = reply.send(());
                }
            }
            order
        });
        let call = move |number| {
            let send = send.clone();
            async move {
                let (reply, answer) = oneshot::channel();
                send.send((number, reply)).await.unwrap();
                answer.await
            }
        };
        let (mut flying, mut numbers) = (FuturesUnordered::new(), 0..CALLS);
        loop {
            flying.extend(
                numbers.by_ref().take(100_usize.saturating_sub(flying.len())).map(&call).map(begins_in_order),
            );
            if flying.next().await.is_none() {
                break;
            }
        }
        drop(call);
        assert!(answering.await.unwrap().is_sorted());
    }
}
