//! Listeners and their buckets: a change wakes the listeners of its buckets, and those whose
//! buckets are unknown.
//!
//! No affected listener is missed; unnecessary wake-ups are possible. Buckets are stored as hashes,
//! since there may be ten thousand listeners with a hundred buckets each. They are read when a
//! listener connects, and again after each change of the user's subscriptions. Until then every
//! change wakes the listener.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::Touched;

/// Number of listeners woken at once; more are spread over a time that grows with their number.
const AT_ONCE: u32 = 100;

/// Time added per listener: about that of its pull on two cores (`cargo xtask bench fanout`).
const EACH: Duration = Duration::from_micros(500);

/// Maximum of that time.
const LONGEST: Duration = Duration::from_millis(1_750);

/// One listener.
#[derive(Debug)]
struct Place {
    /// The bucket in which subscription changes of its user are reported.
    own: u64,
    /// Its buckets, as far as they were read.
    held: Vec<u64>,
    /// Incremented whenever the buckets must be read again.
    turn: u64,
    /// When to send the pending notification.
    due: Option<Instant>,
    notify: Arc<Notify>,
}

/// Why a listener is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// The user has reached the limit.
    OfUser,
    /// The server has reached the limit that reserves connections for requests.
    AtServer,
}

#[derive(Debug, Default)]
struct All {
    places: HashMap<u64, Place>,
    /// The listeners of each bucket, as pairs: own buckets, and those that were read.
    members: BTreeSet<(u64, u64)>,
    /// The listeners whose buckets have to be read.
    unsettled: BTreeSet<u64>,
    last: u64,
    wakes: u64,
}

impl All {
    fn members(&self, bucket: u64) -> impl Iterator<Item = u64> {
        self.members.range((bucket, 0)..=(bucket, u64::MAX)).map(|(_, number)| *number)
    }

    /// From now on every change wakes this listener, until its buckets are read again.
    fn unsettle(&mut self, number: u64) {
        let Some(place) = self.places.get_mut(&number) else { return };
        place.turn += 1;
        for bucket in place.held.drain(..).filter(|bucket| *bucket != place.own) {
            self.members.remove(&(bucket, number));
        }
        self.unsettled.insert(number);
    }

    /// The same for all listeners, whose numbers it returns.
    fn unsettle_every(&mut self) -> BTreeSet<u64> {
        for place in self.places.values_mut() {
            place.turn += 1;
            place.held = Vec::new();
        }
        self.members = self.places.iter().map(|(number, place)| (place.own, *number)).collect();
        self.unsettled = self.places.keys().copied().collect();
        self.unsettled.clone()
    }
}

/// The listeners at this node.
#[derive(Debug, Default)]
pub(crate) struct EventListeners {
    hasher: RandomState,
    all: Mutex<All>,
}

impl EventListeners {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash(&self, bucket: &str) -> u64 {
        self.hasher.hash_one(bucket)
    }

    /// Adds a listener with this own bucket; returns its number and its notifier. Its user may have
    /// `most` listeners, and the server `in_all`.
    pub(super) fn enter(
        &self,
        own: &str,
        most: usize,
        in_all: usize,
    ) -> Result<(u64, Arc<Notify>), TooMany> {
        let notify = Arc::new(Notify::new());
        let own = self.hash(own);
        let mut all = self.all();
        if all.places.len() >= in_all {
            return Err(TooMany::AtServer);
        }
        let of_user = |number: &u64| all.places.get(number).is_some_and(|place| place.own == own);
        if all.members(own).filter(of_user).count() >= most {
            return Err(TooMany::OfUser);
        }
        all.last += 1;
        let number = all.last;
        let notifier = Arc::clone(&notify);
        let place = Place { own, held: Vec::new(), turn: 0, due: None, notify: notifier };
        all.places.insert(number, place);
        all.members.insert((own, number));
        all.unsettled.insert(number);
        Ok((number, notify))
    }

    pub(super) fn leave(&self, number: u64) {
        let mut all = self.all();
        all.unsettle(number);
        all.unsettled.remove(&number);
        if let Some(place) = all.places.remove(&number) {
            all.members.remove(&(place.own, number));
        }
    }

    /// The number of listeners.
    pub(crate) fn count(&self) -> usize {
        self.all().places.len()
    }

    /// The number of wake-ups since the start; several changes before one notification count as
    /// one.
    pub(crate) fn wakes(&self) -> u64 {
        self.all().wakes
    }

    /// Wakes the listeners that a change concerns; `None` is all.
    pub(super) fn wake(&self, touched: Option<&[Touched]>) {
        // An entry without a bucket concerns the log itself.
        let touched = touched.filter(|all| all.iter().all(|one| !one.bucket.is_empty()));
        let mut all = self.all();
        let woken = match touched {
            None => all.unsettle_every(),
            Some(touched) => {
                let (woken, granted) = self.concerned(&all, touched);
                for number in granted {
                    all.unsettle(number);
                }
                woken
            }
        };
        let now = Instant::now();
        let many = u32::try_from(woken.len()).unwrap_or(u32::MAX);
        let spread = spread(many);
        let mut wakes = 0;
        for (number, at) in woken.into_iter().zip(0_u32..) {
            let Some(place) = all.places.get_mut(&number) else { continue };
            let due = now + spread * at / many.max(1);
            wakes += u64::from(place.due.is_none());
            place.due = Some(place.due.map_or(due, |earlier| earlier.min(due)));
            place.notify.notify_one();
        }
        all.wakes += wakes;
    }

    /// The listeners that these changes concern, and those whose subscriptions they change.
    fn concerned(&self, all: &All, touched: &[Touched]) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let (mut woken, mut granted) = (all.unsettled.clone(), BTreeSet::new());
        for one in touched {
            let bucket = self.hash(&one.bucket);
            let members = all.members(bucket);
            woken.extend(members.inspect(|number| {
                let is_own = || all.places.get(number).is_some_and(|place| place.own == bucket);
                if one.is_grant && is_own() {
                    granted.insert(*number);
                }
            }));
        }
        (woken, granted)
    }

    /// When to notify this listener of the pending change.
    pub(super) fn due(&self, number: u64) -> Option<Instant> {
        self.all().places.get(&number)?.due
    }

    /// The listener was notified.
    pub(super) fn tell(&self, number: u64) {
        if let Some(place) = self.all().places.get_mut(&number) {
            place.due = None;
        }
    }

    /// If its buckets have to be read: the current read counter.
    pub(super) fn unsettled(&self, number: u64) -> Option<u64> {
        let all = self.all();
        all.unsettled.contains(&number).then(|| all.places.get(&number).map(|place| place.turn))?
    }

    /// Stores the buckets that were read, unless they are outdated.
    pub(super) fn settle(&self, number: u64, turn: u64, buckets: &[String]) {
        let held: Vec<u64> = buckets.iter().map(|bucket| self.hash(bucket)).collect();
        let mut all = self.all();
        let All { places, members, unsettled, .. } = &mut *all;
        if let Some(place) = places.get_mut(&number)
            && place.turn == turn
            && unsettled.remove(&number)
        {
            members.extend(held.iter().map(|bucket| (*bucket, number)));
            place.held = held;
        }
    }
}

/// The time over which this many wake-ups are spread.
fn spread(many: u32) -> Duration {
    if many <= AT_ONCE { Duration::ZERO } else { (EACH * many).min(LONGEST) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{AT_ONCE, EventListeners, spread};
    use crate::model::Touched;

    fn touched(bucket: &str, is_grant: bool) -> Touched {
        Touched { bucket: bucket.into(), is_grant }
    }

    fn enter(places: &EventListeners, own: &str) -> u64 {
        places.enter(own, usize::MAX, usize::MAX).unwrap().0
    }

    fn settle(places: &EventListeners, number: u64, buckets: &[&str]) {
        let buckets: Vec<String> = buckets.iter().map(|bucket| (*bucket).to_owned()).collect();
        if let Some(turn) = places.unsettled(number) {
            places.settle(number, turn, &buckets);
        }
    }

    #[test]
    fn change_wakes_bucket_holders_and_unsettled_listeners() {
        let places = EventListeners::default();
        let [anna, ben, eve] = ["user:anna", "user:ben", "user:eve"].map(|own| enter(&places, own));
        settle(&places, anna, &["user:anna", "global"]);
        settle(&places, ben, &["user:ben", "global", "team"]);
        places.wake(Some(&[touched("team", false)]));
        assert_eq!([anna, ben, eve].map(|one| places.due(one).is_some()), [false, true, true]);
        assert_eq!(places.wakes(), 2);
        let tell_all = || {
            for one in [anna, ben, eve] {
                places.tell(one);
            }
        };
        tell_all();
        for (bucket, woken) in [("global", 3), ("", 3), ("unused", 1), ("user:anna", 2)] {
            let before = places.wakes();
            places.wake(Some(&[touched(bucket, false)]));
            assert_eq!(places.wakes() - before, woken, "{bucket}");
            tell_all();
            settle(&places, anna, &["user:anna", "global"]);
            settle(&places, ben, &["user:ben", "global"]);
        }
    }

    #[test]
    fn buckets_read_before_a_grant_are_discarded() {
        let places = EventListeners::default();
        let anna = enter(&places, "user:anna");
        let turn = places.unsettled(anna).unwrap();
        places.wake(Some(&[touched("user:anna", true)]));
        places.settle(anna, turn, &[String::from("user:anna")]);
        assert!(places.unsettled(anna).is_some(), "it is read again");
        places.tell(anna);
        places.wake(Some(&[touched("team", false)]));
        assert!(places.due(anna).is_some(), "until then everything wakes");
    }

    #[test]
    fn listener_that_leaves_is_in_no_bucket() {
        let places = EventListeners::default();
        let [anna, other] = ["user:anna", "user:anna"].map(|own| enter(&places, own));
        settle(&places, anna, &["user:anna", "team"]);
        assert!(places.enter("user:anna", 2, usize::MAX).is_err(), "the user has two");
        settle(&places, other, &["user:anna", "user:ben"]);
        assert!(places.enter("user:ben", 1, usize::MAX).is_ok(), "a held bucket is not its own");
        for number in [anna, other] {
            places.leave(number);
        }
        let all = places.all();
        assert_eq!((all.places.len(), all.members.len(), all.unsettled.len()), (1, 1, 1));
    }

    #[test]
    fn wake_ups_are_spread_and_never_postponed() {
        assert_eq!(spread(AT_ONCE), Duration::ZERO);
        assert_eq!(spread(1_000), Duration::from_millis(500));
        assert_eq!(spread(1_000_000), Duration::from_millis(1_750));
        let places = EventListeners::default();
        let all: Vec<u64> = (0..1_000).map(|_| enter(&places, "user:anna")).collect();
        let begun = Instant::now();
        places.wake(None);
        let due = || all.iter().map(|one| places.due(*one).unwrap()).collect::<Vec<_>>();
        let (first, ended) = (due(), Instant::now());
        assert!(first.iter().all(|at| *at <= ended + Duration::from_millis(500)));
        let late = first.iter().filter(|at| **at > begun + Duration::from_millis(250)).count();
        assert!((450..=1_000).contains(&late), "{late} of 1,000 in the second half");
        places.wake(None);
        assert!(first.iter().zip(due()).all(|(first, second)| second <= *first));
        assert_eq!(places.wakes(), 1_000);
    }
}
