//! A connection within the process: two ends, each of which reads what the other one writes.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_channel::mpsc;
use futures_util::{Sink, Stream};

use super::{Connection, Received};
use crate::codec::Serializer;
use crate::error::TransportError;
use crate::session::Transmit;

/// Makes both ends of a connection that carries up to `capacity` frames in each direction; a writer waits for
/// a place beyond that.
pub fn duplex(serializer: Serializer, capacity: usize) -> (Connection, Connection) {
    let (near_writes, far_reads) = mpsc::channel(capacity);
    let (far_writes, near_reads) = mpsc::channel(capacity);
    let end = |incoming, outgoing| {
        let transport = Box::pin(End { incoming, outgoing, answered: false, reader: None });
        Connection { serializer, transport }
    };
    (end(near_reads, near_writes), end(far_reads, far_writes))
}

struct End {
    incoming: mpsc::Receiver<Transmit>,
    outgoing: mpsc::Sender<Transmit>,
    /// A ping was answered: the other end lives as long as its channels do.
    answered: bool,
    reader: Option<Waker>,
}

impl Stream for End {
    type Item = Result<Received, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.answered) {
            return Poll::Ready(Some(Ok(Received::SignOfLife)));
        }
        let next = Pin::new(&mut self.incoming).poll_next(cx);
        if next.is_pending() {
            self.reader = Some(cx.waker().clone());
        }
        next.map(|transmit| {
            transmit.map(|transmit| match transmit {
                Transmit::Message(bytes) => Ok(Received::Message(bytes)),
                Transmit::Ping => Ok(Received::SignOfLife),
            })
        })
    }
}

impl Sink<Transmit> for End {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.outgoing.poll_ready(cx).map_err(|_| TransportError::Closed)
    }

    fn start_send(mut self: Pin<&mut Self>, transmit: Transmit) -> Result<(), TransportError> {
        if transmit == Transmit::Ping {
            self.answered = true;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return Ok(());
        }
        self.outgoing.start_send(transmit).map_err(|_| TransportError::Closed)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.outgoing.close_channel();
        Poll::Ready(Ok(()))
    }
}
