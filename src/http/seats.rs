//! Which connections wait for their clients, and who of them must go when there is no room for another.
//!
//! Whoever has waited longest goes first: a connection that is worked for is never among them. How many there may be,
//! and how one is closed, is the server's business.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

/// All connections that wait.
#[derive(Debug, Default)]
pub(crate) struct Seats(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    by_age: BTreeMap<u64, Arc<Notify>>,
}

impl Seats {
    /// Asks the one that has waited longest to go.
    pub(crate) fn dismiss_oldest(&self) {
        let oldest = self.waiting().by_age.pop_first();
        if let Some((_, dismissal)) = oldest {
            dismissal.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's. It waits from the beginning.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    dismissal: Arc<Notify>,
    /// Its number among those that wait, and since when.
    place: Mutex<Option<(u64, Instant)>>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Seat {
    pub(crate) fn new(seats: &Arc<Seats>) -> Self {
        let seat = Self { seats: Arc::clone(seats), dismissal: Arc::default(), place: Mutex::default() };
        seat.wait();
        seat
    }

    /// From now on the client has to do something.
    pub(crate) fn wait(&self) {
        let mut place = self.place();
        if place.is_none() {
            let mut waiting = self.seats.waiting();
            waiting.last += 1;
            let number = waiting.last;
            waiting.by_age.insert(number, Arc::clone(&self.dismissal));
            *place = Some((number, Instant::now()));
        }
    }

    /// From now on we have.
    pub(crate) fn work(&self) {
        if let Some((number, _)) = self.place().take() {
            self.seats.waiting().by_age.remove(&number);
        }
    }

    /// Returns when it is asked to go. What it was asked for may be over by then.
    pub(crate) async fn dismissed(&self) {
        self.dismissal.notified().await;
    }

    /// Since when it has been waiting, if it is.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        self.place().map(|(_, since)| since)
    }

    fn place(&self) -> MutexGuard<'_, Option<(u64, Instant)>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.work();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn asked_to_go(seat: &Seat) -> bool {
        seat.dismissed().now_or_never().is_some()
    }

    #[test]
    fn the_one_that_has_waited_longest_goes_first_and_none_that_is_worked_for() {
        let seats = Arc::new(Seats::default());
        seats.dismiss_oldest();
        let [first, second, third] = [(); 3].map(|()| Seat::new(&seats));
        first.work();
        second.work();
        second.wait();
        seats.dismiss_oldest();
        assert!(asked_to_go(&third) && !asked_to_go(&second) && !asked_to_go(&first));
        seats.dismiss_oldest();
        seats.dismiss_oldest();
        assert!(asked_to_go(&second) && !asked_to_go(&first));
        assert!(first.waits_since().is_none() && second.waits_since().is_some());
    }

    #[test]
    fn a_connection_that_is_gone_leaves_nothing_behind() {
        let seats = Arc::new(Seats::default());
        for _ in 0..100 {
            let seat = Seat::new(&seats);
            seat.wait();
            seat.work();
            seat.wait();
        }
        assert!(seats.waiting().by_age.is_empty());
    }
}
