//! All connections at once, closed or at a rate.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::arguments::Arguments;
use crate::client::Client;
use crate::report::{Report, Times};

/// Whatever keeps it from running.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a client stays away whose connection failed.
const PAUSE: Duration = Duration::from_millis(20);

/// What all connections share.
#[derive(Debug)]
struct Plan {
    bodies: Vec<Bytes>,
    /// The number of the next request.
    next: Cell<usize>,
    /// From then on it counts.
    start: Instant,
    end: Instant,
    /// Between requests.
    interval: Option<Duration>,
    first: Instant,
}

impl Plan {
    /// The next body, and when it is due.
    fn take(&self) -> (Bytes, Option<Instant>) {
        let number = self.next.replace(self.next.get() + 1);
        let due = self.interval.map(|interval| self.first + interval.mul_f64(number as f64));
        (self.bodies[number % self.bodies.len()].clone(), due)
    }
}

/// Asks until the time is over.
pub async fn run(arguments: &Arguments) -> Result<Report, Error> {
    let text = std::fs::read_to_string(&arguments.bodies)
        .map_err(|error| format!("{} cannot be read: {error}", arguments.bodies.display()))?;
    let bodies: Vec<Bytes> =
        text.lines().filter(|line| !line.trim().is_empty()).map(|line| Bytes::from(line.to_owned())).collect();
    if bodies.is_empty() {
        return Err(format!("{} has no body", arguments.bodies.display()).into());
    }
    let mut clients = Vec::new();
    for _ in 0..arguments.connections {
        let mut client = Client::new(&arguments.url)?;
        client.connect().await.map_err(|error| format!("{} cannot be reached: {error}", arguments.url))?;
        clients.push(client);
    }
    let first = Instant::now();
    let start = first + arguments.warm_up;
    let end = start + arguments.seconds;
    let interval = arguments.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let plan = Rc::new(Plan { bodies, next: Cell::new(0), start, end, interval, first });
    let tasks = LocalSet::new();
    let running: Vec<_> = clients.into_iter().map(|client| tasks.spawn_local(ask(client, Rc::clone(&plan)))).collect();
    tasks.await;
    let mut times = Times::new()?;
    for task in running {
        times.add(&task.await??)?;
    }
    Ok(times.report(arguments))
}

/// One connection.
async fn ask(mut client: Client, plan: Rc<Plan>) -> Result<Times, Error> {
    let mut times = Times::new()?;
    loop {
        let (body, due) = plan.take();
        let mut since = Instant::now();
        match due {
            Some(due) if due >= plan.end => return Ok(times),
            // In time: the clock of a timer is coarse, so what counts is when it went off.
            Some(due) if due > since => {
                sleep_until(due).await;
                since = Instant::now();
            }
            // Late, since all connections were busy: the client of this request has waited for that as well.
            Some(due) => since = due,
            None => {}
        }
        if since >= plan.end {
            return Ok(times);
        }
        let outcome = client.post(body).await;
        let now = Instant::now();
        let is_lost = outcome.is_err();
        // As a rate counts what came, only answers within the time are counted where there is none.
        if since >= plan.start && (due.is_some() || now <= plan.end) {
            times.record(outcome, now - since);
        }
        if is_lost {
            sleep(PAUSE).await;
        }
    }
}
