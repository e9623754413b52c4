//! The users of the shop: what each bought, oldest first.
//!
//! A user has a sport, and buys along the kit of that sport: after a ball the shin guards that go
//! with it. So the last item says more about the next than popularity does, as in a real shop.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::catalogue::Catalogue;

/// How much a line's best-sold items stand out: weight 1 / rank^SKEW.
const SKEW: f64 = 0.9;
/// The shortest and the longest history.
const LENGTHS: std::ops::RangeInclusive<usize> = 5..=14;
/// How often the next item is one that goes with the last.
const COMPANION: f64 = 0.55;
/// How often it is otherwise from the user's own sport.
const OWN_SPORT: f64 = 0.8;

/// Where an item lies: its sport, line and rank.
type Spot = (usize, usize, usize);

/// Makes the histories of `users` users, as positions in the catalogue's items.
pub(super) fn make(catalogue: &Catalogue, users: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x0075_7365_7273);
    (0..users).map(|_| history(catalogue, &mut random)).collect()
}

fn history(catalogue: &Catalogue, random: &mut ChaCha8Rng) -> Vec<usize> {
    let sports = catalogue.lines.len();
    let own = ranked(sports, random);
    let length = random.random_range(LENGTHS);
    let mut spot = in_sport(catalogue, own, random);
    let mut bought: Vec<usize> = Vec::new();
    while bought.len() < length {
        let item = catalogue.lines[spot.0][spot.1][spot.2];
        if !bought.contains(&item) {
            bought.push(item);
        }
        spot = if random.random_bool(COMPANION) {
            companion(catalogue, spot, random)
        } else if random.random_bool(OWN_SPORT) {
            in_sport(catalogue, own, random)
        } else {
            let other = ranked(sports, random);
            in_sport(catalogue, other, random)
        };
    }
    bought
}

/// The item that goes with another: of the next line of its sport, near its own rank.
fn companion(catalogue: &Catalogue, spot: Spot, random: &mut ChaCha8Rng) -> Spot {
    let (sport, line, rank) = spot;
    let line = (line + 1) % catalogue.lines[sport].len();
    let members = catalogue.lines[sport][line].len();
    let second = usize::from(random.random_bool(0.3));
    (sport, line, (rank + second) % members)
}

fn in_sport(catalogue: &Catalogue, sport: usize, random: &mut ChaCha8Rng) -> Spot {
    let line = random.random_range(0..catalogue.lines[sport].len());
    (sport, line, ranked(catalogue.lines[sport][line].len(), random))
}

/// A rank below `count`, the first the likeliest.
fn ranked(count: usize, random: &mut ChaCha8Rng) -> usize {
    let weight = |rank: usize| ((rank + 1) as f64).powf(-SKEW);
    let total: f64 = (0..count).map(weight).sum();
    let mut at = random.random_range(0.0..total);
    for rank in 0..count {
        at -= weight(rank);
        if at < 0.0 {
            return rank;
        }
    }
    count - 1
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::demo::catalogue;

    #[test]
    fn histories_are_seeded_and_never_repeat_an_item() {
        let catalogue = catalogue::make(2_000, 7);
        let histories = make(&catalogue, 300, 7);
        assert_eq!(histories, make(&catalogue, 300, 7));
        for history in &histories {
            assert!(LENGTHS.contains(&history.len()));
            let mut once = history.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), history.len());
        }
    }

    /// Leaves the last item of each user out and guesses it twice: by popularity, and by what
    /// followed the item before it elsewhere. The demo is pointless unless the second is better.
    #[test]
    fn the_last_item_tells_more_than_popularity() {
        let catalogue = catalogue::make(2_000, 7);
        let histories = make(&catalogue, 1_200, 7);
        let mut counts: HashMap<usize, usize> = HashMap::new();
        let mut follows: HashMap<usize, HashMap<usize, usize>> = HashMap::new();
        for history in &histories {
            let train = &history[..history.len() - 1];
            for item in train {
                *counts.entry(*item).or_default() += 1;
            }
            for pair in train.windows(2) {
                *follows.entry(pair[0]).or_default().entry(pair[1]).or_default() += 1;
            }
        }
        let popular = top(&counts);
        let (mut by_popularity, mut by_last) = (0, 0);
        for history in &histories {
            let (target, last) = (history[history.len() - 1], history[history.len() - 2]);
            by_popularity += usize::from(popular.contains(&target));
            let next = follows.get(&last).map(top).unwrap_or_default();
            by_last += usize::from(next.contains(&target));
        }
        assert!(by_last > 3 * by_popularity, "{by_last} hits against {by_popularity}");
    }

    fn top(counts: &HashMap<usize, usize>) -> Vec<usize> {
        let mut items: Vec<_> = counts.iter().map(|(item, count)| (*count, *item)).collect();
        items.sort_unstable_by(|a, b| b.cmp(a));
        items.into_iter().take(10).map(|(_, item)| item).collect()
    }
}
