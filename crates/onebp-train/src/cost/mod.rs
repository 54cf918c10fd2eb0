//! What the steps of a method need, counted two ways, in two files that say how:
//!
//! - [`least`]: what they cannot do without, however a program goes about it. It bounds an epoch from below.
//! - [`plain`]: what they take as the method is written down: dense Adam on every row at every step, a row read for every place.
//!
//! Numbers have 4 bytes. Every element that an adaptive optimizer moves takes one square root with a division. Neither counts random
//! numbers, what there is one of for a pair or a score (softmax, margins, norms), or element by element work of layers.

mod least;
mod plain;

use onebp_model::{Batch, Hyperparameters, Method, Rule, encoder::Encoder, loss::Draws, update::Cut};
use onebp_table::{Grouping, Touched, host::Machine};
use serde::Serialize;
use std::ops::AddAssign;

/// Bytes of a number.
const NUMBER: f64 = 4.0;

/// Bytes of an entry of a sparse matrix, column and value.
const ENTRY: f64 = 8.0;

/// Operations of w <- b w + (1 - b) x on an element.
const FOLLOWING: f64 = 3.0;

/// Operations of a projection on an element: its square, the sum, the scale.
const PROJECTION: f64 = 3.0;

/// `[M + N, d]` tables beside gathered rows for each product of LightGCN: the tables added, the sum written.
const LIGHTGCN_TABLES: f64 = 2.0;

/// The same for each layer of NGCF: S and h written, read for the gradient together with E; gradients of S and of E written.
const NGCF_TABLES: f64 = 7.0;

/// Operations of an optimizer on an element: additions, multiplications and the like.
fn operations(rule: Rule) -> f64 {
    match rule {
        Rule::Adam | Rule::LazyAdam => 12.0,
        Rule::Adagrad => 5.0,
        Rule::RowwiseAdagrad => 4.0,
        Rule::Sgd => 2.0,
    }
}

/// Amounts of work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    /// Bytes read and written.
    pub bytes: f64,
    /// Those among them that products with a graph gather row by row. A table that fits a cache hands them out from there.
    pub gathered_bytes: f64,
    /// Floating-point operations.
    pub operations: f64,
    /// Square roots, each with a division.
    pub roots_and_divisions: f64,
    /// What silent steps of Adam need of these on top, at most, where they have no closed form.
    pub silent_roots_and_divisions: f64,
    /// Rows of both tables that move.
    pub moved_rows: f64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.gathered_bytes += other.gathered_bytes;
        self.operations += other.operations;
        self.roots_and_divisions += other.roots_and_divisions;
        self.silent_roots_and_divisions += other.silent_roots_and_divisions;
        self.moved_rows += other.moved_rows;
    }
}

/// A unit of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Memory.
    Bytes,
    /// Arithmetic.
    Operations,
    /// Square roots and divisions.
    RootsAndDivisions,
}

impl Unit {
    /// What it is called in text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Operations => "operations",
            Self::RootsAndDivisions => "roots and divisions",
        }
    }
}

impl Cost {
    /// The longest of the times that each unit of `machine` needs by itself, in seconds, and which unit that is.
    pub fn bound(&self, machine: &Machine) -> (f64, Unit) {
        let times = [
            (self.bytes / machine.read_bytes, Unit::Bytes),
            (self.operations / machine.operations, Unit::Operations),
            (self.roots_and_divisions / machine.roots_and_divisions, Unit::RootsAndDivisions),
        ];
        times.into_iter().fold(times[0], |longest, time| if time.0 > longest.0 { time } else { longest })
    }
}

/// Sizes of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    /// B; R where a batch is whole users.
    pairs: f64,
    /// Distinct users, Q.
    users: f64,
    /// Distinct items that are drawn, P.
    drawn: f64,
    /// Those among them that the loss sees.
    items: f64,
    /// Distinct items that are a pair's own.
    chosen: f64,
}

impl Step {
    /// Distinct rows of users (0) or items (1) that the loss sees.
    fn touched(&self, side: usize) -> f64 {
        if side == 0 { self.users } else { self.items }
    }
}

/// Adds up what steps need.
pub(crate) struct Counter<'a> {
    sizes: Sizes<'a>,
    grouping: (Grouping, Touched),
    places: Vec<u32>,
    /// What nothing can do without.
    pub least: Cost,
    /// What the method takes as it is written down.
    pub plain: Cost,
}

impl<'a> Counter<'a> {
    /// For `method` on `tables` = (M users, N items) with `pairs` training pairs.
    pub fn new(method: &'a Method, hyper: &'a Hyperparameters, tables: (usize, usize), pairs: usize) -> Self {
        Self {
            sizes: Sizes::new(method, hyper, tables, pairs),
            grouping: (Grouping::new(tables.1), Touched::default()),
            places: Vec::new(),
            least: Cost::default(),
            plain: Cost::default(),
        }
    }

    /// Counts a step on `batch`.
    pub fn count(&mut self, batch: &Batch) {
        // Of a pool the step keeps S items, which ones is not known here: as many distinct rows as the first S have, or of one
        // that all rows share any.
        let kept = match (batch.keep, self.sizes.method.sampler.shares()) {
            (Some(keep), false) => keep.positives + keep.negatives,
            _ => batch.width(),
        };
        let step = Step {
            pairs: batch.len() as f64,
            users: batch.touched_users.len() as f64,
            drawn: batch.touched_items.len() as f64,
            items: self.distinct(batch, kept),
            chosen: self.distinct(batch, 1),
        };
        self.least += self.sizes.least(&step);
        self.plain += self.sizes.plain(&step);
    }

    /// Number of distinct items among the first `columns` of every row.
    fn distinct(&mut self, batch: &Batch, columns: usize) -> f64 {
        if columns == batch.width() {
            return batch.touched_items.len() as f64;
        }
        self.places.clear();
        for row in batch.items.chunks_exact(batch.width().max(1)) {
            self.places.extend_from_slice(&row[..columns]);
        }
        let (grouping, touched) = &mut self.grouping;
        grouping.group(&self.places, touched);
        touched.len() as f64
    }
}

/// What the amounts depend on beside the step.
struct Sizes<'a> {
    method: &'a Method,
    hyper: &'a Hyperparameters,
    /// M and N.
    tables: [usize; 2],
    /// Entries of the graph's matrix, E.
    entries: usize,
}

impl<'a> Sizes<'a> {
    fn new(method: &'a Method, hyper: &'a Hyperparameters, (users, items): (usize, usize), pairs: usize) -> Self {
        let loops = matches!(method.encoder, Encoder::Ngcf(ngcf) if ngcf.rw_self);
        Self { method, hyper, tables: [users, items], entries: 2 * pairs + if loops { users + items } else { 0 } }
    }

    fn dim(&self) -> f64 {
        self.hyper.dim as f64
    }

    /// M + N.
    fn nodes(&self) -> f64 {
        (self.tables[0] + self.tables[1]) as f64
    }

    /// Matrices as wide as a row in the optimizer's state.
    fn state(&self) -> f64 {
        self.hyper.optimizer.state().iter().filter(|(_, whole)| *whole).count() as f64
    }

    /// Items of a pair that the loss sees: Mp + S, or 1.
    fn kept(&self) -> f64 {
        match self.method.loss.draws() {
            Draws::Negatives { positives } => (positives + self.hyper.negatives) as f64,
            Draws::Pairs | Draws::Users => 1.0,
        }
    }

    /// Width of the rows that are scored, and how many scores a pair's item has.
    fn scored(&self) -> (f64, f64) {
        match self.method.encoder {
            Encoder::Ngcf(ngcf) => ((ngcf.layers + 1) as f64 * self.dim(), 1.0),
            // Two scores a pair, each with one side that gradients reach.
            Encoder::Bootstrap(_) => (self.dim(), 2.0),
            Encoder::Mf(_) | Encoder::LightGcn(_) => (self.dim(), 1.0),
        }
    }

    /// For users and items: whether gradients reach their rows.
    fn sides(&self) -> [bool; 2] {
        let update = self.method.update(self.hyper);
        // Behind a graph, rows of a side that does not learn are made of the other one's too.
        let passes = self.method.encoder.is_graph() && update.cut() == Cut::Input;
        [update.trains_users(), update.trains_items()].map(|learns| learns || passes)
    }

    /// Whether the table of users (0) or items (1) learns.
    fn learns(&self, side: usize) -> bool {
        let update = self.method.update(self.hyper);
        if side == 0 { update.trains_users() } else { update.trains_items() }
    }

    /// Vectors of a row of users (0) or items (1).
    fn vectors(&self, side: usize) -> f64 {
        if side == 0 { self.method.encoder.vectors() as f64 } else { 1.0 }
    }

    /// Whether every step reads all rows of users (0) or items (1).
    fn whole(&self, side: usize) -> bool {
        self.method.encoder.is_graph() || side == 1 && self.method.loss.catalogue().is_some()
    }

    /// Products with the graph and its layers, and the weights of any encoder.
    fn layers(&self, cost: &mut Cost) {
        let (nodes, d, entries) = (self.nodes(), self.dim(), self.entries as f64);
        let mut products = |count: f64| {
            cost.operations += count * 2.0 * entries * d;
            cost.gathered_bytes += count * entries * d * NUMBER;
            cost.bytes += count * entries * (d * NUMBER + ENTRY);
        };
        match self.method.encoder {
            Encoder::Mf(_) | Encoder::Bootstrap(_) => {}
            Encoder::LightGcn(lightgcn) => {
                let count = 2.0 * lightgcn.layers as f64;
                products(count);
                cost.bytes += count * LIGHTGCN_TABLES * nodes * d * NUMBER;
            }
            Encoder::Ngcf(ngcf) => {
                let layers = ngcf.layers as f64;
                products(2.0 * layers);
                cost.bytes += layers * NGCF_TABLES * nodes * d * NUMBER;
                cost.operations += layers * 12.0 * nodes * d * d;
            }
        }
        for weight in self.method.encoder.weights(self.hyper.dim) {
            let [rows, columns] = weight.shape.map(|count| count as f64);
            self.learn(rows, columns, cost);
        }
    }

    /// Moves `rows` of width `width` along their gradients.
    fn learn(&self, rows: f64, width: f64, cost: &mut Cost) {
        let rule = self.hyper.optimizer;
        cost.bytes += 2.0 * rows * width * (1.0 + self.state()) * NUMBER;
        cost.operations += operations(rule) * rows * width;
        cost.roots_and_divisions += match rule {
            Rule::Sgd => 0.0,
            Rule::RowwiseAdagrad => rows,
            Rule::Adam | Rule::LazyAdam | Rule::Adagrad => rows * width,
        };
    }

    /// Moves `rows` rows of users (0) or items (1) along their gradients, and projects them.
    fn move_table(&self, side: usize, rows: f64, cost: &mut Cost) {
        let width = self.vectors(side) * self.dim();
        cost.moved_rows += rows;
        self.learn(rows, width, cost);
        if self.method.projections()[side].is_some() {
            cost.operations += PROJECTION * rows * width;
            cost.roots_and_divisions += rows * self.vectors(side);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onebp_model::{
        loss::Loss,
        sampler::{Dynamic, Pool, Sampler},
        update::UpdateName,
    };

    /// d 2, S 2, Adam.
    pub(super) fn hyper() -> Hyperparameters {
        Hyperparameters {
            dim: 2,
            batch_size: 4,
            optimizer: Rule::Adam,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            beta: 0.99,
            negatives: 2,
            temperature: 1.0,
            duplicates: Default::default(),
            keep_last: false,
        }
    }

    /// 10 users, 20 items, 7 pairs to train on; a step of 4 pairs with 3 users and 5 items, 4 of them chosen ones.
    pub(super) const STEP: Step = Step { pairs: 4.0, users: 3.0, drawn: 5.0, items: 5.0, chosen: 4.0 };

    pub(super) fn two_bp(encoder: Encoder, loss: Loss) -> Method {
        Method { encoder, sampler: Sampler::Uniform, loss, update: UpdateName::TwoBp }
    }

    #[test]
    fn batches_are_counted() {
        use onebp_table::Keep;
        let sampler = Sampler::Dns(Dynamic { pool: 3 });
        let method = Method { sampler, ..Method::TWO_BP };
        let hyper = hyper();
        let mut batch = Batch::new(vec![0, 4, 4], vec![1, 2, 3, 4, 1, 3, 2, 5, 6, 3, 2, 7], vec![1.0; 3], (10, 20));
        let Pool { hardness, .. } = sampler.pool().unwrap();
        batch.keep = Some(Keep { positives: 1, negatives: 2, hardness });
        let mut counter = Counter::new(&method, &hyper, (10, 20), 7);
        counter.count(&batch);
        // Items 1, 2, 3 are in front; 4, 5 and 7 only looked at.
        let step = Step { pairs: 3.0, users: 2.0, drawn: 7.0, items: 4.0, chosen: 2.0 };
        assert_eq!(counter.distinct(&batch, 3), 4.0);
        assert_eq!([counter.least, counter.plain], [counter.sizes.least(&step), counter.sizes.plain(&step)]);
        counter.count(&batch);
        assert_eq!(counter.least.bytes, 2.0 * counter.sizes.least(&step).bytes);
    }

    #[test]
    fn the_slowest_unit_is_the_bound() {
        let machine = Machine { read_bytes: 10.0, update_bytes: 1.0, operations: 100.0, roots_and_divisions: 2.0 };
        let cost = Cost { bytes: 30.0, operations: 200.0, roots_and_divisions: 8.0, ..Cost::default() };
        assert_eq!(cost.bound(&machine), (4.0, Unit::RootsAndDivisions));
        assert_eq!(Cost { bytes: 50.0, ..cost }.bound(&machine), (5.0, Unit::Bytes));
        assert_eq!(Cost { operations: 900.0, ..cost }.bound(&machine), (9.0, Unit::Operations));
    }
}
