//! Filters and splits interactions.
//!
//! In this order: ratings below the threshold go; repeated (user, item) rows become one, the earliest where there are
//! times, else the first; users and items with too few partners go, again and again until none is left (k-core); ids
//! without a remaining interaction go; the rest is split.

use crate::split::{Event, Ratio, split};
use crate::{Csr, Dataset, Error, IdMap, Interactions, SplitRule};
use serde::{Deserialize, Serialize};

/// How interactions become a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preparation {
    /// Keep only interactions with at least this rating. Default: none, every row is a positive (as in the paper).
    pub min_rating: Option<f64>,
    /// Keep only users with at least this many distinct items. Default 1: all.
    pub user_core: u32,
    /// Keep only items with at least this many distinct users. Default 1: all.
    pub item_core: u32,
    /// Which interactions go to test. Default: `ratio`.
    pub split: SplitRule,
    /// Share of the interactions that goes to test, for the rules that take one. Default 0.2, six decimals count.
    pub test_ratio: f64,
    /// Seed of the split. Default 2022.
    pub seed: u64,
}

impl Default for Preparation {
    fn default() -> Self {
        Self { min_rating: None, user_core: 1, item_core: 1, split: SplitRule::Ratio, test_ratio: 0.2, seed: 2022 }
    }
}

impl Preparation {
    /// The names of the options that differ from the default. Seeds do not count: training has one in any case.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let default = Self::default();
        let options = [
            ("min-rating", self.min_rating != default.min_rating),
            ("user-core", self.user_core != default.user_core),
            ("item-core", self.item_core != default.item_core),
            ("split", self.split != default.split),
            ("test-ratio", self.test_ratio != default.test_ratio),
        ];
        options.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }

    /// The protocol in words, such as `rating >= 4, 5-core users, ratio 0.2, seed 2022`.
    fn describe(&self, timed: bool) -> String {
        let mut words = Vec::new();
        words.extend(self.min_rating.map(|least| format!("rating >= {least}")));
        words.extend((self.user_core > 1).then(|| format!("{}-core users", self.user_core)));
        words.extend((self.item_core > 1).then(|| format!("{}-core items", self.item_core)));
        words.push(match self.split {
            SplitRule::Ratio | SplitRule::RatioFloorMinusOne => {
                format!("{} {}, seed {}", self.split, self.test_ratio, self.seed)
            }
            SplitRule::LeaveOneOut if timed => "leave-one-out, latest".to_owned(),
            SplitRule::LeaveOneOut => format!("leave-one-out, random, seed {}", self.seed),
            SplitRule::Time => format!("time, latest {}", self.test_ratio),
        });
        words.join(", ")
    }
}

/// Filters and splits `interactions` into the data set `name`, without a validation part.
///
/// # Errors
/// [`Error::Preparation`] where an option is out of range, needs a column that is not there, or leaves nothing.
pub fn prepare(interactions: &Interactions, name: &str, preparation: &Preparation) -> Result<Dataset, Error> {
    let ratio = Ratio::new(preparation.test_ratio, "the test ratio")?;
    let rows = rated(interactions, preparation.min_rating)?;
    let mut warnings = Vec::new();
    let mut events = distinct(interactions, &rows);
    if events.len() < rows.len() {
        warnings.push(format!("rows that repeat a pair of user and item: {}, collapsed", rows.len() - events.len()));
    }
    k_core(&mut events, preparation.user_core, preparation.item_core);
    if events.is_empty() {
        return Err(Error::preparation(
            format!(
                "no interaction is left after keeping users with {} and items with {} or more partners",
                preparation.user_core, preparation.item_core
            ),
            "lower `user-core` or `item-core`",
        ));
    }
    let users = renumber(&mut events, &interactions.users, |event| &mut event.user);
    let items = renumber(&mut events, &interactions.items, |event| &mut event.item);

    let (train, test) = split(&events, preparation.split, ratio, preparation.seed)?;
    let few = |part| {
        format!("no interaction is left for {part} (users: {}, interactions in all: {})", users.len(), events.len())
    };
    if train.is_empty() {
        return Err(Error::preparation(few("train"), "change `test-ratio` or `split`, or use more data"));
    }
    // Enough to look at, and to evaluate a trained model on; training itself refuses it.
    if test.is_empty() {
        warnings.push(few("test"));
    }
    let train = Csr::from_pairs(users.len(), items.len(), &train)?;
    let test = Csr::from_pairs(users.len(), items.len(), &test)?;
    let split = preparation.describe(interactions.time.is_some());
    let mut dataset = Dataset { name: name.to_owned(), split, users, items, train, valid: None, test, warnings };
    dataset.warn_about_users();
    Ok(dataset)
}

/// The rows with a rating of `least` or more.
fn rated(interactions: &Interactions, least: Option<f64>) -> Result<Vec<usize>, Error> {
    let Some(least) = least else { return Ok((0..interactions.len()).collect()) };
    let Some(ratings) = &interactions.rating else {
        return Err(Error::preparation(
            format!("ratings of at least {least} are asked for, and the data have no ratings"),
            "name the column with `rating-column`, or leave `min-rating` out",
        ));
    };
    // In the precision of the ratings, so that a rating of 4.1 is not below a threshold of 4.1.
    let rows: Vec<usize> = (0..ratings.len()).filter(|&row| ratings[row] >= least as f32).collect();
    if rows.is_empty() {
        let most = ratings.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        return Err(Error::preparation(
            format!("no rating is {least} or more; the largest is {most}"),
            "lower `min-rating`",
        ));
    }
    Ok(rows)
}

/// One event for each pair in `rows`, by ascending (user, item).
fn distinct(interactions: &Interactions, rows: &[usize]) -> Vec<Event> {
    let event = |&row: &usize| Event {
        user: interactions.user[row],
        item: interactions.item[row],
        time: interactions.time.as_ref().map(|time| time[row]),
        row,
    };
    let mut events: Vec<Event> = rows.iter().map(event).collect();
    events.sort_unstable_by_key(|event| (event.user, event.item, event.time, event.row));
    events.dedup_by_key(|event| (event.user, event.item));
    events
}

/// Removes users with fewer than `user_core` and items with fewer than `item_core` events until none is left.
fn k_core(events: &mut Vec<Event>, user_core: u32, item_core: u32) {
    let count = |events: &[Event], of: fn(&Event) -> u32| {
        let mut counts = vec![0u32; events.iter().map(of).max().map_or(0, |largest| largest as usize + 1)];
        events.iter().for_each(|event| counts[of(event) as usize] += 1);
        counts
    };
    loop {
        let before = events.len();
        let users = count(events, |event| event.user);
        events.retain(|event| users[event.user as usize] >= user_core);
        let items = count(events, |event| event.item);
        events.retain(|event| items[event.item as usize] >= item_core);
        if events.len() == before {
            return;
        }
    }
}

/// Gives the ids that occur in `events` new dense ids in the same order, and returns their raw ids.
fn renumber(events: &mut [Event], ids: &IdMap, id: fn(&mut Event) -> &mut u32) -> IdMap {
    let mut occurs = vec![false; ids.len()];
    events.iter_mut().for_each(|event| occurs[*id(event) as usize] = true);
    let kept: Vec<u32> = (0..ids.len() as u32).filter(|&old| occurs[old as usize]).collect();
    let mut new = vec![0; ids.len()];
    for (position, &old) in (0u32..).zip(&kept) {
        new[old as usize] = position;
    }
    for event in events {
        let id = id(event);
        *id = new[*id as usize];
    }
    IdMap::new(kept.into_iter().map(|old| ids.raw(old).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn interactions(rows: &[(u32, u32, f32, i64)]) -> Interactions {
        let ids = |of: fn(&(u32, u32, f32, i64)) -> u32| {
            IdMap::new((0..=rows.iter().map(of).max().unwrap_or(0)).map(|id| id.to_string()).collect())
        };
        Interactions {
            users: ids(|row| row.0),
            items: ids(|row| row.1),
            user: rows.iter().map(|row| row.0).collect(),
            item: rows.iter().map(|row| row.1).collect(),
            rating: Some(rows.iter().map(|row| row.2).collect()),
            time: Some(rows.iter().map(|row| row.3).collect()),
        }
    }

    fn message(interactions: &Interactions, preparation: Preparation) -> String {
        prepare(interactions, "made up", &preparation).unwrap_err().to_string()
    }

    #[test]
    fn the_earliest_of_repeated_rows_stays() {
        let events =
            distinct(&interactions(&[(0, 1, 5.0, 9), (0, 1, 1.0, 3), (0, 0, 2.0, 4), (0, 1, 2.0, 3)]), &[0, 1, 2, 3]);
        assert_eq!(events.iter().map(|event| (event.item, event.row)).collect::<Vec<_>>(), [(0, 2), (1, 1)]);
    }

    #[test]
    fn thresholds_and_cores_drop_ids() {
        let rows = [
            (0, 5, 5.0, 0),
            (0, 6, 4.0, 1),
            (0, 6, 4.0, 1),
            (1, 5, 4.5, 2),
            (1, 6, 4.0, 3),
            (2, 5, 4.0, 4),
            (3, 6, 1.0, 5),
        ];
        let options = Preparation { min_rating: Some(4.0), user_core: 2, item_core: 2, ..Preparation::default() };
        let dataset = prepare(&interactions(&rows), "made up", &Preparation { test_ratio: 0.5, ..options }).unwrap();
        assert_eq!(
            (dataset.users.all(), dataset.items.all()),
            (&["0".to_owned(), "1".into()][..], &["5".to_owned(), "6".into()][..])
        );
        assert_eq!((dataset.train.len(), dataset.test.len()), (2, 2));
        assert_eq!(dataset.split, "rating >= 4, 2-core users, 2-core items, ratio 0.5, seed 2022");
        assert_eq!(dataset.warnings, ["rows that repeat a pair of user and item: 1, collapsed"]);
    }

    #[test]
    fn thresholds_are_compared_in_the_precision_of_ratings() {
        assert_eq!(rated(&interactions(&[(0, 0, 4.1, 0), (0, 1, 4.0, 0)]), Some(4.1)).unwrap(), [0]);
    }

    #[test]
    fn what_leaves_nothing_is_named() {
        let some = interactions(&[(0, 0, 3.0, 0), (1, 1, 4.5, 1)]);
        let options = Preparation::default();
        assert_eq!(
            message(&some, Preparation { min_rating: Some(5.0), ..options.clone() }),
            "no rating is 5 or more; the largest is 4.5; lower `min-rating`"
        );
        assert_eq!(
            message(&some, Preparation { user_core: 5, ..options.clone() }),
            "no interaction is left after keeping users with 5 and items with 1 or more partners; lower `user-core` or \
             `item-core`"
        );
        let few = prepare(&some, "few", &options).unwrap();
        assert_eq!(few.warnings[0], "no interaction is left for test (users: 2, interactions in all: 2)");
        assert!(
            message(&some, Preparation { test_ratio: 2.0, ..options.clone() }).starts_with("the test ratio is 2; ")
        );
        let plain = Interactions { rating: None, time: None, ..some };
        assert!(message(&plain, Preparation { min_rating: Some(4.0), ..options.clone() }).contains("have no ratings"));
        assert!(message(&plain, Preparation { split: SplitRule::Time, ..options }).contains("have none"));
    }

    #[test]
    fn options_survive_serialisation() {
        let options = Preparation { min_rating: Some(3.5), split: SplitRule::RatioFloorMinusOne, ..Default::default() };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Preparation>(&text).unwrap(), options);
        assert_eq!(serde_json::from_str::<Preparation>("{}").unwrap(), Preparation::default());
    }

    proptest! {
        #[test]
        fn a_core_is_a_core_and_the_largest(
            pairs in prop::collection::btree_set((0u32..7, 0u32..7), 1..40), user_core in 1u32..4, item_core in 1u32..4,
        ) {
            let mut events: Vec<Event> =
                pairs.iter().map(|&(user, item)| Event { user, item, time: None, row: 0 }).collect();
            k_core(&mut events, user_core, item_core);
            let kept: BTreeSet<(u32, u32)> = events.iter().map(|event| (event.user, event.item)).collect();
            // The same, one removal at a time.
            let mut naive = pairs.clone();
            let degrees = |of: &BTreeSet<(u32, u32)>, pair: (u32, u32)| {
                let user = of.iter().filter(|other| other.0 == pair.0).count() as u32;
                (user, of.iter().filter(|other| other.1 == pair.1).count() as u32)
            };
            while let Some(&weak) = naive.iter().find(|&&pair| {
                let (user, item) = degrees(&naive, pair);
                user < user_core || item < item_core
            }) {
                naive.remove(&weak);
            }
            prop_assert_eq!(kept, naive);
        }
    }
}
