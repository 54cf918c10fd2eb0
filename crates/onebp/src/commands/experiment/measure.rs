//! What is measured on the tables of a cell, beside its metrics.

use super::{cell::CellRun, unfit as usage};
use crate::{
    commands::recommend,
    failure::{Exit, Failure},
    lookup,
};
use onebp_data::{Csr, Genres};
use onebp_eval::{Evaluation, PerUser, evaluate};
use onebp_lab::{
    analysis::{
        Rows, beyond,
        clusters::{self, Clusters, KMeansSettings},
        genres::{Distance, GenreRetrieval, genre_retrieval},
        groups,
        projection::{ProjectionSettings, t_sne},
        types::{self, TypedPairs, UserRule},
    },
    experiment::Measure,
    measures::{
        BEYOND_CUTOFFS, BeyondAccuracy, GENRE_CUTOFFS, ITEM_GROUPS, LIST, MapOfItems, TYPE_CUTOFFS, TypesOfAll,
    },
    result::{CellResult, PerUserValues, TESTED},
};
use onebp_model::Tables;
use onebp_train::Parts;
use serde_json::Value;

/// Puts every measurement that the cell is to have into `result`, or why it cannot be made.
pub fn all(cell: &CellRun<'_>, parts: &Parts, tables: &Tables, result: &mut CellResult) {
    for wanted in cell.wanted {
        match one(&Measured { cell, parts, tables, user: wanted.user.as_deref() }, wanted.measure) {
            Ok(value) => {
                result.measurements.insert(wanted.key(), value);
            }
            Err(failure) => {
                result.unmeasured.insert(wanted.key(), failure.to_string());
            }
        }
    }
}

/// One measurement.
///
/// # Errors
/// Where it cannot be made of this data or these tables.
fn one(of: &Measured<'_>, measure: Measure) -> Result<Value, Failure> {
    let value = match measure {
        Measure::PerUser => serde_json::to_value(of.kept()?),
        Measure::Genres => serde_json::to_value(of.retrieved()?),
        Measure::Map => serde_json::to_value(of.map()?),
        Measure::Types => serde_json::to_value(of.types()?),
        Measure::Beyond => serde_json::to_value(of.beyond()?),
    };
    value.map_err(Failure::unexpected)
}

/// Tables with what they are measured against.
struct Measured<'a> {
    cell: &'a CellRun<'a>,
    parts: &'a Parts,
    tables: &'a Tables,
    /// The user that a map shows.
    user: Option<&'a str>,
}

impl<'a> Measured<'a> {
    fn items(&self) -> Rows<'a> {
        Rows { values: &self.tables.items.values, dim: self.tables.items.dim }
    }

    fn genres(&self) -> Result<&'a Genres, Failure> {
        self.cell.genres.ok_or_else(|| {
            let problem = format!("{}: genres of the items are not known", self.cell.data.name);
            let remedy =
                "put u.item with u.genre, movies.dat or movies.csv into the folder of the data or the one above";
            Failure::new(Exit::Data, format!("{problem}; {remedy}"))
        })
    }

    /// Genres by every distance.
    fn retrieved(&self) -> Result<Vec<GenreRetrieval>, Failure> {
        let mut all = Vec::new();
        for distance in [Distance::Cosine, Distance::Euclidean, Distance::Dot] {
            all.extend(genre_retrieval(self.items(), self.genres()?, &GENRE_CUTOFFS, distance, None).map_err(usage)?);
        }
        Ok(all)
    }

    fn train(&self) -> &'a Csr {
        &self.parts.test.seen
    }

    fn test(&self) -> &'a Csr {
        &self.parts.test.truth
    }

    /// Metrics of single users on test.
    fn per_user(&self) -> Result<PerUser, Failure> {
        let options = Evaluation { per_user: true, beyond_accuracy: false, auc: false, ..Evaluation::default() };
        let products = self.tables.products();
        let scorer = onebp_train::scorer(&products)?;
        let report = evaluate(&scorer, self.train(), self.test(), &self.parts.counts, &options)?;
        report.per_user.ok_or_else(|| Failure::unexpected("an evaluation without the values of users"))
    }

    /// The metric of single users that paired tests look at.
    fn kept(&self) -> Result<PerUserValues, Failure> {
        let per_user = self.per_user()?;
        let mut kept = PerUserValues::default();
        kept.insert(TESTED, per_user.get(TESTED).unwrap_or_default());
        Ok(kept)
    }

    /// The best `k` items of every user.
    fn lists(&self, k: usize) -> Result<Vec<Vec<u32>>, Failure> {
        let users: Vec<u32> = (0..self.tables.users.rows as u32).collect();
        let lists = recommend::lists(self.tables, &self.parts.test, self.cell.found, &users, k)?;
        Ok(lists.into_iter().map(|list| list.into_iter().map(|(item, _)| item).collect()).collect())
    }

    fn clusters(&self) -> Result<Clusters, Failure> {
        let settings = KMeansSettings { seed: self.cell.plan.cell.seed, ..KMeansSettings::default() };
        clusters::k_means(self.items(), &settings).map_err(usage)
    }

    fn typed<'b>(&self, clusters: &'b Clusters) -> TypedPairs<'b>
    where
        'a: 'b,
    {
        TypedPairs { train: self.train(), test: self.test(), labels: &clusters.labels, types: clusters.sizes.len() }
    }

    fn map(&self) -> Result<MapOfItems, Failure> {
        let clusters = self.clusters()?;
        let pairs = self.typed(&clusters);
        let ids = &self.cell.data.users;
        let user = match self.user {
            Some(raw) => lookup::dense(ids, "user", raw)?,
            // Without clusters to speak of, as before training, nobody may fulfil the rule.
            None => UserRule::default().choose(&pairs).map_err(usage)?.unwrap_or(0),
        };
        let table = Rows { values: &self.tables.users.values, dim: self.tables.users.dim };
        let projection =
            t_sne(self.items(), &[table.row(user as usize)], &ProjectionSettings::default()).map_err(usage)?;
        let distances = |users: &[u32]| {
            clusters::user_distances(table, self.items(), &clusters.labels, self.train(), self.train(), users)
        };
        let everybody: Vec<u32> = (0..ids.len() as u32).collect();
        let list = recommend::lists(self.tables, &self.parts.test, self.cell.found, &[user], LIST)?;
        let list: Vec<u32> = list.into_iter().flatten().map(|(item, _)| item).collect();
        Ok(MapOfItems {
            projection,
            user: ids.raw(user).to_string(),
            train: self.train().row(user).to_vec(),
            test: self.test().row(user).to_vec(),
            distances: distances(&[user]).map_err(usage)?,
            all_distances: distances(&everybody).map_err(usage)?,
            types: types::of_user(&pairs, user, &list, LIST).map_err(usage)?,
            clusters,
        }
        .in_order())
    }

    fn types(&self) -> Result<TypesOfAll, Failure> {
        let clusters = self.clusters()?;
        let longest = TYPE_CUTOFFS.iter().copied().max().unwrap_or(LIST);
        let shares = types::of_all(&self.typed(&clusters), &self.lists(longest)?, &TYPE_CUTOFFS).map_err(usage)?;
        Ok(TypesOfAll { sizes: clusters.sizes, silhouette: clusters.silhouette, shares })
    }

    fn beyond(&self) -> Result<BeyondAccuracy, Failure> {
        let lists = self.lists(LIST)?;
        let context = beyond::Context {
            train: self.train(),
            genres: self.cell.genres,
            items: Some(self.items()),
            seed: self.cell.plan.cell.seed,
        };
        let per_user = self.per_user()?;
        let values = per_user.get(TESTED).unwrap_or_default();
        Ok(BeyondAccuracy {
            lists: beyond::beyond(&lists, &context, &BEYOND_CUTOFFS).map_err(usage)?,
            users: groups::by_activity(&per_user.users, values, self.train()).map_err(usage)?,
            items: groups::by_popularity(&lists, self.train(), self.test(), LIST, ITEM_GROUPS).map_err(usage)?,
        })
    }
}
