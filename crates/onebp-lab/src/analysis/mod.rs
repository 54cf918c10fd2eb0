//! What trained tables and their lists look like: the analyses of the paper (Tables 4 and 5, Figures 4 and 6 to 8) and
//! some that every claim needs.
//!
//! Everything here takes rows of tables ([`Rows`]), pairs ([`Csr`]) and lists of recommended items, and knows no models.
//! The same input and seed give the same bytes, whatever the number of threads. Results are plain structs that can be
//! stored as JSON next to a run.

pub mod beyond;
pub mod clusters;
pub mod genres;
pub mod groups;
pub mod projection;
pub mod shares;
pub mod significance;
pub mod types;

use crate::Error;
use onebp_data::Csr;

/// The rows of a table `[n, d]`, one after another.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// All elements, row by row.
    pub values: &'a [f32],
    /// Length of a row, at least 1.
    pub dim: usize,
}

impl<'a> Rows<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `index`, `[d]`.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.dim..(index + 1) * self.dim]
    }

    /// Refuses a table whose values do not fill its rows, that is empty or that holds values that are not finite.
    pub(crate) fn check(&self, what: &str) -> Result<(), Error> {
        if self.dim == 0 || self.values.is_empty() || !self.values.len().is_multiple_of(self.dim) {
            let problem = format!("{} values are no rows of {what} of length {}", self.values.len(), self.dim);
            return Err(Error::analysis(problem, "give a table of at least one row and column"));
        }
        match self.values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::analysis(
                format!("row {} of the table of {what} holds {}", at / self.dim, self.values[at]),
                "the run has diverged: take an earlier checkpoint, or train with a smaller learning rate",
            )),
        }
    }
}

/// Refuses a length that does not fit the others.
pub(crate) fn check_length(what: &str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::analysis(
        format!("{what}: {found} found, {expected} expected"),
        "take the tables, pairs, labels and lists of one data set",
    ))
}

/// Refuses labels that are not one of `types` for each of `items`.
pub(crate) fn check_labels(labels: &[u32], types: usize, items: usize) -> Result<(), Error> {
    check_length("labels of items", labels.len(), items)?;
    match labels.iter().position(|&label| label as usize >= types) {
        None => Ok(()),
        Some(item) => Err(Error::analysis(
            format!("item {item} has label {}, and there are {types} types", labels[item]),
            "number the types from 0",
        )),
    }
}

/// Refuses lists that are not one for each user, or hold items outside the catalogue of `train`.
pub(crate) fn check_lists(lists: &[Vec<u32>], train: &Csr) -> Result<(), Error> {
    check_length("lists", lists.len(), train.rows())?;
    for (user, list) in lists.iter().enumerate() {
        if let Some(item) = list.iter().find(|item| **item as usize >= train.columns()) {
            return Err(Error::analysis(
                format!("the list of user {user} holds item {item}, and there are {} items", train.columns()),
                "take lists of the same data set, without padding",
            ));
        }
    }
    Ok(())
}

/// The first `k` items of a list, all where there are fewer.
pub(crate) fn top(list: &[u32], k: usize) -> &[u32] {
    &list[..k.min(list.len())]
}

/// Mean of the values, `None` where there is none.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0usize);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / count as f64)
}

/// Squared Euclidean distance, in f64.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// Inner product, in f64.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Cosine of the angle between two rows, in f64; 0 where one of them is zero.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_checked() {
        let rows = Rows { values: &[1.0, 2.0, 3.0, 4.0], dim: 2 };
        assert_eq!((rows.len(), rows.row(1)), (2, &[3.0, 4.0][..]));
        rows.check("items").unwrap();
        for (values, dim, expected) in [
            (&[1.0, 2.0, 3.0][..], 2, "3 values are no rows of items of length 2; "),
            (&[], 2, "0 values are no rows"),
            (&[1.0], 0, "1 values are no rows"),
            (&[1.0, f32::NAN], 1, "row 1 of the table of items holds NaN; the run has diverged"),
        ] {
            let error = Rows { values, dim }.check("items").unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn labels_and_lists_are_checked() {
        check_labels(&[0, 1], 2, 2).unwrap();
        assert!(check_labels(&[0], 2, 2).unwrap_err().to_string().starts_with("labels of items: 1 found, 2 expected"));
        assert!(
            check_labels(&[0, 2], 2, 2).unwrap_err().to_string().starts_with("item 1 has label 2, and there are 2")
        );
        let train = Csr::from_pairs(1, 2, &[(0, 0)]).unwrap();
        check_lists(&[vec![1]], &train).unwrap();
        assert!(
            check_lists(&[vec![2]], &train).unwrap_err().to_string().starts_with("the list of user 0 holds item 2")
        );
    }

    #[test]
    fn cosine_of_a_zero_row_is_zero() {
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 2.0]), 0.0);
        assert!((cosine(&[1.0, 1.0], &[2.0, 2.0]) - 1.0).abs() < 1e-15);
        assert_eq!(squared_distance(&[0.0, 3.0], &[4.0, 0.0]), 25.0);
    }
}
