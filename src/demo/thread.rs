//! The threads of the demo: the router and the market maker share one; each buyer, what it remembers and who takes
//! its events are on one as well. Nothing of what passes between them there has to wake another thread.

use std::io;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

type Work = Box<dyn FnOnce() + Send>;

/// A thread with a system of actors. It ends when this is dropped, and with it whatever runs on it.
#[derive(Debug)]
pub struct ActorThread {
    runtime: Handle,
    work: mpsc::UnboundedSender<Work>,
}

impl ActorThread {
    /// Starts it.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn start(name: &str) -> io::Result<Self> {
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let (work, mut due) = mpsc::unbounded_channel::<Work>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            actix_rt::System::new().block_on(async move {
                // Whoever starts it waits for this.
                let _ = ready.send(Handle::current());
                while let Some(work) = due.recv().await {
                    work();
                }
            });
        })?;
        let runtime = started.recv().map_err(|_| gone())?;
        Ok(Self { runtime, work })
    }

    /// Its runtime, for tasks.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Does something on it, such as starting actors.
    ///
    /// # Errors
    /// When it has gone.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (done, result) = tokio::sync::oneshot::channel();
        let work: Work = Box::new(move || {
            // Whoever asked may have gone; the result is then nobody's.
            let _ = done.send(work());
        });
        self.work.send(work).map_err(|_| gone())?;
        result.await.map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread has ended")
}
