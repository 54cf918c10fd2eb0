//! Tables larger than a buffer, split by columns.
//!
//! A device shows a kernel buffers up to some size only (128 MiB on software Vulkan). A table beyond it becomes several
//! shards `[rows, d_k]`, so that every row is in every shard and ids stay ids. Kernels run once for each window: the
//! columns that lie in one shard of every table at hand.

use crate::Error;
use std::ops::Range;

/// The columns of each shard of a table `[rows, dim]`: as few shards as possible, none larger than `limit` bytes, about
/// equally wide, and whole vectors of four columns where d is.
///
/// # Errors
/// [`Error::Device`] where not even a vector's width of columns fits.
pub fn split([rows, dim]: [usize; 2], limit: usize) -> Result<Vec<Range<usize>>, Error> {
    let unit = if dim % 4 == 0 { 4 } else { 1 };
    let widest = limit / (size_of::<f32>() * rows.max(1)) / unit * unit;
    if widest == 0 {
        let needed = (rows * unit * size_of::<f32>()) >> 20;
        return Err(Error::Device(format!(
            "{rows} rows need a buffer of {needed} MiB, the device offers {limit} bytes"
        )));
    }
    let shards = dim.div_ceil(widest).max(1);
    let width = dim.div_ceil(shards).next_multiple_of(unit);
    Ok((0..shards)
        .map(|shard| shard * width..dim.min((shard + 1) * width))
        .filter(|columns| !columns.is_empty())
        .collect())
}

/// Columns that lie in one shard of each of two tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The columns.
    pub columns: Range<usize>,
    /// Shard of the one table.
    pub one: usize,
    /// Shard of the other one.
    pub other: usize,
}

/// The windows of two tables of one width, in ascending order.
pub fn overlaps<'a>(one: &'a [Range<usize>], other: &'a [Range<usize>]) -> impl Iterator<Item = Overlap> + 'a {
    one.iter().enumerate().flat_map(move |(k, a)| {
        other.iter().enumerate().filter_map(move |(l, b)| {
            let columns = a.start.max(b.start)..a.end.min(b.end);
            (!columns.is_empty()).then_some(Overlap { columns, one: k, other: l })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shards_cover_the_columns_and_fit(rows in 1usize..50, dim in 1usize..70, limit in 200usize..4000) {
            let shards = split([rows, dim], limit);
            let unit = if dim % 4 == 0 { 4 } else { 1 };
            prop_assert_eq!(shards.is_err(), rows * unit * 4 > limit);
            let shards = shards.unwrap_or_default();
            prop_assert!(shards.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert!(shards.iter().all(|columns| columns.len() * rows * 4 <= limit));
            prop_assert!(shards.iter().all(|columns| columns.start % unit == 0 && columns.len() % unit == 0));
            if let (Some(first), Some(last)) = (shards.first(), shards.last()) {
                prop_assert_eq!((first.start, last.end), (0, dim));
            }
        }

        #[test]
        fn windows_cover_the_columns(dim in 1usize..40, a in 1usize..9, b in 1usize..9) {
            let (one, other) = (split([a, dim], 256).unwrap(), split([b, dim], 256).unwrap());
            let windows: Vec<Overlap> = overlaps(&one, &other).collect();
            prop_assert!(windows.iter().flat_map(|window| window.columns.clone()).eq(0..dim));
            for Overlap { columns, one: k, other: l } in windows {
                let inside = |shard: &Range<usize>| shard.start <= columns.start && columns.end <= shard.end;
                prop_assert!(inside(&one[k]) && inside(&other[l]));
            }
        }
    }

    #[test]
    fn by_hand() {
        assert_eq!(split([10, 8], 320).unwrap(), vec![0..8; 1]);
        assert_eq!(split([10, 8], 319).unwrap(), [0..4, 4..8]);
        assert_eq!(split([10, 12], 320).unwrap(), [0..8, 8..12]);
        assert_eq!(split([10, 7], 120).unwrap(), [0..3, 3..6, 6..7]);
        assert!(split([10, 8], 100).is_err());
    }
}
