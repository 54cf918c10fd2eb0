//! What the steps of a method need at least.
//!
//! A step has B pairs of Q distinct users; a row's W items are Mp positives with S negatives, or with the pool X that these are
//! chosen from; P of them are distinct. A user has C vectors of width d. Counted are
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
//! Under dense Adam every row moves at every step. Where nothing but the next step that touches a row reads it, its silent steps
//! can wait until then, and what follows them with them: they need no bytes, and are not counted, but for
//! [`Cost::silent_roots_and_divisions`], where weight decay, projections or targets that follow leave no closed form. Where all
//! rows are read at every step, all of them are counted as moved: behind a graph, and where a loss looks at all items.
//!
//! Gradients of a batch's rows are not counted: they stay in caches.

use super::{Cost, FOLLOWING, NUMBER, Sizes, Step};
use onebp_model::{
    Rule,
    encoder::Encoder,
    loss::{Form, Sfcml},
    sampler::Pool,
    update::Follow,
};
use onebp_table::Hardness;

impl Sizes<'_> {
    /// What a step needs at least.
    pub(super) fn least(&self, step: &Step) -> Cost {
        let mut cost = Cost::default();
        match self.method.loss.catalogue() {
            Some(_) => self.catalogue(step, &mut cost),
            None => self.scores(step, &mut cost),
        }
        self.layers(&mut cost);
        if let Encoder::Bootstrap(_) = self.method.encoder {
            let (rows, d) = (step.users + step.items, self.dim());
            cost.operations += 6.0 * rows * d * d + FOLLOWING * rows * d;
            cost.bytes += 2.0 * rows * d * NUMBER;
        }
        for side in [0, 1] {
            self.table(side, step, &mut cost);
        }
        cost
    }

    /// Scores of the pairs, and gradients of the rows that they are made of.
    fn scores(&self, step: &Step, cost: &mut Cost) {
        let (encoder, kept, (width, scores)) = (self.method.encoder, self.kept(), self.scored());
        let seen = match self.method.sampler.pool() {
            // Cosines of the pool with the pairs' own items; users have scores with what is kept alone.
            Some(Pool { size, hardness: Hardness::Similarity }) => {
                cost.operations += 2.0 * step.chosen * size.min(self.tables[1]) as f64 * width;
                kept
            }
            // Hardness is a score.
            _ => self.method.columns(self.hyper) as f64,
        };
        let sides = self.sides().map(f64::from);
        let forward = scores * seen * self.vectors(0);
        cost.operations += 2.0 * step.pairs * width * (forward + (sides[0] + sides[1]) * kept);
        // Rows of tables that move are counted there.
        let looked_at = if encoder.is_graph() { step.users + step.drawn } else { step.drawn - step.items };
        // Moments say what became of a row of a table that learns in its silent steps.
        let silent = !encoder.is_graph() && self.hyper.optimizer == Rule::Adam && self.learns(1);
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

    /// The table of users (0) or items (1).
    fn table(&self, side: usize, step: &Step, cost: &mut Cost) {
        let (method, hyper) = (self.method, self.hyper);
        let (touched, all) = (step.touched(side), self.tables[side] as f64);
        let (vectors, width) = (self.vectors(side), self.vectors(side) * self.dim());
        if !self.learns(side) {
            let follows_items = matches!(method.update(hyper).follow(), Follow::Items(_));
            let moved = if follows_items { step.chosen } else { touched };
            cost.moved_rows += moved;
            cost.bytes += 2.0 * moved * width * NUMBER;
            cost.operations += FOLLOWING * step.pairs * width;
            if !method.encoder.is_graph() {
                cost.bytes += (touched - moved) * width * NUMBER;
            }
            return;
        }
        let moved = if self.whole(side) { all } else { touched };
        self.move_table(side, moved, cost);
        if hyper.optimizer != Rule::Adam {
            return;
        }
        if hyper.weight_decay > 0.0 || matches!(method.encoder, Encoder::Bootstrap(_)) {
            cost.silent_roots_and_divisions += (all - moved) * width;
        } else if method.projections()[side].is_some() {
            // One of each for all of a row's silent steps together, and one for each of its projections.
            cost.silent_roots_and_divisions += moved * width + (all - moved) * vectors;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{STEP, hyper, two_bp},
        *,
    };
    use onebp_model::{
        Hyperparameters, Method,
        encoder::{Bootstrap, LightGcn, Mf, Ngcf},
        loss::{Buir, Cml, Dcl, Dpcml, Loss},
        sampler::{Dynamic, Sampler, TwoStage2019},
        update::{Cut, UpdateName},
    };

    fn cost(method: Method, hyper: &Hyperparameters, step: Step) -> Cost {
        Sizes::new(&method, hyper, (10, 20), 7).least(&step)
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
}
