//! What a file says, before any preparation: one row per interaction, over dense ids.
//!
//! Raw ids are strings. Dense ids do not depend on the order of the rows: raw ids are sorted, as numbers where every one
//! of them is a plain unsigned integer (no sign, no leading zero), as bytes otherwise. So a shuffled file gives the same
//! data set and the same model, and "ties are broken by item id" means something a reader can check. Nothing is ever
//! allocated by the size of a raw id; it is a name, and 18446744073709551616 is as good as any.

use crate::IdMap;

/// Interactions as they were read. Row `r` says that `user[r]` chose `item[r]`; pairs may repeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interactions {
    /// Raw user ids by dense id.
    pub users: IdMap,
    /// Raw item ids by dense id.
    pub items: IdMap,
    /// Dense user of every row.
    pub user: Vec<u32>,
    /// Dense item of every row.
    pub item: Vec<u32>,
    /// Finite rating of every row, where the source has ratings.
    pub rating: Option<Vec<f32>>,
    /// Time of every row in the source's own unit, where the source has times.
    pub time: Option<Vec<i64>>,
}

impl Interactions {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.user.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.user.is_empty()
    }
}

/// The distinct names in the order of their dense ids.
pub(crate) fn in_id_order(mut names: Vec<&str>) -> IdMap {
    if names.iter().all(|name| is_plain_integer(name)) {
        // Without leading zeros the longer number is the larger one, whatever its size.
        names.sort_unstable_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    } else {
        names.sort_unstable();
    }
    names.dedup();
    IdMap::new(names.into_iter().map(str::to_owned).collect())
}

fn is_plain_integer(name: &str) -> bool {
    name == "0" || (!name.is_empty() && !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_sorted_as_numbers_of_any_size() {
        let ids = in_id_order(vec!["18446744073709551616", "9", "10", "0", "9", "18446744073709551615"]);
        assert_eq!(ids.all(), ["0", "9", "10", "18446744073709551615", "18446744073709551616"]);
        assert_eq!(ids.dense("10"), Some(2));
    }

    #[test]
    fn one_other_name_makes_it_byte_order() {
        for odd in ["x", "-1", "+1", "007", "1.5"] {
            let mut expected = vec!["10", "9", odd];
            expected.sort_unstable();
            assert_eq!(in_id_order(vec!["9", odd, "10"]).all(), expected);
        }
    }
}
