//! Dot products to within a margin, from rows of 16-bit integers.
//!
//! A row x is kept as integers q with a scale s, and what is lost by that, e = x - s q, is measured, not assumed. With
//! a = s q, the score of user u and item v is `u . v = a_u . a_v + e_u . v + a_u . e_v`, and by Cauchy and Schwarz
//!
//! ```text
//! |u . v - a_u . a_v| <= |e_u| |v| + |a_u| |e_v|
//! ```
//!
//! The first product is exact in integers: q is no longer than [`LONGEST`], so that no sum leaves 32 bits, whatever its
//! order. What is added for floats being rounded, the exact score among them, is at most [`rounding`] of |u| |v|.
//!
//! A margin is handed out as a radius of the user times a weight of the item. With any constant r, the bound above is at
//! most `max(|a_u|, |e_u| / r) (r |v| + |e_v|)`; r is what `|e_u| / |a_u|` usually is, so little is given away.

use super::{DotProduct, GROUP, PANEL};
use crate::scorer::{Margin, Screen, VisitEstimates};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Length of a row of integers at most: its square fits 31 bits, and so does any product of two such rows.
const LONGEST: f64 = 46_340.0;

/// Integer at most, one less than 16 bits hold, for rounding.
const LARGEST: f64 = 32_766.0;

/// Rows outside these lengths could leave the range of floats when multiplied. Shorter ones count as so long, which makes
/// their margins too wide and harms nobody; longer ones are not screened.
const LENGTHS: std::ops::Range<f64> = 1e-15..1e15;

/// Columns at most, for bounds that take the number of columns to be far below 2^24.
const MOST_COLUMNS: usize = 1 << 16;

/// Share of open scores, by the rule of [`Bounds::open`], up to which estimates pay. (Measured on Zen 4 with tables of few
/// epochs: .09, Gowalla at d 1024, takes .6 of the time of scores; .25, Yelp2018 at d 2048, takes 1.5.)
const MOST_OPEN: f64 = 0.1;

/// Numbers in the panels of one tile, 256 KiB, as far as the bounds on its items allow.
const TILE: usize = 1 << 17;

/// Numbers that are added up side by side.
const LANES: usize = 16;

/// All items in 16 bits.
pub(super) struct Screened<'a> {
    dot: DotProduct<'a>,
    /// Panels of PANEL items, `[N / PANEL, d / 2, PANEL]` pairs of neighbouring columns; zeros where there is no item or no
    /// column.
    panels: Vec<[i16; 2]>,
    /// `[N]`, filled up to whole panels.
    scales: Vec<f32>,
    /// Weights of the margins, `[N]`, filled up likewise.
    weights: Vec<f32>,
    product: fn(Tile<'_>),
}

impl<'a> Screened<'a> {
    /// `None` where this processor has no instructions that make it worth while, where too many scores would be open, each
    /// being `compared` with so many others, and where an item is so long, or not finite, that a bound could be infinite.
    pub(super) fn new(dot: DotProduct<'a>, compared: f64) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if super::vnni::available() && compared * Bounds::new(dot.dim).open() <= MOST_OPEN {
            return Self::with(dot, super::vnni::estimates);
        }
        let _ = (dot, compared);
        None
    }

    fn with(dot: DotProduct<'a>, product: fn(Tile<'_>)) -> Option<Self> {
        let (dim, items) = (dot.dim, dot.items.len() / dot.dim);
        if dim > MOST_COLUMNS {
            return None;
        }
        let places = items.next_multiple_of(PANEL);
        let mut panels = vec![[0; 2]; places * dim.div_ceil(2)];
        let (mut scales, mut weights) = (vec![0.0; places], vec![0.0; places]);
        let bounds = Bounds::new(dim);
        let rows = dot.items.par_chunks(PANEL * dim);
        let packed = panels.par_chunks_mut(PANEL * dim.div_ceil(2));
        let of_rows = scales.par_chunks_mut(PANEL).zip(weights.par_chunks_mut(PANEL));
        let fits = rows.zip(packed).zip(of_rows).all(|((rows, panel), (scales, weights))| {
            let mut integers = Vec::with_capacity(dim);
            rows.chunks_exact(dim).enumerate().all(|(place, row)| {
                let Some(row) = Quantized::new(row, &mut integers) else { return false };
                lay::<PANEL>(&integers, panel.as_chunks_mut().0, place);
                (scales[place], weights[place]) = (row.scale, bounds.weight(&row));
                true
            })
        });
        fits.then_some(Self { dot, panels, scales, weights, product })
    }
}

impl Screen for Screened<'_> {
    /// Memory: the rows of `users` in 16 bits, `[users.len(), dim]`, and the estimates of six users and a tile.
    fn estimates(&self, users: &[u32], visit: &mut VisitEstimates<'_>) -> bool {
        let (dim, items) = (self.dot.dim, self.dot.items.len() / self.dot.dim);
        let (pairs, bounds) = (dim.div_ceil(2), Bounds::new(dim));
        let tile = super::tile(TILE / dim, items);
        let places = users.len().next_multiple_of(GROUP);
        let mut groups = vec![[[0; 2]; GROUP]; places / GROUP * pairs];
        let (mut scales, mut radii) = (vec![0.0; places], vec![0.0; places]);
        let mut integers = Vec::with_capacity(dim);
        for (at, &user) in users.iter().enumerate() {
            let Some(row) = Quantized::new(self.dot.user(user), &mut integers) else { return false };
            lay::<GROUP>(&integers, &mut groups[at / GROUP * pairs..][..pairs], at % GROUP);
            (scales[at], radii[at]) = (row.scale, bounds.radius(&row));
        }
        let mut estimates = vec![0.0; GROUP * tile];
        let tiles = self.panels.chunks(tile * pairs).zip(self.scales.chunks(tile)).zip((0..items).step_by(tile));
        for ((panels, item_scales), first) in tiles {
            let weights = &self.weights[first..items.min(first + tile)];
            let of_users = groups.chunks_exact(pairs).zip(scales.as_chunks::<GROUP>().0).zip((0..).step_by(GROUP));
            for ((group, scales), row) in of_users {
                (self.product)(Tile { group, scales, panels, item_scales, out: &mut estimates, stride: tile });
                for (row, estimates) in (row..users.len()).zip(estimates.chunks_exact_mut(tile)) {
                    visit(row, first, &mut estimates[..weights.len()], Margin { radius: radii[row], weights });
                }
            }
        }
        true
    }
}

/// The estimates of one group of users `[d / 2, GROUP]` and a tile of items, panels of `[d / 2, PANEL]`: into `out`
/// `[GROUP, stride]`.
pub(super) struct Tile<'a> {
    pub(super) group: &'a [[[i16; 2]; GROUP]],
    pub(super) scales: &'a [f32; GROUP],
    pub(super) panels: &'a [[i16; 2]],
    pub(super) item_scales: &'a [f32],
    pub(super) out: &'a mut [f32],
    pub(super) stride: usize,
}

/// Lays the columns of one row at its `place` among W rows, two to a pair.
fn lay<const W: usize>(row: &[i16], packed: &mut [[[i16; 2]; W]], place: usize) {
    let (pairs, last) = row.as_chunks::<2>();
    for (column, &pair) in packed.iter_mut().zip(pairs) {
        column[place] = pair;
    }
    if let (&[last], Some(column)) = (last, packed.last_mut()) {
        column[place] = [last, 0];
    }
}

/// A row in integers, and how far from it they are. Lengths are Euclidean.
struct Quantized {
    scale: f32,
    /// Of the row.
    length: f64,
    /// Of the scaled integers.
    kept: f64,
    /// Of the difference of both.
    lost: f64,
}

impl Quantized {
    /// Writes the integers into `integers`; `None` where the row is longer than [`LENGTHS`] or not finite.
    fn new(row: &[f32], integers: &mut Vec<i16>) -> Option<Self> {
        integers.resize(row.len(), 0);
        Arch::new().dispatch(Quantize { row, integers })
    }
}

/// [`Quantized::new`], in vectors.
struct Quantize<'a> {
    row: &'a [f32],
    integers: &'a mut [i16],
}

impl NullaryFnOnce for Quantize<'_> {
    type Output = Option<Quantized>;

    #[inline(always)]
    fn call(self) -> Option<Quantized> {
        let Self { row, integers } = self;
        let (mut squares, mut largest) = ([0.0; LANES], [0.0f32; LANES]);
        for row in row.chunks(LANES) {
            for ((square, largest), &x) in squares.iter_mut().zip(&mut largest).zip(row) {
                *square += f64::from(x) * f64::from(x);
                *largest = if x.abs() > *largest { x.abs() } else { *largest };
            }
        }
        let length = squares.iter().sum::<f64>().sqrt();
        if length.is_nan() || length >= LENGTHS.end {
            return None;
        }
        let largest = largest.into_iter().fold(0.0, f32::max);
        // Rounding makes a row longer by half the root of its columns at most.
        let scale = (length / (LONGEST - (row.len() as f64).sqrt())).max(f64::from(largest) / LARGEST) as f32;
        // A row so short is lost as a whole.
        let scale = if length < LENGTHS.start { 1.0 } else { scale };
        let inverse = 1.0 / scale;
        let (mut kept, mut lost) = ([0.0; LANES], [0.0; LANES]);
        for (row, integers) in row.chunks(LANES).zip(integers.chunks_mut(LANES)) {
            let sums = kept.iter_mut().zip(&mut lost);
            for ((&x, integer), (kept, lost)) in row.iter().zip(integers).zip(sums) {
                let rounded = (x * inverse).round_ties_even();
                *integer = rounded as i16;
                let (rounded, x) = (f64::from(rounded), f64::from(x));
                *kept += rounded * rounded;
                let missing = x - f64::from(scale) * rounded;
                *lost += missing * missing;
            }
        }
        let [kept, lost] = [kept, lost].map(|squares| squares.iter().sum::<f64>().sqrt());
        (kept <= LONGEST).then_some(Quantized { scale, length, kept: kept * f64::from(scale), lost })
    }
}

/// What margins of rows of so many columns are made of.
struct Bounds {
    dim: usize,
    /// Share of |u| |v| by which floats are rounded.
    rounding: f64,
    /// What is usually lost of a row of length 1.
    usual: f64,
}

/// For the last bits of the margins themselves.
const SLACK: f64 = 1.0 + 1e-6;

impl Bounds {
    fn new(dim: usize) -> Self {
        let rounding = rounding(dim);
        Self { dim, rounding, usual: (dim as f64 / 12.0).sqrt() / LONGEST + rounding }
    }

    /// The share of scores within the margin of any one score, if directions were random: those of normal scores, with
    /// |u| |v| / sqrt(d) for their deviation, around their mean. Of trained tables scores are further apart.
    fn open(&self) -> f64 {
        let margin = (2.0 * self.usual - self.rounding) * (self.dim as f64).sqrt();
        2.0 * margin / (2.0 * std::f64::consts::PI).sqrt()
    }

    fn radius(&self, user: &Quantized) -> f32 {
        let lost = user.lost + self.rounding * user.length.max(LENGTHS.start);
        (user.kept.max(lost / self.usual) * SLACK) as f32
    }

    fn weight(&self, item: &Quantized) -> f32 {
        ((item.length.max(LENGTHS.start) * self.usual + item.lost) * SLACK) as f32
    }
}

/// Share of |u| |v| by which the exact score, a sum of `dim` products, each rounded once, its estimate, and the estimate
/// with its margin added can differ from what they are without rounding: d / (1 - d 2^-24) + 16 times 2^-24, for d up to
/// [`MOST_COLUMNS`] (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1).
fn rounding(dim: usize) -> f64 {
    (1.01 * dim as f64 + 16.0) * 0.5f64.powi(24)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scorer;
    use crate::testing::table;

    /// One pair after another.
    fn one_by_one(tile: Tile<'_>) {
        let Tile { group, scales, panels, item_scales, out, stride } = tile;
        for (row, (out, &scale)) in out.chunks_exact_mut(stride).zip(scales).enumerate() {
            for (item, (out, &item_scale)) in out.iter_mut().zip(item_scales).enumerate() {
                let panel = &panels[item / PANEL * PANEL * group.len()..];
                let product = |(at, users): (usize, &[[i16; 2]; GROUP])| -> i32 {
                    let (user, item) = (users[row], panel[at * PANEL + item % PANEL]);
                    i32::from(user[0]) * i32::from(item[0]) + i32::from(user[1]) * i32::from(item[1])
                };
                *out = group.iter().enumerate().map(product).sum::<i32>() as f32 * scale * item_scale;
            }
        }
    }

    fn estimates(screen: &Screened<'_>, users: &[u32]) -> Option<Vec<(f32, f32)>> {
        let mut rows = vec![vec![]; users.len()];
        let screened = screen.estimates(users, &mut |row, first, estimates, margin| {
            assert_eq!((first, estimates.len()), (rows[row].len(), margin.weights.len()));
            rows[row].extend(
                estimates.iter().zip(margin.weights).map(|(&estimate, weight)| (estimate, margin.radius * weight)),
            );
        });
        screened.then(|| rows.concat())
    }

    /// Rows of very different lengths, of one column alone, of zeros, of the largest values of all.
    fn rows(count: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut table = table(count, dim, seed);
        for (at, row) in table.chunks_exact_mut(dim).enumerate() {
            let factor = [1.0, 1e-3, 30.0, 0.0, 1e-20, 1e-37, 1e12][at % 7];
            row.iter_mut().for_each(|x| *x *= factor);
            match at % 11 {
                3 => row[1..].fill(0.0),
                5 => row.fill(row[0]),
                _ => {}
            }
        }
        table
    }

    #[test]
    fn scores_are_within_the_margins() {
        for (m, n, dim) in [(13, 70, 1), (20, 129, 7), (50, 1100, 64), (7, 200, 1001)] {
            let (users, items) = (rows(m, dim, 1), rows(n, dim, 2));
            let dot = DotProduct::new(&users, &items, dim).unwrap();
            let all: Vec<u32> = (0..m as u32).collect();
            let portable = Screened::with(dot, one_by_one).unwrap();
            let found = estimates(&portable, &all).unwrap();
            let ids: Vec<u32> = (0..n as u32).collect();
            let mut exact = vec![0.0; n];
            for (user, found) in found.chunks_exact(n).enumerate() {
                dot.pairs(user as u32, &ids, &mut exact);
                for (item, (&(estimate, margin), &exact)) in found.iter().zip(&exact).enumerate() {
                    assert!(margin.is_finite() && margin > 0.0);
                    let (low, high) = (estimate - margin, estimate + margin);
                    assert!(
                        low <= exact && exact <= high,
                        "{user} {item} {dim}: {exact} not in {estimate} +- {margin}"
                    );
                }
            }
            // Others, and vectors, estimate alike.
            if let Some(screen) = Screened::new(dot, 0.0) {
                let some: Vec<u32> = (0..m as u32).rev().step_by(3).collect();
                let expected: Vec<_> =
                    some.iter().flat_map(|&user| &found[user as usize * n..][..n]).copied().collect();
                assert!(estimates(&screen, &some).unwrap() == expected, "{m} {n} {dim}");
            }
        }
    }

    /// A usual row loses a 20,000th of its length: the margin is a few thousandths of the deviation of scores.
    #[test]
    fn margins_are_narrow() {
        let dim = 64;
        let (users, items) = (table(8, dim, 1), table(200, dim, 2));
        let screen = Screened::with(DotProduct::new(&users, &items, dim).unwrap(), one_by_one).unwrap();
        let all: Vec<u32> = (0..8).collect();
        for (_, margin) in estimates(&screen, &all).unwrap() {
            assert!(margin < 0.003 * (dim as f32).sqrt(), "{margin}");
        }
    }

    /// With d 64, 7.3 held-out items of a user of Gowalla are foreseen to leave .5 % of the scores open. (With tables of 8
    /// epochs they left .1 %.)
    #[test]
    fn wide_margins_are_not_worth_while() {
        let open = |dim, compared| compared * Bounds::new(dim).open();
        assert!((open(64, 7.3) - 0.0048).abs() < 5e-4, "{}", open(64, 7.3));
        assert!(open(1024, 7.3) < MOST_OPEN && open(2048, 10.2) > 2.0 * MOST_OPEN);
    }

    #[test]
    fn what_has_no_margin_has_no_estimates() {
        let (fine, mut broken) = (table(4, 3, 1), table(4, 3, 2));
        for value in [f32::NAN, f32::INFINITY, f32::MIN] {
            broken[4] = value;
            assert!(Screened::with(DotProduct::new(&fine, &broken, 3).unwrap(), one_by_one).is_none());
            let screen = Screened::with(DotProduct::new(&broken, &fine, 3).unwrap(), one_by_one).unwrap();
            assert!(estimates(&screen, &[0, 1]).is_none() && estimates(&screen, &[0, 2]).is_some());
        }
    }
}
