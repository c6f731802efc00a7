//! Whether the service was told to end.

use tokio::sync::watch;

/// False until the process is told to end; what lasts longer than a request looks at it.
#[derive(Debug, Clone)]
pub(crate) struct Draining(watch::Sender<bool>);

impl Draining {
    /// Not yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// From now on: what was asked is answered, and no more.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Done when it has begun.
    pub async fn begun(&self) {
        // It fails where nobody can say so any more, and `self` can.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }
}
