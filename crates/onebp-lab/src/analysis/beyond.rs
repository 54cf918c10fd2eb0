//! What lists are like apart from being right: new, diverse, personal, balanced.
//!
//! Of every user's first k items, with f_j the training users of item j, M users, N items, and c_j the lists that hold j:
//!
//! | metric | value | over |
//! |---|---|---|
//! | novelty | mean of -log2(max(f_j, 1) / M) over the list | users |
//! | tail share | share of the list outside the head, the smallest set of items with 80 % of the training pairs | users |
//! | entropy | -sum p_j ln p_j / ln N with p_j = c_j / sum c | all lists |
//! | personalisation | 1 - mean of \|overlap\| / k | pairs of users |
//! | diversity (ILD) by genre | mean over pairs of the list of 1 - Jaccard index of their genres, pairs without genres left out | users |
//! | diversity (ILD) by row | mean over pairs of the list of 1 - cosine of the model's own item rows | users |
//! | miscalibration | Jensen-Shannon divergence, in bits, of the genres of the list from those of the training items | users |
//!
//! A list of one item has diversity 0. In miscalibration an item spreads one unit over its genres. Diversity by row cannot
//! be compared between models: each measures with its own ruler. Pairs of users are all of them where there are at most
//! [`PAIRS`], else that many drawn at random. Users without a list count nowhere. Coverage, Gini and average popularity of
//! the same lists are in the report of `onebp-eval`.
//!
//! Source: spec section 10; Vargas and Castells, RecSys 2011 (novelty, ILD); Steck, "Calibrated recommendations", RecSys
//! 2018 (genres spread over an item; it measures with the Kullback-Leibler divergence).

use super::shares::{jensen_shannon, normalised, normalised_entropy};
use super::{Rows, check_length, check_lists, cosine, mean, top};
use crate::Error;
use onebp_data::random::{Purpose, Random};
use onebp_data::{Csr, Genres};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Pairs of users that are compared.
pub const PAIRS: usize = 10_000;

/// Share of the training pairs that the head holds.
pub const HEAD: f64 = 0.8;

/// The metrics above at one length of lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beyond {
    /// Items of a list that were looked at.
    pub k: usize,
    /// Users with a list.
    pub users: usize,
    /// Mean novelty in bits.
    pub novelty: f64,
    /// Mean share of items outside the head.
    pub tail_share: f64,
    /// Normalised entropy of how often items are listed.
    pub entropy: f64,
    /// Personalisation, `None` for a single user.
    pub personalisation: Option<f64>,
    /// Mean diversity by genre, where genres are known.
    pub genre_diversity: Option<f64>,
    /// Mean diversity by the model's own rows, where they are given.
    pub row_diversity: Option<f64>,
    /// Mean miscalibration, where genres are known.
    pub miscalibration: Option<f64>,
}

/// What lists are measured against.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Training pairs `[M, N]`.
    pub train: &'a Csr,
    /// Genres of the items `[N]`, where known.
    pub genres: Option<&'a Genres>,
    /// The model's item table `[N, d]`, where it has one.
    pub items: Option<Rows<'a>>,
    /// Seed of the pairs of users.
    pub seed: u64,
}

/// Measures `lists`, one for each of the M users, best first, at each of `cutoffs`. Lists shorter than a cutoff count as
/// they are.
///
/// # Errors
/// [`Error::Analysis`] where lengths or ids do not fit, a value is not finite, a cutoff is 0, or there is no list.
pub fn beyond(lists: &[Vec<u32>], context: &Context, cutoffs: &[usize]) -> Result<Vec<Beyond>, Error> {
    check_lists(lists, context.train)?;
    if let Some(genres) = context.genres {
        check_length("items with genres", genres.items(), context.train.columns())?;
    }
    if let Some(items) = context.items {
        items.check("items")?;
        check_length("rows of the item table", items.len(), context.train.columns())?;
    }
    if cutoffs.contains(&0) || lists.iter().all(Vec::is_empty) {
        return Err(Error::analysis("there is no list to measure", "rank the users, and give cutoffs of 1 or more"));
    }
    let counts = context.train.item_counts();
    let head = head(&counts);
    Ok(cutoffs.iter().map(|&k| at_cutoff(lists, context, &counts, &head, k)).collect())
}

/// Which items are in the smallest set that holds [`HEAD`] of all pairs: the most frequent ones, equal ones by id. `[N]`.
pub fn head(counts: &[u32]) -> Vec<bool> {
    let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&item| std::cmp::Reverse(counts[item]));
    let (mut head, mut held) = (vec![false; counts.len()], 0);
    for item in order {
        if held as f64 >= HEAD * total as f64 {
            break;
        }
        held += u64::from(counts[item]);
        head[item] = true;
    }
    head
}

fn at_cutoff(lists: &[Vec<u32>], context: &Context, counts: &[u32], head: &[bool], k: usize) -> Beyond {
    let users: Vec<u32> = (0..lists.len() as u32).filter(|&user| !lists[user as usize].is_empty()).collect();
    let list = |user: u32| top(&lists[user as usize], k);
    // A value per user in parallel, then a mean in a fixed order.
    let over = |value: &(dyn Fn(u32, &[u32]) -> Option<f64> + Sync)| {
        mean(users.par_iter().map(|&user| value(user, list(user))).collect::<Vec<_>>().into_iter().flatten())
    };
    let m = context.train.rows() as f64;
    let surprise = |&item: &u32| -(f64::from(counts[item as usize].max(1)) / m).log2();
    let novelty = over(&|_, list| mean(list.iter().map(surprise)));
    let outside = |&item: &u32| if head[item as usize] { 0.0 } else { 1.0 };
    let tail_share = over(&|_, list| mean(list.iter().map(outside)));
    let mut listed = vec![0.0; counts.len()];
    users.iter().for_each(|&user| list(user).iter().for_each(|&item| listed[item as usize] += 1.0));
    Beyond {
        k,
        users: users.len(),
        novelty: novelty.unwrap_or(0.0),
        tail_share: tail_share.unwrap_or(0.0),
        entropy: normalised(&listed).map_or(0.0, |shares| normalised_entropy(&shares)),
        personalisation: personalisation(lists, &users, k, context.seed),
        genre_diversity: context
            .genres
            .and_then(|genres| over(&|_, list| diversity(list, |a, b| jaccard(genres.of(a), genres.of(b))))),
        row_diversity: context.items.and_then(|rows| {
            over(&|_, list| diversity(list, |a, b| Some(cosine(rows.row(a as usize), rows.row(b as usize)))))
        }),
        miscalibration: context.genres.and_then(|genres| {
            over(&|user, list| {
                let (own, profile) = (profile(list, genres)?, profile(context.train.row(user), genres)?);
                Some(jensen_shannon(&own, &profile))
            })
        }),
    }
}

/// 1 - mean similarity of the pairs of a list for which there is one; 0 for a single item.
fn diversity(list: &[u32], similarity: impl Fn(u32, u32) -> Option<f64>) -> Option<f64> {
    if list.len() < 2 {
        return Some(0.0);
    }
    let pairs = (1..list.len()).flat_map(|b| (0..b).map(move |a| (list[a], list[b])));
    mean(pairs.filter_map(|(a, b)| similarity(a, b)).map(|similarity| 1.0 - similarity))
}

/// Size of the intersection by that of the union of two ascending sets; `None` where one is empty.
fn jaccard(a: &[u32], b: &[u32]) -> Option<f64> {
    let common = a.iter().filter(|genre| b.contains(genre)).count();
    (!a.is_empty() && !b.is_empty()).then(|| common as f64 / (a.len() + b.len() - common) as f64)
}

/// Share of each genre in some items; `None` where none has a genre.
fn profile(items: &[u32], genres: &Genres) -> Option<Vec<f64>> {
    let mut weights = vec![0.0; genres.names.len()];
    for &item in items {
        let own = genres.of(item);
        own.iter().for_each(|&genre| weights[genre as usize] += 1.0 / own.len() as f64);
    }
    normalised(&weights)
}

fn personalisation(lists: &[Vec<u32>], users: &[u32], k: usize, seed: u64) -> Option<f64> {
    let n = users.len();
    let pairs: Vec<(u32, u32)> = if n.saturating_mul(n.saturating_sub(1)) / 2 <= PAIRS {
        (1..n).flat_map(|b| (0..b).map(move |a| (users[a], users[b]))).collect()
    } else {
        let random = Random::new(seed, Purpose::UserPairs);
        let pair = |number: usize| {
            let first = random.below(n as u64, 0, number as u64, 0) as usize;
            // One of the others.
            let step = 1 + random.below(n as u64 - 1, 0, number as u64, 1) as usize;
            (users[first], users[(first + step) % n])
        };
        (0..PAIRS).map(pair).collect()
    };
    let overlap = |(a, b): (u32, u32)| {
        let (a, b) = (top(&lists[a as usize], k), top(&lists[b as usize], k));
        a.iter().filter(|item| b.contains(item)).count() as f64 / k as f64
    };
    mean(pairs.into_iter().map(overlap)).map(|overlap| 1.0 - overlap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn genres() -> Genres {
        let names = ["A", "B"].map(str::to_owned).to_vec();
        Genres::new(names, 4, &[(0, 0), (1, 0), (1, 1), (2, 1)]).unwrap()
    }

    #[test]
    fn by_hand() {
        // Item 0 has three users, item 1 one, items 2 and 3 none.
        let train = Csr::from_pairs(4, 4, &[(0, 0), (1, 0), (2, 0), (3, 1)]).unwrap();
        let lists = [vec![1, 2], vec![1, 2], vec![3, 1], vec![]];
        let rows = [1.0, 0.0, 1.0, 0.0, 0.0, 2.0, -1.0, 0.0];
        let genres = genres();
        let items = Some(Rows { values: &rows, dim: 2 });
        let context = Context { train: &train, genres: Some(&genres), items, seed: 0 };
        let found = &beyond(&lists, &context, &[2]).unwrap()[0];
        assert_eq!((found.k, found.users, found.novelty), (2, 3, 2.0));
        // 80 % of 4 pairs are 3.2: both items are the head.
        assert_eq!(head(&train.item_counts()), [true, true, false, false]);
        assert_eq!(found.tail_share, 0.5);
        let entropy = normalised_entropy(&[0.0, 0.5, 1.0 / 3.0, 1.0 / 6.0]);
        assert!((found.entropy - entropy).abs() < 1e-15);
        // Overlaps 2, 1 and 1 of 2.
        assert!((found.personalisation.unwrap() - 1.0 / 3.0).abs() < 1e-15);
        // Genres {A, B} and {B}: 1/2; item 3 has none, so its list has no pair.
        assert_eq!(found.genre_diversity, Some(0.5));
        // Right angles twice, then opposite.
        assert!((found.row_diversity.unwrap() - 4.0 / 3.0).abs() < 1e-15);
        // Lists: A 1/4, B 3/4 against A 1; then A 1/2, B 1/2 against A 1.
        let a = jensen_shannon(&[0.25, 0.75], &[1.0, 0.0]);
        let b = jensen_shannon(&[0.5, 0.5], &[1.0, 0.0]);
        assert!((found.miscalibration.unwrap() - (2.0 * a + b) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn single_items_and_unknown_genres() {
        let train = Csr::from_pairs(1, 4, &[(0, 0)]).unwrap();
        let genres = genres();
        let context = Context { train: &train, genres: Some(&genres), items: None, seed: 0 };
        let found = beyond(&[vec![1, 2]], &context, &[1]).unwrap().remove(0);
        assert_eq!((found.genre_diversity, found.row_diversity, found.personalisation), (Some(0.0), None, None));
        let found = beyond(&[vec![3, 3]], &Context { genres: None, ..context }, &[2]).unwrap().remove(0);
        assert_eq!((found.genre_diversity, found.miscalibration, found.entropy), (None, None, 0.0));
    }

    #[test]
    fn sampled_pairs_are_of_two_users_and_repeatable() {
        // Every user's list is their own: a pair of one user with itself would overlap.
        let users = 200;
        let train = Csr::from_pairs(users, users, &[(0, 0)]).unwrap();
        let lists: Vec<Vec<u32>> = (0..users as u32).map(|user| vec![user]).collect();
        let context = Context { train: &train, genres: None, items: None, seed: 7 };
        let found = beyond(&lists, &context, &[1, 2]).unwrap();
        assert_eq!(found[0].personalisation, Some(1.0));
        assert!((found[0].entropy - 1.0).abs() < 1e-12);
        let halves: Vec<Vec<u32>> = (0..users as u32).map(|user| vec![user / 100]).collect();
        let run = |seed| beyond(&halves, &Context { seed, ..context }, &[1]).unwrap()[0].personalisation.unwrap();
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!((run(7) - 100.0 / 199.0).abs() < 0.02);
    }

    #[test]
    fn bad_input_is_refused() {
        let train = Csr::from_pairs(1, 2, &[(0, 0)]).unwrap();
        let genres = genres();
        let context = Context { train: &train, genres: None, items: None, seed: 0 };
        let error = |lists: &[Vec<u32>], context: Context, k| beyond(lists, &context, &[k]).unwrap_err().to_string();
        assert!(error(&[vec![]], context, 1).starts_with("there is no list to measure; "));
        assert!(error(&[vec![1]], context, 0).starts_with("there is no list to measure; "));
        let other = Context { genres: Some(&genres), ..context };
        assert!(error(&[vec![1]], other, 1).starts_with("items with genres: 4 found, 2 expected"));
        let other = Context { items: Some(Rows { values: &[1.0], dim: 1 }), ..context };
        assert!(error(&[vec![1]], other, 1).starts_with("rows of the item table: 1 found, 2 expected"));
    }
}
