//! How well genres hold together in the item table: Tables 4 and 5 and Figure 6 of the paper.
//!
//! For a genre g with n_g items, the centroid c_g is the mean of the rows of all its items; an item of several genres
//! counts in each. Of the k items of the whole catalogue that are closest to c_g, TP carry the genre:
//!
//! | metric | genre g | Overall, over G genres |
//! |---|---|---|
//! | P | TP / k | sum TP / (G k) |
//! | R | TP / n_g | sum TP / sum n_g |
//! | F1 | 2 P R / (P + R), 0 where both are 0 | the same of the P and R above |
//!
//! Overall thus is micro-averaged; every Overall cell of Table 5 recomputes so. The centroid is made of the items that are
//! then retrieved, so the score measures compactness, not generalisation; a genre of few items finds itself in any table,
//! which a random table shows.
//!
//! Source: paper, Tables 4 and 5; spec section 12. "Closest in the encoding space" is taken as Euclidean distance.

use super::{Rows, check_length, dot, squared_distance};
use crate::Error;
use onebp_data::Genres;
use serde::{Deserialize, Serialize};

/// What makes an item close to a centroid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    /// A small Euclidean distance.
    #[default]
    Euclidean,
    /// A small angle. A row of zeros is at a right angle to everything.
    Cosine,
    /// A large inner product.
    Dot,
}

/// P, R and F1 of one genre, or of all together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenreScore {
    /// Name of the genre; `Overall` for all.
    pub genre: String,
    /// Items n_g of the genre; for all, the labels.
    pub items: usize,
    /// Items TP among the retrieved that have the genre.
    pub hits: usize,
    /// TP / k.
    pub precision: f64,
    /// TP / n_g.
    pub recall: f64,
    /// Harmonic mean of both, 0 where both are 0.
    pub f1: f64,
}

impl GenreScore {
    /// The score of `hits` among `retrieved` items, of `items` that could be found. Both at least 1.
    pub fn new(genre: &str, hits: usize, retrieved: usize, items: usize) -> Self {
        let (precision, recall) = (hits as f64 / retrieved as f64, hits as f64 / items as f64);
        let f1 = if hits == 0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
        Self { genre: genre.to_owned(), items, hits, precision, recall, f1 }
    }
}

/// Scores at one number of retrieved items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenreRetrieval {
    /// Items retrieved for each genre.
    pub k: usize,
    /// What made an item close.
    pub distance: Distance,
    /// One score for each genre that has an item, in the order of the genres.
    pub genres: Vec<GenreScore>,
    /// All genres together, micro-averaged.
    pub overall: GenreScore,
}

/// Retrieves for each genre the items `[N, d]` closest to its centroid, at each of `cutoffs` (the paper: 5, 10, 20, 50).
/// Equally close items are ordered by id. `only` `[N]`, where given, says which items take part at all: in centroids, in
/// n_g and among the retrieved, for instance those with a training interaction.
///
/// # Errors
/// [`Error::Analysis`] where the lengths differ, a cutoff is 0, a value is not finite, or no item has a genre.
pub fn genre_retrieval(
    items: Rows,
    genres: &Genres,
    cutoffs: &[usize],
    distance: Distance,
    only: Option<&[bool]>,
) -> Result<Vec<GenreRetrieval>, Error> {
    items.check("items")?;
    check_length("items with genres", genres.items(), items.len())?;
    only.map_or(Ok(()), |only| check_length("items to look at", only.len(), items.len()))?;
    let longest = cutoffs.iter().copied().max().unwrap_or(0);
    if cutoffs.contains(&0) || longest == 0 {
        return Err(Error::analysis("no item would be retrieved", "give cutoffs of 1 or more, such as 5, 10, 20, 50"));
    }
    let members: Vec<u32> =
        (0..items.len() as u32).filter(|&item| only.is_none_or(|only| only[item as usize])).collect();
    let mut found = Vec::new();
    for (genre, name) in (0u32..).zip(&genres.names) {
        let with: Vec<u32> = members.iter().copied().filter(|&item| genres.of(item).contains(&genre)).collect();
        if !with.is_empty() {
            let nearest = nearest(items, &members, &centroid(items, &with), distance, longest);
            let hits: Vec<bool> = nearest.iter().map(|&item| genres.of(item).contains(&genre)).collect();
            found.push((name, with.len(), hits));
        }
    }
    let labels: usize = found.iter().map(|(_, items, _)| items).sum();
    if labels == 0 {
        return Err(Error::analysis("no item has a genre", "take the genres of the same data set"));
    }
    let at = |k: usize| {
        let hits = |hits: &[bool]| hits.iter().take(k).filter(|hit| **hit).count();
        let scores: Vec<_> = found.iter().map(|(name, n, list)| GenreScore::new(name, hits(list), k, *n)).collect();
        let total = scores.iter().map(|score| score.hits).sum();
        let overall = GenreScore::new("Overall", total, k * scores.len(), labels);
        GenreRetrieval { k, distance, genres: scores, overall }
    };
    Ok(cutoffs.iter().map(|&k| at(k)).collect())
}

/// Mean of the rows of `with`, at least one, `[d]`. Summed in f64 in the order given.
fn centroid(items: Rows, with: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0f64; items.dim];
    for &item in with {
        sum.iter_mut().zip(items.row(item as usize)).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sum.into_iter().map(|sum| (sum / with.len() as f64) as f32).collect()
}

/// The `k` of `members` closest to `centre`, closest first; equally close ones by id.
fn nearest(items: Rows, members: &[u32], centre: &[f32], distance: Distance, k: usize) -> Vec<u32> {
    let far = |item: u32| {
        let row = items.row(item as usize);
        match distance {
            Distance::Euclidean => squared_distance(row, centre),
            Distance::Cosine => -super::cosine(row, centre),
            Distance::Dot => -dot(row, centre),
        }
    };
    let mut order: Vec<(f64, u32)> = members.iter().map(|&item| (far(item), item)).collect();
    // `total_cmp` tells 0 from -0, which are equally close.
    order.iter_mut().for_each(|(far, _)| *far += 0.0);
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order.into_iter().take(k).map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn genres(names: &[&str], items: usize, labels: &[(u32, u32)]) -> Genres {
        Genres::new(names.iter().map(|name| name.to_string()).collect(), items, labels).unwrap()
    }

    /// T41: Items at 0, 1 and 5 on a line; A: 0 and 1, B: 1 and 5, C: none. Centroids 0.5 and 3.
    #[test]
    fn three_items_by_hand() {
        let rows = Rows { values: &[0.0, 1.0, 5.0], dim: 1 };
        let genres = genres(&["A", "B", "C"], 3, &[(0, 0), (1, 0), (1, 1), (2, 1)]);
        let found = genre_retrieval(rows, &genres, &[1, 2, 5], Distance::Euclidean, None).unwrap();
        // k = 1: A takes item 0 (0 and 1 are equally close), B takes item 1 (1 and 5 are equally close).
        assert_eq!(found[0].genres, [GenreScore::new("A", 1, 1, 2), GenreScore::new("B", 1, 1, 2)]);
        assert_eq!(found[0].overall, GenreScore::new("Overall", 2, 2, 4));
        assert_eq!(found[1].overall, GenreScore::new("Overall", 4, 4, 4));
        assert_eq!(found[1].overall.f1, 1.0);
        // Only 3 items for k = 5: P is still divided by 5.
        let a = &found[2].genres[0];
        assert_eq!((a.precision, a.recall), (0.4, 1.0));
        assert!((a.f1 - 2.0 * 0.4 / 1.4).abs() < 1e-15);
        // Without item 1: A is item 0, B is item 2.
        let found = genre_retrieval(rows, &genres, &[2], Distance::Euclidean, Some(&[true, false, true])).unwrap();
        assert_eq!(found[0].overall, GenreScore::new("Overall", 2, 4, 2));
    }

    #[test]
    fn distances_differ() {
        let rows = Rows { values: &[1.0, 0.0, 0.9, 0.5, 9.0, 3.0, 0.0, 0.0], dim: 2 };
        let centre = [1.0, 0.0];
        let order = |distance| nearest(rows, &[0, 1, 2, 3], &centre, distance, 4);
        assert_eq!(order(Distance::Euclidean), [0, 1, 3, 2]);
        assert_eq!(order(Distance::Cosine), [0, 2, 1, 3]);
        assert_eq!(order(Distance::Dot), [2, 0, 1, 3]);
    }

    #[test]
    fn bad_input_is_refused() {
        let rows = Rows { values: &[0.0, 1.0], dim: 1 };
        let two = genres(&["A"], 2, &[(0, 0)]);
        let error = |rows: Rows, genres: &Genres, cutoffs: &[usize]| {
            genre_retrieval(rows, genres, cutoffs, Distance::Euclidean, None).unwrap_err().to_string()
        };
        assert!(error(rows, &two, &[0]).starts_with("no item would be retrieved; "));
        assert!(error(rows, &two, &[]).starts_with("no item would be retrieved; "));
        assert!(error(rows, &genres(&["A"], 3, &[]), &[1]).starts_with("items with genres: 3 found, 2 expected; "));
        assert!(error(rows, &genres(&["A"], 2, &[]), &[1]).starts_with("no item has a genre; "));
        assert!(error(Rows { values: &[0.0, f32::INFINITY], dim: 1 }, &two, &[1]).starts_with("row 1 of the table"));
    }

    /// T41: Table 4's sizes and the hits of Table 5's rows give its Overall cells, for TwoBP and OneBP.
    #[test]
    fn overall_of_table_5_recomputes_from_its_rows() {
        let sizes = [2, 251, 135, 42, 122, 505, 109, 50, 725, 22, 24, 92, 56, 61, 247, 101, 251, 71, 27usize];
        let labels: usize = sizes.iter().sum();
        assert_eq!(labels, 2893);
        for (k, hits, [p, r, f1]) in [
            (5, [0, 5, 4, 4, 5, 4, 2, 1, 4, 2, 2, 5, 3, 0, 2, 3, 4, 3, 1], [0.568, 0.019, 0.036]),
            (5, [0, 5, 4, 5, 5, 5, 3, 1, 5, 2, 3, 5, 5, 1, 4, 4, 4, 4, 0], [0.684, 0.022, 0.044]),
            (10, [1, 10, 6, 7, 10, 7, 2, 1, 6, 2, 3, 10, 5, 1, 4, 6, 6, 4, 1], [0.484, 0.032, 0.060]),
            (10, [0, 10, 7, 9, 10, 10, 6, 1, 10, 4, 5, 10, 10, 4, 9, 8, 7, 6, 2], [0.674, 0.044, 0.083]),
            (20, [1, 20, 12, 13, 17, 12, 3, 2, 15, 3, 6, 20, 7, 2, 6, 12, 13, 8, 3], [0.461, 0.060, 0.107]),
            (20, [0, 20, 14, 17, 20, 20, 11, 2, 15, 7, 7, 20, 10, 6, 18, 16, 14, 8, 3], [0.600, 0.079, 0.139]),
            (50, [1, 43, 24, 20, 38, 21, 6, 4, 36, 6, 7, 41, 14, 3, 9, 18, 24, 13, 5], [0.351, 0.115, 0.173]),
            (50, [1, 50, 32, 24, 43, 48, 23, 2, 37, 10, 10, 45, 15, 15, 35, 30, 36, 18, 6], [0.505, 0.166, 0.250]),
        ] {
            let overall = GenreScore::new("Overall", hits.iter().sum(), k * 19, labels);
            for (found, printed) in [(overall.precision, p), (overall.recall, r), (overall.f1, f1)] {
                assert!((found - printed).abs() < 0.000501, "k = {k}: {found} {printed}");
            }
        }
    }
}
