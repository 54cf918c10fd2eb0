//! What the steps of a method need at least.
//!
//! Numbers have 4 bytes. A step has B pairs of Q distinct users; a row's W items are Mp positives with S negatives, or with the
//! pool X that these are chosen from; P of them are distinct. A user has C vectors of width d. Counted are
//!
//! | part | bytes | operations |
//! |---|---|---|
//! | scores | rows that are only looked at, once; under dense Adam with their moments, which say what they are by now | 2 B W C d forward, 2 B (Mp + S) d for each side that gradients reach |
//! | a table that learns | every moved row with its optimizer's state, read and written | [`Rule`] on every element; 3 more where projected |
//! | a table that follows | every row that follows, read and written | 3 B d |
//! | a graph of E entries, 2 K products | E rows of width d and E entries each, and what is kept of `[M + N, d]` | 2 E d each |
//! | L layers of NGCF beside | | 12 (M + N) d^2 a layer: two matrices, each forward, for rows, and for itself |
//! | a bootstrap encoder | targets of moved rows, read and written | 6 d^2 for each distinct row; 3 for each element of a target |
//! | a loss of the whole catalogue | the catalogue once more, for gradients need sums over all of it | as [`Sfcml::form`]; 6 R d for R pairs |
//!
//! and one square root with a division for each element that an adaptive optimizer moves.
//!
//! Under dense Adam every row moves at every step. Where nothing but the next step that touches a row reads it, its silent steps
//! can wait until then, and what follows them with them: they need no bytes, and are not counted, but for
//! [`Cost::silent_roots_and_divisions`], where weight decay, projections or targets that follow leave no closed form. Where all
//! rows are read at every step, all of them are counted as moved: behind a graph, and where a loss looks at all items.
//!
//! Not counted: random numbers, what there is one of for a pair or a score (softmax, margins, norms), element by element work of
//! layers, gradients of a batch's rows, which stay in caches.

use onebp_model::{
    Batch, Hyperparameters, Method, Rule,
    encoder::Encoder,
    loss::{Draws, Form, Sfcml},
    sampler::Pool,
    update::{Cut, Follow},
};
use onebp_table::{Grouping, Hardness, Touched, host::Machine};
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

/// Adds up what steps need.
pub(crate) struct Counter<'a> {
    method: &'a Method,
    hyper: &'a Hyperparameters,
    /// M and N.
    tables: [usize; 2],
    /// Entries of the graph's matrix, E.
    entries: usize,
    grouping: (Grouping, Touched),
    places: Vec<u32>,
    /// What was counted.
    pub cost: Cost,
}

impl<'a> Counter<'a> {
    /// For `method` on `tables` = (M users, N items) with `pairs` training pairs.
    pub fn new(method: &'a Method, hyper: &'a Hyperparameters, tables: (usize, usize), pairs: usize) -> Self {
        let (users, items) = tables;
        let loops = matches!(method.encoder, Encoder::Ngcf(ngcf) if ngcf.rw_self);
        Self {
            method,
            hyper,
            tables: [users, items],
            entries: 2 * pairs + if loops { users + items } else { 0 },
            grouping: (Grouping::new(items), Touched::default()),
            places: Vec::new(),
            cost: Cost::default(),
        }
    }

    /// Counts a step on `batch`.
    pub fn count(&mut self, batch: &Batch) {
        // Of a pool the step keeps S items, which ones is not known here: as many distinct rows as the first S have, or of one
        // that all rows share any.
        let kept = match (batch.keep, self.method.sampler.shares()) {
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
        self.cost += self.of(&step);
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

    fn of(&self, step: &Step) -> Cost {
        let mut cost = Cost::default();
        match self.method.loss.catalogue() {
            Some(_) => self.catalogue(step, &mut cost),
            None => self.scores(step, &mut cost),
        }
        self.encoder(step, &mut cost);
        for side in [0, 1] {
            self.table(side, step, &mut cost);
        }
        cost
    }

    /// Scores of the pairs, and gradients of the rows that they are made of.
    fn scores(&self, step: &Step, cost: &mut Cost) {
        let Method { encoder, loss, .. } = self.method;
        let update = self.method.update(self.hyper);
        let kept = match loss.draws() {
            Draws::Negatives { positives } => positives + self.hyper.negatives,
            Draws::Pairs | Draws::Users => 1,
        };
        let (width, scores) = match encoder {
            Encoder::Ngcf(ngcf) => ((ngcf.layers + 1) as f64 * self.dim(), 1.0),
            // Two scores a pair, each with one side that gradients reach.
            Encoder::Bootstrap(_) => (self.dim(), 2.0),
            Encoder::Mf(_) | Encoder::LightGcn(_) => (self.dim(), 1.0),
        };
        // Behind a graph, rows of a side that does not learn are made of the other one's too.
        let passes = encoder.is_graph() && update.cut() == Cut::Input;
        let sides = [update.trains_users(), update.trains_items()].map(|learns| f64::from(u8::from(learns || passes)));
        let seen = match self.method.sampler.pool() {
            // Cosines of the pool with the pairs' own items; users have scores with what is kept alone.
            Some(Pool { size, hardness: Hardness::Similarity }) => {
                cost.operations += 2.0 * step.chosen * size.min(self.tables[1]) as f64 * width;
                kept
            }
            // Hardness is a score.
            _ => self.method.columns(self.hyper),
        };
        let forward = scores * seen as f64 * encoder.vectors() as f64;
        cost.operations += 2.0 * step.pairs * width * (forward + (sides[0] + sides[1]) * kept as f64);
        // Rows of tables that move are counted there.
        let looked_at = if encoder.is_graph() { step.users + step.drawn } else { step.drawn - step.items };
        // Moments say what became of a row of a table that learns in its silent steps.
        let silent = !encoder.is_graph() && self.hyper.optimizer == Rule::Adam && update.trains_items();
        let matrices = if silent { 1.0 + self.state() } else { 1.0 };
        cost.bytes += looked_at * matrices * width * NUMBER;
    }

    /// Sums over all items, for every user of the batch.
    fn catalogue(&self, step: &Step, cost: &mut Cost) {
        let (users, items, d) = (step.users, self.tables[1] as f64, self.dim());
        cost.operations += match Sfcml::form(users as usize, self.hyper.dim) {
            Form::Scores => 6.0 * users * items * d,
            Form::Gram => 4.0 * (items + users) * d * d,
        };
        cost.operations += 6.0 * step.pairs * d;
        cost.bytes += items * d * NUMBER;
    }

    /// What lies between tables and scores.
    fn encoder(&self, step: &Step, cost: &mut Cost) {
        let (nodes, d, entries) = (self.nodes(), self.dim(), self.entries as f64);
        let mut products = |count: f64| {
            cost.operations += count * 2.0 * entries * d;
            cost.gathered_bytes += count * entries * d * NUMBER;
            cost.bytes += count * entries * (d * NUMBER + ENTRY);
        };
        match self.method.encoder {
            Encoder::Mf(_) => {}
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
            Encoder::Bootstrap(_) => {
                let rows = step.users + step.items;
                cost.operations += 6.0 * rows * d * d + FOLLOWING * rows * d;
                cost.bytes += 2.0 * rows * d * NUMBER;
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

    /// The table of users (0) or items (1).
    fn table(&self, side: usize, step: &Step, cost: &mut Cost) {
        let (method, hyper) = (self.method, self.hyper);
        let update = method.update(hyper);
        let adam = hyper.optimizer == Rule::Adam;
        let all = self.tables[side] as f64;
        let (learns, touched, vectors) = match side {
            0 => (update.trains_users(), step.users, method.encoder.vectors() as f64),
            _ => (update.trains_items(), step.items, 1.0),
        };
        let width = vectors * self.dim();
        if !learns {
            let moved = if matches!(update.follow(), Follow::Items(_)) { step.chosen } else { touched };
            cost.moved_rows += moved;
            cost.bytes += 2.0 * moved * width * NUMBER;
            cost.operations += FOLLOWING * step.pairs * width;
            if !method.encoder.is_graph() {
                cost.bytes += (touched - moved) * width * NUMBER;
            }
            return;
        }
        let whole = method.encoder.is_graph() || side == 1 && method.loss.catalogue().is_some();
        let moved = if whole { all } else { touched };
        cost.moved_rows += moved;
        self.learn(moved, width, cost);
        let projected = method.projections()[side].is_some();
        if projected {
            cost.operations += PROJECTION * moved * width;
            cost.roots_and_divisions += moved * vectors;
        }
        let one_by_one = hyper.weight_decay > 0.0 || matches!(method.encoder, Encoder::Bootstrap(_));
        if adam && one_by_one {
            cost.silent_roots_and_divisions += (all - moved) * width;
        } else if adam && projected {
            // One of each for all of a row's silent steps together, and one for each of its projections.
            cost.silent_roots_and_divisions += moved * width + (all - moved) * vectors;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onebp_model::{
        encoder::{Bootstrap, LightGcn, Mf, Ngcf},
        loss::{Buir, Cml, Dcl, Dpcml, Loss},
        sampler::{Dynamic, Sampler, TwoStage2019},
        update::UpdateName,
    };

    /// d 2, S 2, Adam.
    fn hyper() -> Hyperparameters {
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
    const STEP: Step = Step { pairs: 4.0, users: 3.0, drawn: 5.0, items: 5.0, chosen: 4.0 };

    fn cost(method: Method, hyper: &Hyperparameters, step: Step) -> Cost {
        Counter::new(&method, hyper, (10, 20), 7).of(&step)
    }

    fn two_bp(encoder: Encoder, loss: Loss) -> Method {
        Method { encoder, sampler: Sampler::Uniform, loss, update: UpdateName::TwoBp }
    }

    /// Scores: 4 pairs of 3 items, 2 numbers each, 2 operations: 48 forward and 48 for each side.
    #[test]
    fn table_lookup() {
        let both = cost(Method::TWO_BP, &hyper(), STEP);
        let rows = 3.0 + 5.0;
        let expected = Cost {
            bytes: rows * 2.0 * 4.0 * 3.0 * 2.0,
            operations: 3.0 * 48.0 + 12.0 * rows * 2.0,
            roots_and_divisions: rows * 2.0,
            moved_rows: rows,
            ..Cost::default()
        };
        assert_eq!(both, expected);
        // Users follow: 4 pairs of 2 numbers, 3 operations each.
        let one = cost(Method::ONE_BP, &hyper(), STEP);
        assert_eq!(one.bytes, 3.0 * 16.0 + 5.0 * 48.0);
        assert_eq!(one.operations, 2.0 * 48.0 + 12.0 * 10.0 + 3.0 * 8.0);
        assert_eq!((one.roots_and_divisions, one.moved_rows), (10.0, 8.0));
        // Four items follow, the fifth is a negative alone.
        let items = cost(Method::USER_ONLY, &hyper(), STEP);
        assert_eq!(items.bytes, 3.0 * 48.0 + 4.0 * 16.0 + 8.0);
        assert_eq!(items.moved_rows, 7.0);
        let decay = Hyperparameters { weight_decay: 1e-5, ..hyper() };
        let silent = (7.0 + 15.0) * 2.0;
        assert_eq!(
            cost(Method::TWO_BP, &decay, STEP),
            Cost { silent_roots_and_divisions: silent, ..cost(Method::TWO_BP, &hyper(), STEP) }
        );
        let rowwise = Hyperparameters { optimizer: Rule::RowwiseAdagrad, ..decay };
        let rowwise = cost(Method::TWO_BP, &rowwise, STEP);
        assert_eq!((rowwise.bytes, rowwise.roots_and_divisions), (rows * 16.0, rows));
        assert_eq!(rowwise.silent_roots_and_divisions, 0.0);
    }

    /// A pool of 6: 7 scores a pair instead of 3, and 4 rows that are read in vain, with their moments.
    #[test]
    fn pools_and_further_positives() {
        let pool = Method { sampler: Sampler::Dns(Dynamic { pool: 6 }), ..Method::TWO_BP };
        let plain = cost(Method::TWO_BP, &hyper(), STEP);
        let found = cost(pool, &hyper(), Step { drawn: 9.0, ..STEP });
        assert_eq!(found.operations - plain.operations, 2.0 * 4.0 * 4.0 * 2.0);
        assert_eq!(found.bytes - plain.bytes, 4.0 * 24.0);
        // There are none without Adam, nor where items follow.
        let sgd = Hyperparameters { optimizer: Rule::Sgd, ..hyper() };
        let following = Method { sampler: pool.sampler, ..Method::USER_ONLY };
        for (method, hyper) in [(pool, &sgd), (following, &hyper())] {
            let [small, large] = [5.0, 9.0].map(|drawn| cost(method, hyper, Step { drawn, ..STEP }).bytes);
            assert_eq!(large - small, 4.0 * 8.0);
        }
        // One pool for all: 4 chosen items against 6, and users against those that are kept.
        let shared =
            Method { sampler: Sampler::TwoStage2019(TwoStage2019 { pool: 6, exponent: 1.0 }), ..Method::TWO_BP };
        let shared = cost(shared, &hyper(), STEP);
        assert_eq!(shared.operations - plain.operations, 2.0 * 4.0 * 6.0 * 2.0);
        // Four positives more, forward and for both sides.
        let dcl = cost(two_bp(Encoder::MF, Loss::Dcl(Dcl::default())), &hyper(), STEP);
        assert_eq!(dcl.operations - plain.operations, 3.0 * 2.0 * 4.0 * 4.0 * 2.0);
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
        assert_eq!(counter.cost, counter.of(&step));
        counter.count(&batch);
        assert_eq!(counter.cost.bytes, 2.0 * counter.of(&step).bytes);
    }

    /// Projections: 3 operations an element, a root a vector. The roots of silent steps: 2 for each of 8 moved rows, and those
    /// of the projections of the other 22.
    #[test]
    fn metrics() {
        let plain = cost(Method::TWO_BP, &hyper(), STEP);
        let cml = cost(two_bp(Encoder::MF, Loss::Cml(Cml::default())), &hyper(), STEP);
        assert_eq!(cml.operations, plain.operations + 3.0 * 16.0);
        assert_eq!(cml.roots_and_divisions, 16.0 + 8.0);
        assert_eq!(cml.silent_roots_and_divisions, 16.0 + 22.0);
        // Three vectors: users three times as wide, three scores, gradients of one.
        let dpcml = cost(two_bp(Encoder::Mf(Mf { vectors: 3 }), Loss::Dpcml(Dpcml::default())), &hyper(), STEP);
        assert_eq!(dpcml.bytes, (3.0 * 3.0 + 5.0) * 48.0);
        assert_eq!(dpcml.operations, (3.0 + 2.0) * 48.0 + 15.0 * (18.0 + 10.0));
        assert_eq!(dpcml.roots_and_divisions, 28.0 + 9.0 + 5.0);
    }

    /// All 20 items move, with one accumulator; they are read once more.
    #[test]
    fn whole_catalogue() {
        let method = Method { sampler: Sampler::None, ..two_bp(Encoder::MF, Loss::Sfcml(Sfcml::default())) };
        let hyper = Hyperparameters { optimizer: Rule::Adagrad, ..hyper() };
        let found = cost(method, &hyper, STEP);
        assert_eq!(found.bytes, (3.0 + 20.0) * 32.0 + 20.0 * 8.0);
        // 2 d = 4 is less than 3 Q = 9: Gram, 4 (N + Q) d^2; pairs 6 R d; 5 and 3 for each of 46 elements.
        assert_eq!(found.operations, 4.0 * 23.0 * 4.0 + 48.0 + 8.0 * 46.0);
        let one_user = cost(method, &hyper, Step { users: 1.0, ..STEP });
        assert_eq!(one_user.operations, 6.0 * 20.0 * 2.0 + 48.0 + 8.0 * 42.0);
        assert_eq!(found.moved_rows, 23.0);
    }

    /// 14 entries; all 30 rows move.
    #[test]
    fn graphs() {
        let encoder = Encoder::LightGcn(LightGcn { layers: 3 });
        let method = two_bp(encoder, Loss::INFO_NCE);
        let found = cost(method, &hyper(), STEP);
        assert_eq!(found.gathered_bytes, 6.0 * 14.0 * 8.0);
        let products = found.gathered_bytes + 6.0 * 14.0 * 8.0 + 6.0 * 2.0 * 30.0 * 8.0;
        assert_eq!(found.bytes, products + 8.0 * 8.0 + 30.0 * 48.0);
        assert_eq!(found.operations, 6.0 * 2.0 * 14.0 * 2.0 + 3.0 * 48.0 + 12.0 * 60.0);
        assert_eq!((found.roots_and_divisions, found.silent_roots_and_divisions), (60.0, 0.0));
        // Users follow; gradients pass through their embeddings, or do not.
        let behind = |update| cost(Method { update, ..method }, &hyper(), STEP);
        let one = behind(UpdateName::ONE_BP);
        assert_eq!(found.bytes - one.bytes, 10.0 * 48.0 - 3.0 * 16.0);
        assert_eq!(one.operations, 6.0 * 2.0 * 14.0 * 2.0 + 3.0 * 48.0 + 12.0 * 40.0 + 3.0 * 8.0);
        let UpdateName::OneBp(mut block) = UpdateName::ONE_BP else { unreachable!() };
        block.cut = Cut::Output;
        assert_eq!(one.operations - behind(UpdateName::OneBp(block)).operations, 48.0);
    }

    /// Two layers with 2 (4 + 2) weights; embeddings are 6 wide. With self loops 30 entries more.
    #[test]
    fn graph_networks() {
        let ngcf = |rw_self| two_bp(Encoder::Ngcf(Ngcf { layers: 2, dropout: 0.0, rw_self }), Loss::INFO_NCE);
        let found = cost(ngcf(false), &hyper(), STEP);
        let products = 4.0 * 14.0 * (8.0 + 8.0) + 2.0 * 7.0 * 30.0 * 8.0;
        assert_eq!(found.bytes, products + 8.0 * 24.0 + (60.0 + 24.0) * 24.0);
        let dense = 2.0 * 12.0 * 30.0 * 4.0;
        assert_eq!(found.operations, 4.0 * 2.0 * 14.0 * 2.0 + dense + 3.0 * 3.0 * 48.0 + 12.0 * 84.0);
        assert_eq!(found.roots_and_divisions, 84.0);
        assert_eq!(cost(ngcf(true), &hyper(), STEP).gathered_bytes, 4.0 * 44.0 * 8.0);
    }

    /// A predictor of 4 + 2 weights; 8 rows with their targets. The other 22 wait, and what Adam does to them meanwhile.
    #[test]
    fn bootstrapping() {
        let encoder = Encoder::Bootstrap(Bootstrap::default());
        let method = Method { sampler: Sampler::None, ..two_bp(encoder, Loss::Buir(Buir {})) };
        let found = cost(method, &hyper(), STEP);
        assert_eq!(found.bytes, 8.0 * 16.0 + (16.0 + 6.0) * 24.0);
        assert_eq!(found.silent_roots_and_divisions, 22.0 * 2.0);
        // Two scores of 4 pairs, and as many gradients.
        let scores = 2.0 * 4.0 * 2.0 * (2.0 + 2.0);
        assert_eq!(found.operations, scores + 6.0 * 8.0 * 4.0 + 3.0 * 16.0 + 12.0 * 22.0);
        let rests = Hyperparameters { optimizer: Rule::Sgd, ..hyper() };
        let rests = cost(method, &rests, STEP);
        assert_eq!((rests.bytes, rests.silent_roots_and_divisions), (8.0 * 16.0 + (16.0 + 6.0) * 8.0, 0.0));
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
