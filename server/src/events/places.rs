//! Who listens, and in which buckets: a change wakes those who hold one of its buckets, and whoever of whom that is not known.
//!
//! Nobody who holds such a bucket is passed over; that somebody is woken for nothing may happen. Buckets are kept as hashes, for there
//! may be ten thousand listeners of a hundred buckets each. They are read when a listener comes, and again whenever a grant of his
//! user's was written: until that has been read, everything wakes him.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::Touched;

/// So many are woken at once; more are spread over a time that grows with them.
const AT_ONCE: u32 = 100;

/// What one of many adds to that time.
const EACH: Duration = Duration::from_millis(2);

/// That time at most.
const LONGEST: Duration = Duration::from_secs(5);

/// One listener.
#[derive(Debug)]
struct Place {
    /// The bucket in which his grants are told.
    own: u64,
    /// His buckets, in order; `None` if they have to be read.
    held: Option<Vec<u64>>,
    /// How often they had to be read anew.
    turn: u64,
    /// When he is told that something has changed.
    due: Option<Instant>,
    notify: Arc<Notify>,
}

/// Why a listener is not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// Its user has as many as a user may have.
    OfUser,
    /// The server has as many as leave it connections for requests.
    AtServer,
}

#[derive(Debug, Default)]
struct All {
    places: HashMap<u64, Place>,
    last: u64,
    wakes: u64,
}

/// Those who listen at this node.
#[derive(Debug, Default)]
pub(crate) struct Places {
    hasher: RandomState,
    all: Mutex<All>,
}

impl Places {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash(&self, bucket: &str) -> u64 {
        self.hasher.hash_one(bucket)
    }

    /// Adds a listener whose own bucket this is: its number, and what notifies it. Its user may
    /// have `most` listeners, and the server as many as `in_all`.
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
        if all.places.values().filter(|place| place.own == own).count() >= most {
            return Err(TooMany::OfUser);
        }
        all.last += 1;
        let number = all.last;
        let place = Place { own, held: None, turn: 0, due: None, notify: Arc::clone(&notify) };
        all.places.insert(number, place);
        Ok((number, notify))
    }

    pub(super) fn leave(&self, number: u64) {
        self.all().places.remove(&number);
    }

    /// How many listen.
    pub(crate) fn count(&self) -> usize {
        self.all().places.len()
    }

    /// How many have been woken since the start; of somebody who was told nothing in between several changes count as one.
    pub(crate) fn wakes(&self) -> u64 {
        self.all().wakes
    }

    /// Wakes those whom a change concerns; `None` is everybody.
    pub(super) fn wake(&self, touched: Option<&[Touched]>) {
        // What names no bucket is about the log itself.
        let touched = touched.filter(|all| all.iter().all(|one| !one.bucket.is_empty()));
        let hashes: Option<Vec<(u64, bool)>> = touched
            .map(|all| all.iter().map(|one| (self.hash(&one.bucket), one.is_grant)).collect());
        let mut all = self.all();
        let mut woken = Vec::new();
        for place in all.places.values_mut() {
            let concerned = hashes.as_ref().is_none_or(|hashes| place.is_concerned(hashes));
            let is_granted =
                hashes.as_ref().is_none_or(|hashes| hashes.contains(&(place.own, true)));
            if is_granted {
                place.turn += 1;
                place.held = None;
            }
            if concerned {
                woken.push(place);
            }
        }
        let now = Instant::now();
        let many = u32::try_from(woken.len()).unwrap_or(u32::MAX);
        let spread = spread(many);
        let mut wakes = 0;
        for (place, at) in woken.into_iter().zip(0_u32..) {
            let due = now + spread * at / many.max(1);
            wakes += u64::from(place.due.is_none());
            place.due = Some(place.due.map_or(due, |earlier| earlier.min(due)));
            place.notify.notify_one();
        }
        all.wakes += wakes;
    }

    /// When this one is to be told that something has changed.
    pub(super) fn due(&self, number: u64) -> Option<Instant> {
        self.all().places.get(&number)?.due
    }

    /// He is told.
    pub(super) fn tell(&self, number: u64) {
        if let Some(place) = self.all().places.get_mut(&number) {
            place.due = None;
        }
    }

    /// Whether his buckets have to be read, and for which time.
    pub(super) fn unsettled(&self, number: u64) -> Option<u64> {
        let all = self.all();
        let place = all.places.get(&number)?;
        place.held.is_none().then_some(place.turn)
    }

    /// What was read of his buckets, unless that has become old meanwhile.
    pub(super) fn settle(&self, number: u64, turn: u64, buckets: &[String]) {
        let mut held: Vec<u64> = buckets.iter().map(|bucket| self.hash(bucket)).collect();
        held.sort_unstable();
        if let Some(place) = self.all().places.get_mut(&number)
            && place.turn == turn
        {
            place.held = Some(held);
        }
    }
}

impl Place {
    fn is_concerned(&self, touched: &[(u64, bool)]) -> bool {
        let Some(held) = &self.held else { return true };
        touched.iter().any(|(bucket, _)| *bucket == self.own || held.binary_search(bucket).is_ok())
    }
}

/// Over which time so many are woken.
fn spread(many: u32) -> Duration {
    if many <= AT_ONCE { Duration::ZERO } else { (EACH * many).min(LONGEST) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{AT_ONCE, Places, spread};
    use crate::model::Touched;

    fn touched(bucket: &str, is_grant: bool) -> Touched {
        Touched { bucket: bucket.into(), is_grant }
    }

    fn enter(places: &Places, own: &str) -> u64 {
        places.enter(own, usize::MAX, usize::MAX).unwrap().0
    }

    fn settle(places: &Places, number: u64, buckets: &[&str]) {
        let buckets: Vec<String> = buckets.iter().map(|bucket| (*bucket).to_owned()).collect();
        if let Some(turn) = places.unsettled(number) {
            places.settle(number, turn, &buckets);
        }
    }

    #[test]
    fn a_bucket_wakes_those_who_hold_it_and_whoever_is_not_known() {
        let places = Places::default();
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
        for (bucket, woken) in [("global", 3), ("", 3), ("nobody", 1), ("user:anna", 2)] {
            let before = places.wakes();
            places.wake(Some(&[touched(bucket, false)]));
            assert_eq!(places.wakes() - before, woken, "{bucket}");
            tell_all();
            settle(&places, anna, &["user:anna", "global"]);
            settle(&places, ben, &["user:ben", "global"]);
        }
    }

    #[test]
    fn what_was_read_before_a_grant_counts_no_more() {
        let places = Places::default();
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
    fn many_are_woken_one_after_the_other_and_nobody_later_than_he_was_to_be() {
        assert_eq!(spread(AT_ONCE), Duration::ZERO);
        assert_eq!(spread(1_000), Duration::from_secs(2));
        assert_eq!(spread(1_000_000), Duration::from_secs(5));
        let places = Places::default();
        let all: Vec<u64> = (0..1_000).map(|_| enter(&places, "user:anna")).collect();
        let begun = Instant::now();
        places.wake(None);
        let due = || all.iter().map(|one| places.due(*one).unwrap()).collect::<Vec<_>>();
        let (first, ended) = (due(), Instant::now());
        assert!(first.iter().all(|at| *at <= ended + Duration::from_secs(2)));
        let late = first.iter().filter(|at| **at > begun + Duration::from_secs(1)).count();
        assert!((450..=1_000).contains(&late), "{late} of 1,000 in the second half");
        places.wake(None);
        assert!(first.iter().zip(due()).all(|(first, second)| second <= *first));
        assert_eq!(places.wakes(), 1_000);
    }
}
