//! A data set arranged for a protocol: what is fitted, what is watched while training, what is reported.

use crate::{Error, Protocol};
use onebp_data::{Csr, Dataset, hold_out_validation};
use onebp_eval::{DotProduct, Evaluation, Popularity, Report, Scorer, evaluate};
use onebp_model::Tables;

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

    /// Metrics of `tables` on the watched or the test part.
    ///
    /// # Errors
    /// [`Error::Evaluation`] where scores are not finite.
    pub fn evaluate(&self, tables: &Tables, part: &Part) -> Result<Report, Error> {
        let scorer = DotProduct::new(&tables.users.values, &tables.items.values, tables.users.dim)?;
        self.report(&scorer, part)
    }

    /// Metrics of the most popular items on the test part: the baseline that anything trained must beat.
    ///
    /// # Errors
    /// As [`Parts::evaluate`].
    pub fn evaluate_popularity(&self) -> Result<Report, Error> {
        self.report(&Popularity::new(self.fit.rows(), &self.counts), &self.test)
    }

    fn report(&self, scorer: &impl Scorer, part: &Part) -> Result<Report, Error> {
        Ok(evaluate(scorer, &part.seen, &part.truth, &self.counts, &Evaluation::default())?)
    }
}
