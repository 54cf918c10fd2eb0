//! A data set arranged for a protocol: what is fitted, what is watched while training, what is reported.

use crate::{Error, Protocol};
use onebp_data::{Csr, Dataset, hold_out_validation};
use onebp_eval::{BestProduct, Evaluation, Popularity, Report, Scorer, evaluate, measure};
use onebp_model::{Lists, Ranked, Ranking, Tables, device::Found, engine::Engine, rank};

/// Pairs to be found, and pairs that are left out of the ranking because the user is known to have them.
#[derive(Clone, Debug)]
pub struct Part {
    /// `valid` or `test`.
    pub name: &'static str,
    /// Left out of the ranking, `[M, N]`.
    pub seen: Csr,
    /// To be found, `[M, N]`.
    pub truth: Csr,
}

impl Part {
    /// The ranking of the best `k` items for `users`, without what they have seen.
    pub fn ranking<'a>(&'a self, users: &'a [u32], k: usize) -> Ranking<'a> {
        Ranking { users, k, seen: lists(&self.seen), truth: None }
    }
}

fn lists(pairs: &Csr) -> Lists<'_> {
    Lists { offsets: pairs.offsets(), items: pairs.items() }
}

/// Scores by `products`, which [`Tables::products`] made.
///
/// # Errors
/// [`Error::Evaluation`] where the tables do not fit each other.
pub fn scorer(products: &Tables) -> Result<BestProduct<'_>, Error> {
    let Tables { users, items, .. } = products;
    Ok(BestProduct::new(&users.values, &items.values, items.dim, products.vectors())?)
}

/// The parts of a data set under a protocol.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Pairs that the model is fitted to.
    pub fit: Csr,
    /// What is evaluated while training.
    pub watched: Part,
    /// What is reported.
    pub test: Part,
    /// How often each item occurs in `fit`, `[N]`.
    pub counts: Vec<u32>,
}

impl Parts {
    /// Arranges `data`. `validated` uses the validation part that the data brings, or else cuts `valid_ratio` of each
    /// user's training items; the other protocols fit to both.
    ///
    /// # Errors
    /// [`Error::Data`] where there is nothing to fit or to test on.
    pub fn new(data: &Dataset, protocol: Protocol, valid_ratio: f64, seed: u64) -> Result<Self, Error> {
        let known = match &data.valid {
            Some(valid) => data.train.union(valid)?,
            None => data.train.clone(),
        };
        let empty = |what: &str, remedy: &str| {
            let problem = format!("{}: there are no {what} interactions", data.name);
            Err(onebp_data::Error::Preparation { problem, remedy: remedy.into() }.into())
        };
        if data.test.is_empty() {
            return empty("test", "bring more data, a split with a test part, or a larger --test-ratio");
        }
        let test = Part { name: "test", seen: known.clone(), truth: data.test.clone() };
        let (fit, watched) = match protocol {
            Protocol::Validated => {
                let (fit, valid) = match &data.valid {
                    Some(valid) => (data.train.clone(), valid.clone()),
                    None => hold_out_validation(&data.train, valid_ratio, seed)?,
                };
                if valid.is_empty() {
                    return empty("validation", "use a larger --valid-ratio, or --protocol final");
                }
                (fit.clone(), Part { name: "valid", seen: fit, truth: valid })
            }
            Protocol::Paper | Protocol::Final => (known, test.clone()),
        };
        if fit.is_empty() {
            return empty("training", "give a split with a training part");
        }
        let counts = fit.item_counts();
        Ok(Self { fit, watched, test, counts })
    }

    /// Metrics of `tables` on the watched or the test part, ranked on a device where it can.
    ///
    /// # Errors
    /// [`Error::Evaluation`] where scores are not finite, [`Error::Model`] where the device fails.
    pub fn evaluate(&self, tables: &Tables, found: &Found, part: &Part) -> Result<Report, Error> {
        match self.report_ranked(part, |ranking| rank(tables, found, ranking))? {
            Some(report) => Ok(report),
            None => self.report_tables(tables, part),
        }
    }

    /// Metrics of the tables of `engine`, ranked by itself or on its device where these can; and the tables, where it took reading them.
    ///
    /// # Errors
    /// As [`Parts::evaluate`].
    pub fn evaluate_engine(
        &self,
        engine: &mut dyn Engine,
        found: &Found,
        part: &Part,
    ) -> Result<(Report, Option<Tables>), Error> {
        if let Some(report) = self.report_ranked(part, |ranking| engine.rank(ranking))? {
            return Ok((report, None));
        }
        let tables = engine.tables()?;
        Ok((self.evaluate(&tables, found, part)?, Some(tables)))
    }

    /// Metrics of the most popular items on the test part: the baseline that anything trained must beat.
    ///
    /// # Errors
    /// As [`Parts::evaluate`].
    pub fn evaluate_popularity(&self) -> Result<Report, Error> {
        self.report(&Popularity::new(self.fit.rows(), &self.counts), &self.test)
    }

    /// Metrics of what `rank` ranks, if it does.
    fn report_ranked(
        &self,
        part: &Part,
        rank: impl FnOnce(&Ranking<'_>) -> Result<Option<Ranked>, onebp_model::Error>,
    ) -> Result<Option<Report>, Error> {
        let options = Evaluation::default();
        let users = options.users(&part.truth);
        let ranking = part.ranking(&users, options.longest(part.seen.columns()));
        let Some(Ranked { items, lost }) = rank(&Ranking { truth: Some(lists(&part.truth)), ..ranking })? else {
            return Ok(None);
        };
        Ok(Some(measure(&items, &lost, &part.seen, &part.truth, &self.counts, &options)?))
    }

    /// Metrics of tables on the host.
    fn report_tables(&self, tables: &Tables, part: &Part) -> Result<Report, Error> {
        self.report(&scorer(&tables.products())?, part)
    }

    fn report(&self, scorer: &impl Scorer, part: &Part) -> Result<Report, Error> {
        Ok(evaluate(scorer, &part.seen, &part.truth, &self.counts, &Evaluation::default())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onebp_model::{
        Batch, Hyperparameters, Method, Rule, Table,
        device::{self, DeviceName},
        engine::{EngineName, Start},
        update::Duplicates,
    };

    const USERS: usize = 90;
    const ITEMS: usize = 150;

    fn found(name: DeviceName) -> Option<Found> {
        match device::find(name) {
            Ok(found) => Some(found),
            Err(error) => {
                assert!(std::env::var_os("ONEBP_REQUIRE_WGPU").is_none(), "{error}");
                println!("skipped: {error}");
                None
            }
        }
    }

    /// Some users have no test items.
    fn parts() -> Parts {
        let csr = |stride: u32, most: u32| {
            let of_user = |user: u32| (0..user % most).map(move |k| (user, (user * 3 + k * stride) % ITEMS as u32));
            (0..USERS as u32).flat_map(of_user).collect::<Vec<_>>()
        };
        let fit = Csr::from_pairs(USERS, ITEMS, &csr(7, 31)).unwrap();
        let truth: Vec<_> = csr(11, 13).into_iter().filter(|&(user, item)| !fit.contains(user, item)).collect();
        let truth = Csr::from_pairs(USERS, ITEMS, &truth).unwrap();
        let part = Part { name: "test", seen: fit.clone(), truth };
        Parts { counts: fit.item_counts(), fit, watched: part.clone(), test: part }
    }

    fn hyper(dim: usize) -> Hyperparameters {
        Hyperparameters {
            dim,
            batch_size: 60,
            optimizer: Rule::Adam,
            learning_rate: 0.1,
            weight_decay: 0.01,
            beta: 0.9,
            negatives: 1,
            temperature: 1.0,
            duplicates: Duplicates::Sequential,
            keep_last: true,
        }
    }

    fn assert_close(found: &Report, expected: &Report, what: &str) {
        assert!(found.iter().map(|(name, _)| name).eq(expected.iter().map(|(name, _)| name)), "{what}");
        for ((name, found), (_, expected)) in found.iter().zip(expected.iter()) {
            assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{what}, {name}: {found} {expected}");
        }
    }

    /// Small whole numbers make scores that are exact and often tie: the same report to the bit.
    #[test]
    fn devices_give_the_same_report() {
        let (Some(cpu), Some(wgpu)) = (found(DeviceName::NdArray), found(DeviceName::Wgpu)) else { return };
        let parts = parts();
        let evaluate = |tables: &Tables, found: &Found| parts.evaluate(tables, found, &parts.test);
        let tables = Tables::init(USERS, ITEMS, 12, 3);
        let whole =
            |table: &Table| Table { values: table.values.iter().map(|x| (x * 9.0).round()).collect(), ..*table };
        let whole = Tables { users: whole(&tables.users), items: whole(&tables.items), ..tables };
        assert_eq!(evaluate(&whole, &wgpu).unwrap(), evaluate(&whole, &cpu).unwrap());
        assert_close(&evaluate(&tables, &wgpu).unwrap(), &evaluate(&tables, &cpu).unwrap(), "random tables");
        let mut diverged = tables.clone();
        diverged.items.values[12 * 70] = f32::INFINITY;
        let errors = [&wgpu, &cpu].map(|found| evaluate(&diverged, found).unwrap_err().to_string());
        assert!(errors[0] == errors[1] && errors[0].contains("item 70 is"), "{errors:?}");
    }

    /// Engines are evaluated as they are in the middle of training, and only those that cannot rank are read.
    #[test]
    fn engines_give_the_report_of_their_tables() {
        let parts = parts();
        let cpu = found(DeviceName::NdArray).unwrap();
        let devices = [Some(cpu.clone()), found(DeviceName::Wgpu)];
        let ids = |seed: u32, below: u32| (0..60).map(move |k| (k * 37 + seed * 11) % below).collect::<Vec<_>>();
        for on in devices.into_iter().flatten() {
            for name in [EngineName::Autodiff, EngineName::Rows, EngineName::Fused] {
                let start = Start::new(&Method::TWO_BP, &hyper(8), &parts.fit, 3);
                let mut engine = name.build(Method::TWO_BP, &hyper(8), &start, &on).unwrap();
                for step in 0..5 {
                    let items = ids(step, ITEMS as u32).into_iter().flat_map(|item| [item, (item + 50) % ITEMS as u32]);
                    let users = ids(step + 9, USERS as u32);
                    let batch = Batch::new(users, items.collect(), vec![1.0; 60], (USERS, ITEMS));
                    engine.step(&batch).unwrap();
                }
                let what = format!("{} on {}", name.as_str(), on.description);
                let (report, read) = parts.evaluate_engine(&mut *engine, &on, &parts.test).unwrap();
                let ranks = on.name == DeviceName::Wgpu && name != EngineName::Autodiff;
                assert_eq!(read.is_none(), ranks, "{what}");
                let expected = parts.evaluate(&engine.tables().unwrap(), &cpu, &parts.test).unwrap();
                assert_close(&report, &expected, &what);
                assert_eq!(parts.evaluate_engine(&mut *engine, &on, &parts.test).unwrap().0, report, "{what}");
            }
        }
    }
}
