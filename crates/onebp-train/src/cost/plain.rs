//! What the steps of a method take as it is written down: dense tensors, every row for itself. Spec section 9.
//!
//! A step has B pairs; a row's items are Mp positives and S negatives, which a sampler may choose from a pool of X. A user has C vectors
//! of width d. Counted are
//!
//! | part | bytes | operations |
//! |---|---|---|
//! | scores | B (C + Mp + S) rows of width d forward, and as many for each side that gradients reach | 2 B (Mp + S) C d, and 2 B (Mp + S) d for each side |
//! | a pool | B X rows | 2 B X C d |
//! | a table that learns | all its rows with their moments, read and written, at every step of dense Adam; touched rows under other rules | [`Rule`] on every element; 3 more where projected |
//! | a table that follows | B rows, read and written, and what they follow | 3 B d |
//! | a graph | as counted by [`Sizes::layers`]: there is no plainer form | |
//! | a bootstrap encoder | targets of all rows, read and written | 12 B d^2 for both predictions of a pair; 3 for each element of a target |
//! | a loss of the whole catalogue of N | all items once more | 6 Q N d for Q users |

use super::{Cost, FOLLOWING, NUMBER, Sizes, Step};
use onebp_model::{Rule, encoder::Encoder};

impl Sizes<'_> {
    /// What a step takes in plain form.
    pub(super) fn plain(&self, step: &Step) -> Cost {
        let mut cost = Cost::default();
        match self.method.loss.catalogue() {
            Some(_) => {
                let items = self.tables[1] as f64 * self.dim();
                cost.operations += 6.0 * step.users * items;
                cost.bytes += items * NUMBER;
            }
            None => self.plain_scores(step, &mut cost),
        }
        self.layers(&mut cost);
        if let Encoder::Bootstrap(_) = self.method.encoder {
            let d = self.dim();
            cost.operations += 12.0 * step.pairs * d * d + FOLLOWING * self.nodes() * d;
            cost.bytes += 2.0 * self.nodes() * d * NUMBER;
        }
        for side in [0, 1] {
            self.plain_table(side, step, &mut cost);
        }
        cost
    }

    fn plain_scores(&self, step: &Step, cost: &mut Cost) {
        let (kept, (width, scores), vectors) = (self.kept(), self.scored(), self.vectors(0));
        let pool = self.method.sampler.pool().map_or(0, |pool| pool.size.min(self.tables[1])) as f64;
        let [users, items] = self.sides().map(f64::from);
        cost.operations += 2.0 * step.pairs * width * ((scores * kept + pool) * vectors + (users + items) * kept);
        cost.bytes += step.pairs * ((vectors + kept) * (1.0 + users + items) + pool) * width * NUMBER;
    }

    /// The table of users (0) or items (1).
    fn plain_table(&self, side: usize, step: &Step, cost: &mut Cost) {
        let width = self.vectors(side) * self.dim();
        if self.learns(side) {
            let all = self.whole(side) || self.hyper.optimizer == Rule::Adam;
            let moved = if all { self.tables[side] as f64 } else { step.touched(side) };
            self.move_table(side, moved, cost);
        } else {
            cost.moved_rows += step.pairs;
            cost.bytes += 3.0 * step.pairs * width * NUMBER;
            cost.operations += FOLLOWING * step.pairs * width;
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
        encoder::{Bootstrap, LightGcn, Mf},
        loss::{Buir, Dpcml, Loss, Sfcml},
        sampler::{Dynamic, Sampler},
    };

    fn cost(method: Method, hyper: &Hyperparameters) -> Cost {
        Sizes::new(&method, hyper, (10, 20), 7).plain(&STEP)
    }

    /// 4 pairs of a user and 3 items, 2 numbers each: 128 bytes forward and for each side; 48 operations each.
    #[test]
    fn table_lookup() {
        let both = cost(Method::TWO_BP, &hyper());
        let expected = Cost {
            bytes: 3.0 * 128.0 + 30.0 * 48.0,
            operations: 3.0 * 48.0 + 12.0 * 60.0,
            roots_and_divisions: 60.0,
            moved_rows: 30.0,
            ..Cost::default()
        };
        assert_eq!(both, expected);
        // Users follow: 4 pairs of 2 numbers, 3 operations each; read, written, and what they follow read.
        let one = cost(Method::ONE_BP, &hyper());
        assert_eq!(one.bytes, 2.0 * 128.0 + 20.0 * 48.0 + 3.0 * 32.0);
        assert_eq!(one.operations, 2.0 * 48.0 + 12.0 * 40.0 + 3.0 * 8.0);
        // 3 users and 5 items are touched.
        let sgd = cost(Method::TWO_BP, &Hyperparameters { optimizer: Rule::Sgd, ..hyper() });
        assert_eq!(sgd.bytes, 3.0 * 128.0 + 8.0 * 16.0);
    }

    #[test]
    fn pools_vectors_and_targets() {
        let plain = cost(Method::TWO_BP, &hyper());
        let pool = cost(Method { sampler: Sampler::Dns(Dynamic { pool: 6 }), ..Method::TWO_BP }, &hyper());
        assert_eq!((pool.bytes - plain.bytes, pool.operations - plain.operations), (4.0 * 6.0 * 8.0, 4.0 * 6.0 * 4.0));
        // Three vectors a user: 6 rows a pair instead of 4, three scores each; 30 + 20 vectors move and are projected.
        let dpcml = cost(two_bp(Encoder::Mf(Mf { vectors: 3 }), Loss::Dpcml(Dpcml::default())), &hyper());
        assert_eq!(dpcml.bytes, 3.0 * 192.0 + 50.0 * 48.0);
        assert_eq!(dpcml.operations, (3.0 + 2.0) * 48.0 + 15.0 * 100.0);
        assert_eq!(dpcml.roots_and_divisions, 100.0 + 50.0);
        // A predictor of 4 + 2 weights; 30 rows and their targets.
        let encoder = Encoder::Bootstrap(Bootstrap::default());
        let buir = cost(Method { sampler: Sampler::None, ..two_bp(encoder, Loss::Buir(Buir {})) }, &hyper());
        assert_eq!(buir.bytes, 3.0 * 64.0 + 30.0 * 16.0 + (60.0 + 6.0) * 24.0);
        assert_eq!(buir.operations, 2.0 * 4.0 * 2.0 * 4.0 + 12.0 * 16.0 + 3.0 * 60.0 + 12.0 * 66.0);
    }

    #[test]
    fn whole_tables() {
        // Items move and are read once more; 3 users.
        let method = Method { sampler: Sampler::None, ..two_bp(Encoder::MF, Loss::Sfcml(Sfcml::default())) };
        let sfcml = cost(method, &Hyperparameters { optimizer: Rule::Adagrad, ..hyper() });
        assert_eq!(sfcml.bytes, (3.0 + 20.0) * 32.0 + 20.0 * 8.0);
        assert_eq!(sfcml.operations, 6.0 * 3.0 * 20.0 * 2.0 + 8.0 * 46.0);
        // 14 entries, 6 products; rows of places instead of distinct ones.
        let graph = two_bp(Encoder::LightGcn(LightGcn { layers: 3 }), Loss::INFO_NCE);
        let products = 6.0 * 14.0 * 16.0 + 6.0 * 2.0 * 30.0 * 8.0;
        assert_eq!(cost(graph, &hyper()).bytes, products + 3.0 * 128.0 + 30.0 * 48.0);
    }
}
