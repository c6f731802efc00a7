//! How much memory the models take, against how much they may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::process::field;

/// The memory of all models that there are: those that are served, and those that still answer what they were asked.
#[derive(Debug, Default)]
pub(super) struct Room {
    held: AtomicU64,
    released: Notify,
}

/// What one model takes; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    /// Bytes.
    pub bytes: u64,
}

impl Room {
    /// Bytes that are held.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Acquire)
    }

    /// Takes room; it is for others to see first that there is some.
    pub fn take(self: &Arc<Self>, bytes: u64) -> Share {
        self.held.fetch_add(bytes, Ordering::AcqRel);
        Share { room: Arc::clone(self), bytes }
    }

    /// Done when no more than `most` is held.
    pub async fn at_most(&self, most: u64) {
        loop {
            // Before looking, so that nothing is missed between that and waiting.
            let released = self.released.notified();
            if self.held() <= most {
                return;
            }
            released.await;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::AcqRel);
        self.room.released.notify_waiters();
    }
}

/// Bytes of memory that this process has for itself: not those of mapped files, which the system takes back when it needs
/// them. Zero where the system does not tell.
pub(super) fn resident_bytes() -> u64 {
    std::fs::read_to_string("/proc/self/status").ok().and_then(|status| anonymous(&status)).unwrap_or(0)
}

fn anonymous(status: &str) -> Option<u64> {
    field::<u64>(status, "RssAnon:")?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn room_comes_back_and_who_waits_is_told() {
        let room = Arc::new(Room::default());
        let (first, second) = (room.take(60), room.take(30));
        assert_eq!(room.held(), 90);
        room.at_most(90).await;
        let waiting = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.at_most(30).await }
        });
        // All tasks are on this thread: it waits, then it is told and has to go on waiting.
        tokio::task::yield_now().await;
        drop(second);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        tokio::time::timeout(Duration::from_mins(1), waiting).await.unwrap().unwrap();
        assert_eq!(room.held(), 0);
    }

    #[test]
    fn the_system_tells_in_kilobytes() {
        let status = "Name:\tx\nVmRSS:\t  900 kB\nRssAnon:\t     123 kB\nRssFile:\t  4 kB\n";
        assert_eq!(anonymous(status), Some(123 * 1024));
        assert_eq!(anonymous("Name:\tx\n"), None);
    }

    /// Other tests in this process take and give back memory meanwhile, so this asks another: this program, run again.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_written_to_is_resident() {
        const ROLE: &str = "OXEMBED_TEST_RESIDENT";
        if std::env::var_os(ROLE).is_none() {
            let done = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "serve::room::tests::what_is_written_to_is_resident", "--nocapture"])
                .env(ROLE, "1")
                .output()
                .unwrap();
            let output = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success() && output.contains("1 passed"), "{output}");
            return;
        }
        let before = resident_bytes();
        let written = vec![1_u8; 64 << 20];
        let after = resident_bytes();
        assert!(after >= before + (60 << 20) && written.iter().all(|byte| *byte == 1), "{before} {after}");
    }
}
