//! How fast a service may be asked: slower by half when it throttles, faster again little by little.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The time between two requests.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    least: Duration,
    most: Duration,
    next: Instant,
}

impl Pace {
    /// Starts with `least` between two requests; never more than `most`.
    #[must_use]
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { every: least, least, most, next: Instant::now() }
    }

    /// Waits for the next turn.
    pub async fn turn(&mut self) {
        sleep_until(self.next).await;
        self.next = Instant::now() + self.every;
    }

    /// The service asked for fewer requests.
    pub fn slower(&mut self) {
        self.every = (self.every * 2).clamp(self.least, self.most);
        self.next = Instant::now() + self.every;
    }

    /// A request was answered.
    pub fn faster(&mut self) {
        self.every = (self.every - self.every / 10).max(self.least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn halves_at_once_and_recovers_slowly() {
        let mut pace = Pace::new(Duration::from_millis(200), Duration::from_secs(30));
        (0..20).for_each(|_| pace.slower());
        assert_eq!(pace.every, Duration::from_secs(30));
        pace.faster();
        assert_eq!(pace.every, Duration::from_secs(27));
        (0..100).for_each(|_| pace.faster());
        assert_eq!(pace.every, Duration::from_millis(200));
    }
}
