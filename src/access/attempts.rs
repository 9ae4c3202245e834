//! Failed log-ins: who fails too often waits. Counted for each name from each address, so that a guesser behind a proxy
//! does not lock out the others behind it; and more generously for each address, so that names can't be tried in turn.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures of a name from an address within [`WINDOW`] before it has to wait.
const MOST: u32 = 10;
/// Failures of all names from an address.
const MOST_OF_ADDRESS: u32 = 100;
/// Tries of a name, or of all from an address, that go on at once: a pool of connections opens some tens.
const AT_ONCE: u32 = 64;
const WINDOW: Duration = Duration::from_secs(60);
/// Entries that are remembered; beyond them the expired ones are forgotten, then all.
const ENTRIES: usize = 20_000;

/// Counts failed log-ins.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<Key, Count>>);

type Key = (IpAddr, Option<String>);

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    /// Tries that go on.
    open: u32,
    since: Instant,
}

impl Count {
    fn expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }
}

/// One subscriber of IPv6 has a whole /64.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

impl Attempts {
    /// Whether `name` may try from `address`; ends with [`Attempts::failed`] or [`Attempts::succeeded`]. Few may try at once,
    /// so that guesses do not all pass before the first has failed.
    ///
    /// # Errors
    /// How long to wait.
    pub fn begin(&self, address: IpAddr, name: &str) -> Result<(), Duration> {
        let now = Instant::now();
        self.check_at(address, name, now)?;
        self.change(address, name, now, |count| count.open = count.open.saturating_add(1));
        Ok(())
    }

    /// Counts a failure.
    pub fn failed(&self, address: IpAddr, name: &str) {
        self.failed_at(address, name, Instant::now());
    }

    /// Forgets the failures of a name that got in.
    pub fn succeeded(&self, address: IpAddr, name: &str) {
        let address = subscriber(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, of_name) in [((address, Some(name.to_owned())), true), ((address, None), false)] {
            if let Some(count) = counts.get_mut(&key) {
                count.open = count.open.saturating_sub(1);
                count.failures = if of_name { 0 } else { count.failures };
            }
        }
    }

    fn check_at(&self, address: IpAddr, name: &str, now: Instant) -> Result<(), Duration> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = subscriber(address);
        for (key, most) in [((address, Some(name.to_owned())), MOST), ((address, None), MOST_OF_ADDRESS)] {
            if let Some(count) = counts
                .get(&key)
                .filter(|count| !count.expired(now) && (count.failures >= most || count.open >= AT_ONCE))
            {
                return Err(WINDOW.saturating_sub(now.saturating_duration_since(count.since)));
            }
        }
        Ok(())
    }

    fn failed_at(&self, address: IpAddr, name: &str, now: Instant) {
        self.change(address, name, now, |count| {
            count.open = count.open.saturating_sub(1);
            count.failures = count.failures.saturating_add(1);
        });
    }

    fn change(&self, address: IpAddr, name: &str, now: Instant, change: impl Fn(&mut Count)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= ENTRIES {
            counts.retain(|_, count| !count.expired(now));
        }
        if counts.len() >= ENTRIES {
            counts.clear();
        }
        let address = subscriber(address);
        for key in [(address, Some(name.to_owned())), (address, None)] {
            let anew = Count { failures: 0, open: 0, since: now };
            let count = counts.entry(key).or_insert(anew);
            if count.expired(now) {
                *count = anew;
            }
            change(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_too_often_waits_and_others_do_not() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let here: IpAddr = "10.0.0.1".parse().unwrap();
        for _ in 0..MOST {
            assert!(attempts.check_at(here, "ana", start).is_ok());
            attempts.failed_at(here, "ana", start);
        }
        assert_eq!(attempts.check_at(here, "ana", start + Duration::from_secs(20)), Err(Duration::from_secs(40)));
        assert!(attempts.check_at(here, "ben", start).is_ok(), "another name from the same address");
        assert!(attempts.check_at("10.0.0.2".parse().unwrap(), "ana", start).is_ok(), "the name from elsewhere");
        assert!(attempts.check_at("::ffff:10.0.0.1".parse().unwrap(), "ana", start).is_err(), "the same address");
        assert!(attempts.check_at(here, "ana", start + WINDOW).is_ok());
        attempts.failed_at(here, "ana", start + WINDOW);
        assert!(attempts.check_at(here, "ana", start + WINDOW).is_ok(), "counted anew");
        for name in 0..MOST_OF_ADDRESS {
            attempts.failed_at(here, &name.to_string(), start + WINDOW);
        }
        assert!(attempts.check_at(here, "new", start + WINDOW).is_err(), "names can't be tried in turn");
        let (one, other): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        (0..MOST).for_each(|_| attempts.failed_at(one, "ana", start));
        assert!(attempts.check_at(other, "ana", start).is_err());
        attempts.succeeded(one, "ana");
        assert!(attempts.check_at(other, "ana", start).is_ok());
    }

    #[test]
    fn guesses_at_once_do_not_all_pass() {
        let (attempts, here): (_, IpAddr) = (Attempts::default(), "10.0.0.1".parse().unwrap());
        let let_in = (0..200).filter(|_| attempts.begin(here, "ana").is_ok()).count();
        assert_eq!(let_in, 64);
        (0..64).for_each(|_| attempts.succeeded(here, "ana"));
        assert!(attempts.begin(here, "ana").is_ok(), "a pool that logs in is no guesser");
    }
}
