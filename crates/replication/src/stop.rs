//! Telling a replication to end.

use tokio::sync::watch;

/// Whoever may end a replication.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Tells when to end; clones are told together.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stopper {
    /// A pair.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stop(receiver))
    }

    /// Tells them to end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Waits until it is time to end; also when nobody is left who could say so.
    pub async fn wait(&mut self) {
        // An error means the same: whoever could stop it is gone.
        drop(self.0.wait_for(|stopped| *stopped).await);
    }

    /// Whether it is time to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
}
