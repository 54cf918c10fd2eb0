//! A course of steps on one table, drawn at random: which rows, with which gradients, and how long they rest.

use onebp_table::{Grouping, Table, Touched};
use proptest::prelude::*;

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Row of every place, `[R]`.
    pub places: Vec<u32>,
    pub touched: Touched,
    /// `[R, d]`
    pub gradients: Vec<f32>,
}

/// A table and its steps.
#[derive(Clone, Debug)]
pub struct Script {
    pub start: Table,
    pub steps: Vec<Step>,
}

/// Numbers that look random, from -1 to 1.
pub fn noise(seed: u64, count: usize) -> Vec<f32> {
    let random = onebp_data::random::Random::new(seed, onebp_data::random::Purpose::InitItems);
    (0..count).map(|at| 2.0 * random.unit(0, at as u64, 0) as f32 - 1.0).collect()
}

impl Script {
    /// A table `[rows, dim]` and steps that touch `places`; a row knows its rest where `known` says so.
    pub fn new(rows: usize, dim: usize, places: Vec<Vec<u32>>, known: impl Fn(usize, u32) -> bool) -> Self {
        let mut grouping = Grouping::new(rows);
        let mut steps: Vec<Step> = Vec::new();
        for (number, places) in places.into_iter().enumerate() {
            let mut touched = Touched::default();
            grouping.group(&places, &mut touched);
            let gradients = noise(1000 + number as u64, places.len() * dim);
            steps.push(Step { places, touched, gradients });
        }
        for number in 0..steps.len() {
            for q in 0..steps[number].touched.len() {
                let row = steps[number].touched.rows[q];
                let next = (number + 1..steps.len()).find(|&later| steps[later].places.contains(&row));
                let in_reach = |next: &usize| next - number - 1 <= Touched::MOST_REST as usize;
                if let Some(next) = next.filter(in_reach).filter(|_| known(number, row)) {
                    steps[number].touched.rest[q] = (next - number - 1) as u32;
                }
            }
        }
        Self { start: Table { values: noise(7, rows * dim), rows, dim }, steps }
    }
}

/// Widths of rows.
pub const DIMS: [usize; 5] = [1, 3, 16, 33, 70];

/// Small scripts of all shapes: rows of these widths, empty steps, steps of one row only, steps of all rows.
pub fn scripts(most_steps: usize, dims: &[usize]) -> impl Strategy<Value = Script> + use<> {
    let dims = prop::sample::select(dims.to_vec());
    (1usize..12, dims).prop_flat_map(move |(rows, dim)| {
        let step = prop::collection::vec(0..rows as u32, 0..14);
        let steps = prop::collection::vec(step, 1..most_steps);
        (steps, any::<u32>()).prop_map(move |(places, salt)| {
            Script::new(rows, dim, places, |number, row| !salt.wrapping_add(number as u32 + row).is_multiple_of(3))
        })
    })
}
