//! The runs of an experiment, laid out for showing: by data set, protocol, row and place, with seeds taken together.

use crate::{
    Cell, CellResult, Experiment, Paper,
    experiment::{Measure, Row, is_path, short_name},
    result::FailedCell,
};

/// A cell with what came of it.
#[derive(Clone, Debug)]
pub struct Placed<'a> {
    /// The cell.
    pub cell: Cell,
    /// The finished run.
    pub result: Option<&'a CellResult>,
    /// Why there is none, where it failed.
    pub failure: Option<&'a FailedCell>,
}

/// An experiment with its runs.
#[derive(Clone, Debug)]
pub struct Gathered<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The paper's numbers; none where there are no such.
    pub paper: Paper,
    /// The cells of the grid.
    pub placed: Vec<Placed<'a>>,
}

/// A mean over seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Standard deviation of the sample; 0 of one.
    pub deviation: f64,
    /// How many.
    pub count: usize,
}

impl Mean {
    /// The mean of `values`, if there are any.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let value = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|x| (x - value).powi(2)).sum();
        Some(Self { value, deviation: (squares / (count.max(2) - 1) as f64).sqrt(), count })
    }
}

/// Which runs: all seeds of these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place<'b> {
    /// Data set, as for `--data`.
    pub data: &'b str,
    /// Protocol.
    pub protocol: &'b str,
    /// Name of the row.
    pub row: &'b str,
    /// Place on the axis.
    pub at: Option<f64>,
}

impl Placed<'_> {
    /// What `experiment` measures and the finished run lacks: each with the reason, where there is one.
    pub fn lacks(&self, experiment: &Experiment) -> Vec<String> {
        let Some(result) = self.result else { return Vec::new() };
        let keys = experiment.measures.iter().map(|&measure| experiment.wanted(measure).key());
        let missing = keys.filter(|key| !result.measurements.contains_key(key));
        let reason = |key: String| match result.unmeasured.get(&key) {
            Some(problem) => format!("{key} could not be measured: {problem}"),
            None => format!("{key} has not been measured"),
        };
        missing.map(reason).collect()
    }
}

impl<'a> Gathered<'a> {
    /// The cells of `experiment`, each with what came of it.
    pub fn new(experiment: &'a Experiment, paper: Paper, placed: Vec<Placed<'a>>) -> Self {
        Self { experiment, paper, placed }
    }

    /// The data sets with a finished run, in order.
    pub fn data(&self) -> Vec<&str> {
        self.distinct(|cell| &cell.data)
    }

    /// The protocols with a finished run, in order.
    pub fn protocols(&self) -> Vec<&str> {
        self.distinct(|cell| &cell.protocol)
    }

    fn distinct<'b>(&'b self, of: impl Fn(&'b Cell) -> &'b String) -> Vec<&'b str> {
        let mut found: Vec<&str> = Vec::new();
        for placed in self.placed.iter().filter(|placed| placed.result.is_some()) {
            let value = of(&placed.cell).as_str();
            if !found.contains(&value) {
                found.push(value);
            }
        }
        found
    }

    /// The rows with a finished run at `data` and `protocol`.
    pub fn rows(&self, data: &str, protocol: &str) -> Vec<&'a Row> {
        let there = |row: &&Row| {
            self.placed.iter().any(|placed| {
                let cell = &placed.cell;
                placed.result.is_some() && cell.data == data && cell.protocol == protocol && cell.row == row.name
            })
        };
        self.experiment.row.iter().filter(there).collect()
    }

    /// The data sets and protocols with a finished run, with their rows.
    pub fn tables(&self) -> Vec<(&str, &str, Vec<&'a Row>)> {
        let protocols = self.protocols();
        let pairs = self.data().into_iter().flat_map(|data| protocols.iter().map(move |&protocol| (data, protocol)));
        let tables = pairs.map(|(data, protocol)| (data, protocol, self.rows(data, protocol)));
        tables.filter(|(_, _, rows)| !rows.is_empty()).collect()
    }

    /// A measurement of each of `rows`, of its first seed, as far as there is one.
    pub fn measured<T: serde::de::DeserializeOwned>(
        &self,
        data: &str,
        protocol: &str,
        rows: &[&'a Row],
        measure: Measure,
    ) -> Vec<(&'a Row, T)> {
        let wanted = self.experiment.wanted(measure);
        let of = |row: &&'a Row| {
            let results = self.results(Place { data, protocol, row: &row.name, at: None });
            Some((*row, results.into_iter().find_map(|result| result.measurement(&wanted))?))
        };
        rows.iter().filter_map(of).collect()
    }

    /// The finished runs of a place, one a seed.
    pub fn results(&self, place: Place<'_>) -> Vec<&'a CellResult> {
        let here = |placed: &&Placed<'a>| {
            let cell = &placed.cell;
            cell.data == place.data && cell.protocol == place.protocol && cell.row == place.row && cell.at == place.at
        };
        self.placed.iter().filter(here).filter_map(|placed| placed.result).collect()
    }

    /// The mean of a metric over seeds.
    pub fn mean(&self, place: Place<'_>, metric: &str) -> Option<Mean> {
        let values: Vec<f64> = self.results(place).iter().filter_map(|result| result.reported(metric)).collect();
        Mean::of(&values)
    }

    /// What the paper's numbers call a data set. A file of one's own may be called like one of the paper's: only by its whole path
    /// is it meant.
    pub fn called<'b>(&self, data: &'b str) -> &'b str {
        if is_path(data) { data } else { short_name(data) }
    }

    /// A number of the paper.
    pub fn published(&self, data: &str, row: &str, column: &str) -> Option<f64> {
        self.paper.get(self.called(data), row, column)
    }

    /// A name for what is shown of `data` under `protocol`: of files, ids and links.
    pub fn name(&self, data: &str, protocol: &str) -> String {
        let short = short_name(data);
        // Files of one name in different folders are told apart by their place in the list.
        let alike: Vec<&str> = self.data().into_iter().filter(|other| short_name(other) == short).collect();
        let at = alike.iter().position(|other| *other == data).filter(|at| *at > 0);
        let number = at.map(|at| format!("-{}", at + 1)).unwrap_or_default();
        format!("{}-{short}{number}-{protocol}", self.experiment.name)
    }

    /// How many cells are finished, and how many there are.
    pub fn finished(&self) -> (usize, usize) {
        (self.placed.iter().filter(|placed| placed.result.is_some()).count(), self.placed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means() {
        assert_eq!(Mean::of(&[]), None);
        assert_eq!(Mean::of(&[2.0]), Some(Mean { value: 2.0, deviation: 0.0, count: 1 }));
        assert_eq!(Mean::of(&[1.0, 3.0]), Some(Mean { value: 2.0, deviation: 2f64.sqrt(), count: 2 }));
    }
}
