//! How long a client may keep a connection waiting: for the head of a request, for any request at all, for reading its answer.
//!
//! Hyper's own limit is for the head alone, and counts the quiet before it as well. So the socket and the requests tell a
//! common `Activity` what happens, and who drives the connection asks it whether patience has run out.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use super::settings::Settings;

/// Most bytes of a ping or of another frame that goes to a client which takes nothing, encrypted.
const SIGN_OF_LIFE: usize = 128;

/// Why a connection is closed on its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Impatience {
    /// The head of a request does not come to its end.
    SlowHead,
    /// Nothing was asked for long.
    Idle,
    /// Nothing of an answer was read for long.
    NotReading,
}

impl Impatience {
    /// For the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::SlowHead => "slow head",
            Self::Idle => "idle",
            Self::NotReading => "not reading",
        }
    }
}

/// The limits, and what has happened on a connection.
#[derive(Debug)]
pub(super) struct Activity {
    head: Duration,
    idle: Duration,
    write: Duration,
    /// What comes between requests is the head of one; with HTTP/2 it may be anything.
    has_heads: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests whose answers are not handed over yet.
    running: usize,
    /// Number of the next request.
    next: u64,
    /// Answers of which something could be taken, since when: with HTTP/2 a client says how much it takes, and may say
    /// nothing. An answer that is itself waited for, as that of a stream, is none of them.
    untaken: BTreeMap<u64, Instant>,
    /// Since then there are none.
    quiet: Instant,
    /// The first byte of a head.
    head: Option<Instant>,
    /// The socket has taken nothing since then.
    stalled: Option<Instant>,
    /// It took something the last time.
    written: Instant,
    /// It took more than a sign of life the last time.
    moved: Instant,
    /// It was asked to end.
    closing: bool,
}

impl Activity {
    /// A connection that begins now.
    pub fn new(settings: &Settings, has_heads: bool) -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            running: 0,
            next: 0,
            untaken: BTreeMap::new(),
            quiet: now,
            head: None,
            stalled: None,
            written: now,
            moved: now,
            closing: false,
        };
        let (head, idle, write) = (settings.header_timeout, settings.idle_timeout, settings.write_timeout);
        Arc::new(Self { head, idle, write, has_heads, state: Mutex::new(state) })
    }

    /// A request begins; it is over when what is returned is dropped.
    pub fn request(self: &Arc<Self>) -> Running {
        let number = self.change(|state| {
            state.running += 1;
            state.head = None;
            state.next += 1;
            state.next
        });
        Running { activity: Arc::clone(self), number }
    }

    /// Done when patience has run out. After `Idle` it may be asked again, and then tells when the connection, which was
    /// asked to end, does not.
    pub async fn exceeded(&self) -> Impatience {
        let shortest = self.head.min(self.idle).min(self.write);
        loop {
            let now = Instant::now();
            match self.next() {
                Some((moment, why)) if moment <= now => {
                    self.close(now);
                    return why;
                }
                // What begins meanwhile has its end later than this.
                next => sleep_until(next.map_or(now + shortest, |(moment, _)| moment.min(now + shortest))).await,
            }
        }
    }

    /// It is asked to end, and has so much time for it as for anything that is written.
    fn close(&self, now: Instant) {
        self.change(|state| {
            state.closing = true;
            state.written = now;
        });
    }

    /// What comes first if nothing happens.
    fn next(&self) -> Option<(Instant, Impatience)> {
        self.change(|state| {
            // Who takes the answer to one request waits with that to another.
            let untaken = state.untaken.values().min().map(|since| *since.max(&state.moved));
            let stalled = state.stalled.into_iter().chain(untaken).min();
            let stalled = stalled.map(|since| (since + self.write, Impatience::NotReading));
            let head = state.head.map(|since| (since + self.head, Impatience::SlowHead));
            let quiet = if state.closing {
                (state.written + self.write, Impatience::NotReading)
            } else {
                (state.quiet + self.idle, Impatience::Idle)
            };
            let quiet = (state.running == 0).then_some(quiet);
            [stalled, head, quiet].into_iter().flatten().min_by_key(|(moment, _)| *moment)
        })
    }

    fn read(&self, now: Instant) {
        self.change(|state| {
            if self.has_heads && state.running == 0 && state.head.is_none() {
                state.head = Some(now);
            }
        });
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>, now: Instant) {
        self.change(|state| match outcome {
            Poll::Pending => {
                state.stalled.get_or_insert(now);
            }
            Poll::Ready(written) => {
                state.stalled = None;
                state.written = now;
                if written.as_ref().is_ok_and(|bytes| *bytes > SIGN_OF_LIFE) {
                    state.moved = now;
                }
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Running {
    activity: Arc<Activity>,
    number: u64,
}

impl Running {
    /// Something of its answer could be taken now, or, where there is nothing yet, not.
    fn offers(&self, something: bool) {
        self.activity.change(|state| {
            if something {
                state.untaken.insert(self.number, Instant::now());
            } else {
                state.untaken.remove(&self.number);
            }
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.activity.change(|state| {
            state.running = state.running.saturating_sub(1);
            state.untaken.remove(&self.number);
            state.quiet = Instant::now();
        });
    }
}

/// The body of an answer, whose request is over when it is handed over.
#[derive(Debug)]
pub(super) struct RunningBody<B> {
    body: B,
    running: Running,
}

impl<B> RunningBody<B> {
    /// The body of the answer to `running`.
    pub fn new(body: B, running: Running) -> Self {
        running.offers(true);
        Self { body, running }
    }
}

impl<B: Body + Unpin> Body for RunningBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.running.offers(matches!(frame, Poll::Ready(Some(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that tells what happens on it.
#[derive(Debug)]
pub(super) struct Watched<T> {
    pub stream: T,
    pub activity: Arc<Activity>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.read(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.wrote(&outcome, Instant::now());
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.activity.wrote(&outcome, Instant::now());
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A connection that can be asked to end when what runs on it is answered.
pub(super) trait Connection: Future<Output = hyper::Result<()>> {
    /// Asks it to.
    fn finish(self: Pin<&mut Self>);
}

/// Drives a connection to its end: its own, that of our patience, or, after what runs, that of the service.
pub(super) async fn drive(
    connection: impl Connection,
    activity: &Activity,
    stop: impl Future<Output = ()>,
) -> Result<Option<Impatience>, hyper::Error> {
    let (mut connection, mut stop) = (std::pin::pin!(connection), std::pin::pin!(stop));
    let (mut is_stopping, mut reason) = (false, None);
    loop {
        tokio::select! {
            outcome = connection.as_mut() => return outcome.map(|()| reason),
            why = activity.exceeded() => {
                if why != Impatience::Idle {
                    return Ok(Some(reason.unwrap_or(why)));
                }
                reason = Some(why);
                connection.as_mut().finish();
            }
            () = &mut stop, if !is_stopping => {
                is_stopping = true;
                connection.as_mut().finish();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn activity(has_heads: bool) -> (Arc<Activity>, Instant) {
        let (header_timeout, write_timeout, idle_timeout) = (3 * SECOND, 5 * SECOND, 20 * SECOND);
        let settings = Settings { header_timeout, idle_timeout, write_timeout, ..Settings::default() };
        let activity = Activity::new(&settings, has_heads);
        let start = activity.change(|state| state.quiet);
        (activity, start)
    }

    #[test]
    fn a_quiet_connection_is_asked_to_end_and_then_made_to() {
        let (activity, start) = activity(true);
        assert_eq!(activity.next(), Some((start + 20 * SECOND, Impatience::Idle)));
        activity.close(start + 20 * SECOND);
        assert_eq!(activity.next(), Some((start + 25 * SECOND, Impatience::NotReading)));
        // What was answered before is still being read.
        activity.wrote(&Poll::Ready(Ok(1)), start + 24 * SECOND);
        assert_eq!(activity.next(), Some((start + 29 * SECOND, Impatience::NotReading)));
    }

    #[test]
    fn a_head_has_its_own_time_from_its_first_byte() {
        let (activity, start) = activity(true);
        activity.read(start + 10 * SECOND);
        activity.read(start + 12 * SECOND);
        assert_eq!(activity.next(), Some((start + 13 * SECOND, Impatience::SlowHead)));
        // What is between requests of HTTP/2 is none.
        let (activity, start) = self::activity(false);
        activity.read(start);
        assert_eq!(activity.next(), Some((start + 20 * SECOND, Impatience::Idle)));
    }

    #[test]
    fn a_request_that_runs_may_take_its_time() {
        let (activity, start) = activity(true);
        activity.read(start);
        let (first, second) = (activity.request(), activity.request());
        drop(first);
        // Its body, and what the client asks next, are no heads that begin.
        activity.read(start + SECOND);
        assert_eq!(activity.next(), None);
        let before = Instant::now();
        drop(second);
        let (moment, why) = activity.next().unwrap();
        assert_eq!(why, Impatience::Idle);
        assert!((before + 20 * SECOND..=Instant::now() + 20 * SECOND).contains(&moment));
    }

    #[test]
    fn who_does_not_read_is_put_out_and_who_reads_slowly_is_not() {
        let (activity, start) = activity(false);
        let _running = activity.request();
        for round in 0..10 {
            activity.wrote(&Poll::Pending, start + round * 4 * SECOND);
            activity.wrote(&Poll::Pending, start + (round * 4 + 3) * SECOND);
            assert_eq!(activity.next(), Some((start + (round * 4 + 5) * SECOND, Impatience::NotReading)));
            activity.wrote(&Poll::Ready(Ok(1)), start + (round * 4 + 4) * SECOND);
            assert_eq!(activity.next(), None);
        }
    }

    #[test]
    fn an_answer_that_could_be_taken_and_is_not_has_its_time_too() {
        let (activity, start) = activity(false);
        let running = activity.request();
        assert_eq!(activity.next(), None, "it is being computed");
        running.offers(true);
        let (moment, why) = activity.next().unwrap();
        assert_eq!(why, Impatience::NotReading);
        assert!(moment <= Instant::now() + 5 * SECOND);
        // A ping is no part of an answer; a part of one is. Later than now, however long this thread was stopped above.
        activity.wrote(&Poll::Ready(Ok(17)), start + 1000 * SECOND);
        assert_eq!(activity.next().unwrap().0, moment);
        activity.wrote(&Poll::Ready(Ok(16_384)), start + 1000 * SECOND);
        assert_eq!(activity.next(), Some((start + 1005 * SECOND, Impatience::NotReading)));
        // A stream whose next part is not there yet may wait for ever.
        running.offers(false);
        assert_eq!(activity.next(), None);
    }

    #[tokio::test]
    async fn patience_that_has_run_out_is_told() {
        let settings = Settings { idle_timeout: Duration::from_millis(5), ..Settings::default() };
        let activity = Activity::new(&settings, true);
        assert_eq!(activity.exceeded().await, Impatience::Idle);
        assert!(activity.change(|state| state.closing));
    }
}
