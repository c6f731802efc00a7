//! How much one client may ask for: requests and inputs a second, each with a bucket that fills up again.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::settings::Settings;

/// So many clients are remembered before the first look at which of them can be forgotten.
const FIRST_LOOK: usize = 1024;

/// Who asks: limits are for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// One of the keys, by its place among them.
    Key(usize),
    /// Where there are no keys.
    Address(IpAddr),
}

impl Client {
    /// The client at an address. One who has an IPv6 address has a whole network of them.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// The limits of a service; without any, everything is let through.
#[derive(Debug)]
pub(crate) struct RateLimits {
    requests: Option<Buckets<Client>>,
    inputs: Option<Buckets<Client>>,
}

impl RateLimits {
    /// As the settings want them.
    pub fn new(settings: &Settings) -> Self {
        Self {
            requests: settings.requests_per_second.map(Buckets::new),
            inputs: settings.inputs_per_second.map(Buckets::new),
        }
    }

    /// Takes one request, before anything of it is read but its head; refuses too a client who sent more inputs than are
    /// paid for by now.
    ///
    /// # Errors
    /// An overloaded [`Failure`], with when to come back.
    pub fn enter(&self, client: Client) -> Result<(), Failure> {
        let now = Instant::now();
        if let Some(inputs) = &self.inputs {
            inputs.take(client, 0.0, now).map_err(|wait| too_much("inputs", inputs.per_second, wait))?;
        }
        match &self.requests {
            None => Ok(()),
            Some(requests) => {
                requests.take(client, 1.0, now).map_err(|wait| too_much("requests", requests.per_second, wait))
            }
        }
    }

    /// Takes the inputs of a request that was let in.
    ///
    /// # Errors
    /// An overloaded [`Failure`], with when to come back.
    pub fn take_inputs(&self, client: Client, count: usize) -> Result<(), Failure> {
        match &self.inputs {
            None => Ok(()),
            Some(inputs) => {
                let taken = inputs.take(client, count as f64, Instant::now());
                taken.map_err(|wait| too_much("inputs", inputs.per_second, wait))
            }
        }
    }
}

fn too_much(what: &str, per_second: f64, wait: Duration) -> Failure {
    Failure::overloaded(format!("these are more than {per_second} {what} per second; try again later"), wait)
}

/// A bucket for each client.
#[derive(Debug)]
struct Buckets<C> {
    per_second: f64,
    /// What a client may take at once who took nothing for a while.
    capacity: f64,
    clients: Mutex<Clients<C>>,
}

#[derive(Debug)]
struct Clients<C> {
    buckets: HashMap<C, Bucket>,
    /// At so many clients those are forgotten whose buckets are full, as new ones are.
    next_look: usize,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// What is in it; below zero after a request larger than a whole bucket.
    level: f64,
    at: Instant,
}

impl<C: Copy + Eq + Hash> Buckets<C> {
    fn new(per_second: f64) -> Self {
        let clients = Mutex::new(Clients { buckets: HashMap::new(), next_look: FIRST_LOOK });
        Self { per_second, capacity: per_second.max(1.0), clients }
    }

    /// Takes so much out of the bucket of a client; of more than a bucket holds, it has to be full, and is filled for longer
    /// afterwards.
    ///
    /// # Errors
    /// How long it takes until there is enough, and for one at least: who comes back asks for something.
    fn take(&self, client: C, amount: f64, now: Instant) -> Result<(), Duration> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.buckets.len() >= clients.next_look {
            clients.buckets.retain(|_, bucket| self.level(bucket, now) < self.capacity);
            clients.next_look = FIRST_LOOK.max(clients.buckets.len() * 2);
        }
        let bucket = clients.buckets.entry(client).or_insert(Bucket { level: self.capacity, at: now });
        let level = self.level(bucket, now);
        let needed = amount.min(self.capacity);
        if level < needed {
            let missing = needed.max(1.0) - level;
            return Err(Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX));
        }
        // Another may have been here whose clock was read later: what flowed in until then has done so once.
        *bucket = Bucket { level: level - amount, at: now.max(bucket.at) };
        Ok(())
    }

    fn level(&self, bucket: &Bucket, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
        self.capacity.min(bucket.level + elapsed * self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is asked for and whenever: over any time no more is given than a bucket and what flows into it; who is
        /// refused and waits as long as told is let in.
        #[test]
        fn no_more_than_the_rate_and_who_waits_gets_it(
            per_second in 0.2..50.0_f64,
            asked in prop::collection::vec((0..3_000_u64, 0.0..80.0_f64), 1..60),
        ) {
            let buckets = Buckets::new(per_second);
            let (start, mut now, mut given) = (Instant::now(), Duration::ZERO, 0.0_f64);
            for (pause, amount) in asked {
                now += Duration::from_millis(pause);
                let before = given;
                match buckets.take((), amount, start + now) {
                    Ok(()) => given += amount,
                    Err(wait) => {
                        prop_assert!(buckets.take((), amount, start + now).is_err());
                        now += wait + Duration::from_micros(1);
                        prop_assert!(buckets.take((), amount, start + now).is_ok());
                        given += amount;
                    }
                }
                // All that was given before this one had flowed in by now, but for what this one may owe.
                let flowed = buckets.capacity + now.as_secs_f64() * per_second;
                prop_assert!(before + amount.min(buckets.capacity) <= flowed + 1e-3, "{} {} {}", before, amount, flowed);
            }
        }
    }

    #[test]
    fn each_client_has_a_bucket_of_its_own() {
        // So slow that nothing flows in, however long this thread is stopped between two lines.
        let settings = Settings { requests_per_second: Some(0.001), ..Settings::default() };
        let limits = RateLimits::new(&settings);
        limits.enter(Client::Key(0)).unwrap();
        let failure = limits.enter(Client::Key(0)).unwrap_err();
        assert_eq!(failure.status, 429);
        assert!(failure.retry_after.unwrap() <= Duration::from_secs(1000));
        limits.enter(Client::Key(1)).unwrap();
    }

    #[test]
    fn a_request_larger_than_the_bucket_is_paid_for_afterwards() {
        let settings = Settings { inputs_per_second: Some(0.01), ..Settings::default() };
        let limits = RateLimits::new(&settings);
        let client = Client::at(IpAddr::from([127, 0, 0, 1]));
        limits.take_inputs(client, 100).unwrap();
        let failure = limits.enter(client).unwrap_err();
        // What flows in while this thread is stopped is no thousandth of it.
        assert!(failure.retry_after.unwrap() > Duration::from_secs(9500));
        assert!(failure.message.contains("0.01 inputs per second"), "{}", failure.message);
    }

    #[test]
    fn who_comes_back_when_told_is_let_in_with_an_input() {
        let buckets = Buckets::new(10.0);
        let start = Instant::now();
        buckets.take((), 100.0, start).unwrap();
        let wait = buckets.take((), 0.0, start).unwrap_err();
        buckets.take((), 0.0, start + wait).unwrap();
        buckets.take((), 1.0, start + wait + Duration::from_micros(1)).unwrap();
    }

    #[test]
    fn clients_that_have_been_away_are_forgotten() {
        let buckets = Buckets::new(1.0);
        let start = Instant::now();
        for client in 0..100_000_u32 {
            // A hundred in each second.
            buckets.take(client, 1.0, start + Duration::from_millis(u64::from(client) * 10)).unwrap();
        }
        assert!(buckets.clients.lock().unwrap().buckets.len() <= FIRST_LOOK);
    }

    #[test]
    fn a_network_is_one_client() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
        assert_ne!(at("10.0.0.2"), at("10.0.0.1"));
    }
}
