//! Telling servers to stop.

use tokio::sync::watch;

/// Starts the shutdown that its [`Shutdown`] copies wait for. Dropping it starts it too.
#[derive(Debug)]
pub struct ShutdownHandle(watch::Sender<bool>);

/// A copy of the news whether to stop; any number of servers and tasks may hold one.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A shutdown that has not started, and what starts it.
    pub fn new() -> (ShutdownHandle, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownHandle(sender), Self(receiver))
    }

    /// Waits until the shutdown has started; returns at once if it has. Safe to cancel.
    pub async fn started(&mut self) {
        // The error means that the handle is gone, which starts the shutdown as well.
        let _ = self.0.wait_for(|started| *started).await;
    }
}

impl ShutdownHandle {
    /// Starts the shutdown, for good.
    pub fn start(&self) {
        self.0.send_replace(true);
    }
}
