//! What an experiment is: a TOML file that names data, rows, seeds and protocols, and how to show what came out.
//!
//! ```toml
//! title = "Table 3"
//! about = "Which tower should learn by backpropagation?"
//! view = "comparison"
//! data = ["ml-100k/split-authors"]
//! protocols = ["paper", "validated"]
//! seeds = [2022, 2023]
//!
//! [options]                      # of every run: the keys of `onebp train --config`
//! eval-every = 5
//!
//! [[row]]
//! name = "mf"
//! options = { method = "mf", epochs = 300 }
//! on.ml-1m = { epochs = 100 }    # where the data set is ML-1M
//!
//! [profile.quick]                # `--profile quick`: a smaller grid of the same experiment
//! seeds = [2022]
//! options = { epochs = 50 }
//! ```
//!
//! Options are taken from the profile first, then from the row on the data set, the row, the data set, the experiment.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use toml::Table;

/// One experiment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Experiment {
    /// Name of the file, without its ending.
    #[serde(skip)]
    pub name: String,
    /// The file.
    #[serde(skip)]
    pub path: PathBuf,
    /// What it is called in the report, such as `Table 3`.
    pub title: String,
    /// The question, in a sentence or two.
    pub about: String,
    /// What the paper says about it.
    #[serde(default)]
    pub claim: Option<String>,
    /// Whether that holds here, in a sentence with the figure that says so: written by hand once results are there.
    #[serde(default)]
    pub verdict: Option<String>,
    /// How results are shown.
    pub view: View,
    /// Place among the sections of the report; by name among those of one place.
    #[serde(default = "last_place")]
    pub order: u32,
    /// Data sets, as for `--data`.
    pub data: Vec<String>,
    /// Protocols, by name.
    #[serde(default = "paper_protocol")]
    pub protocols: Vec<String>,
    /// Seeds; one run for each.
    #[serde(default = "first_seed")]
    pub seeds: Vec<u64>,
    /// Seeds of data sets that have others, by short name.
    #[serde(default)]
    pub seeds_on: BTreeMap<String, Vec<u64>>,
    /// Metrics that are shown.
    #[serde(default = "metrics_of_the_paper")]
    pub metrics: Vec<String>,
    /// The row that the others are compared with.
    #[serde(default)]
    pub champion: Option<String>,
    /// File of the paper's numbers, beside this one.
    #[serde(default)]
    pub paper: Option<PathBuf>,
    /// A row of the paper's numbers that a sweep is drawn against.
    #[serde(default)]
    pub reference: Option<String>,
    /// What is measured on the trained tables, beside the metrics.
    #[serde(default)]
    pub measures: Vec<Measure>,
    /// The user whose list is looked at, by the data's own id; chosen by rule otherwise.
    #[serde(default)]
    pub user: Option<String>,
    /// Options of every run.
    #[serde(default)]
    pub options: Table,
    /// Options by data set.
    #[serde(default)]
    pub on: BTreeMap<String, Table>,
    /// The rows.
    #[serde(default)]
    pub row: Vec<Row>,
    /// An option that every row is run with several values of.
    #[serde(default)]
    pub vary: Option<Vary>,
    /// Smaller grids of the same experiment, by name.
    #[serde(default)]
    pub profile: BTreeMap<String, Profile>,
    /// Sentences about where and why results differ from the paper's.
    #[serde(default)]
    pub remarks: Vec<String>,
}

/// How the results of an experiment are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Counts of the data sets (Table 1).
    Statistics,
    /// Rows by metrics, beside the paper's (Tables 2 and 3).
    Comparison,
    /// Bars of a few metrics (Figure 3).
    Bars,
    /// A metric against an option (Figure 5).
    Sweep,
    /// Items of each genre (Table 4).
    GenreCounts,
    /// Genres found by their centroids (Table 5).
    Genres,
    /// The same as bars (Figure 6).
    GenreBars,
    /// Item vectors in two dimensions, by cluster (Figure 4).
    Map,
    /// What one user is recommended, by type (Figure 7).
    UserTypes,
    /// What all users are recommended, by the rank of the type (Figure 8).
    Types,
    /// Calibration, diversity, and who gains.
    Beyond,
    /// Quality against time.
    Curves,
    /// Seconds of an epoch, and of an evaluation.
    Times,
}

/// What can be measured on trained tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Metrics of single users, for paired tests.
    PerUser,
    /// Genres found by their centroids.
    Genres,
    /// Clusters of items, a map of them, and one user among them.
    Map,
    /// Types that users are recommended.
    Types,
    /// Calibration, diversity, and groups of users and items.
    Beyond,
}

impl Measure {
    /// The name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PerUser => "per-user",
            Self::Genres => "genres",
            Self::Map => "map",
            Self::Types => "types",
            Self::Beyond => "beyond",
        }
    }
}

/// A row: a method with its options.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Row {
    /// A short name, unique in the experiment.
    pub name: String,
    /// What the report calls it; the name otherwise.
    #[serde(default)]
    pub label: Option<String>,
    /// A heading under which rows are grouped.
    #[serde(default)]
    pub group: Option<String>,
    /// Look at the tables as they were drawn: nothing is trained.
    #[serde(default)]
    pub untrained: bool,
    /// Options of its runs.
    #[serde(default)]
    pub options: Table,
    /// Options by data set.
    #[serde(default)]
    pub on: BTreeMap<String, Table>,
}

impl Row {
    /// What the report calls it.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }
}

/// An option that takes several values.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Vary {
    /// What the axis is called.
    pub axis: String,
    /// Whether the axis is logarithmic.
    #[serde(default)]
    pub logarithmic: bool,
    /// The places on the axis, each with options of its own.
    pub points: Vec<Point>,
}

/// One value of the option that varies.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Point {
    /// The place on the axis.
    pub at: f64,
    /// Options of the runs there.
    pub options: Table,
}

/// A smaller grid of the same experiment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Profile {
    /// Data sets instead of the experiment's.
    pub data: Option<Vec<String>>,
    /// Protocols instead of the experiment's.
    pub protocols: Option<Vec<String>>,
    /// Seeds instead of the experiment's.
    pub seeds: Option<Vec<u64>>,
    /// Rows, by name, instead of all.
    pub rows: Option<Vec<String>>,
    /// Options over all others, for every run.
    pub options: Table,
    /// Options over all others, by row.
    pub row: BTreeMap<String, Table>,
}

fn last_place() -> u32 {
    100
}

fn paper_protocol() -> Vec<String> {
    vec!["paper".into()]
}

fn first_seed() -> Vec<u64> {
    vec![2022]
}

fn metrics_of_the_paper() -> Vec<String> {
    [5, 10, 20].iter().flat_map(|k| ["P", "R", "F1", "NDCG"].map(|name| format!("{name}@{k}"))).collect()
}

impl Experiment {
    /// Reads an experiment.
    ///
    /// # Errors
    /// [`Error::Experiment`] naming the file, the line and what to do.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), source })?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let parsed: Self = toml::from_str(&text).map_err(|error| Error::Experiment {
            path: path.into(),
            line: error.span().map(|span| text[..span.start].matches('\n').count() + 1),
            problem: error.message().lines().next().unwrap_or("invalid").to_string(),
        })?;
        let experiment = Self { name, path: path.into(), ..parsed };
        experiment.check()?;
        Ok(experiment)
    }

    /// All experiments of a folder, in the order of the report.
    ///
    /// # Errors
    /// As [`Experiment::read`], and where the folder cannot be listed.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>, Error> {
        let io = |source| Error::Io { path: folder.into(), source };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut all: Vec<Self> = paths.iter().map(|path| Self::read(path)).collect::<Result<_, _>>()?;
        all.sort_by_key(|experiment| experiment.order);
        Ok(all)
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |problem: String| Err(Error::Experiment { path: self.path.clone(), line: None, problem });
        if self.data.is_empty() {
            return refuse("`data` is empty; name at least one data set".into());
        }
        if self.view != View::Statistics && self.row.is_empty() {
            return refuse("there is no [[row]]; give at least one".into());
        }
        for (at, row) in self.row.iter().enumerate() {
            if self.row[..at].iter().any(|other| other.name == row.name) {
                return refuse(format!("two rows are called `{}`; names must differ", row.name));
            }
            if row.name.is_empty() || row.name.contains(['/', '\\', ' ']) {
                return refuse(format!("`{}` is no name for a row; use letters, digits, `-`, `+` and `.`", row.name));
            }
        }
        let known = |name: &String| self.row.iter().any(|row| row.name == *name);
        let profiles = self.profile.values();
        let named = profiles.flat_map(|profile| profile.rows.iter().flatten().chain(profile.row.keys()));
        if let Some(name) = named.chain(&self.champion).find(|name| !known(name)) {
            let rows: Vec<&str> = self.row.iter().map(|row| row.name.as_str()).collect();
            return refuse(format!("there is no row `{name}`; rows are {}", rows.join(", ")));
        }
        for protocol in self.protocols.iter().chain(self.profile.values().flat_map(|p| p.protocols.iter().flatten())) {
            if !["paper", "validated", "final"].contains(&protocol.as_str()) {
                return refuse(format!("there is no protocol `{protocol}`; use paper, validated or final"));
            }
        }
        if self.vary.as_ref().is_some_and(|vary| vary.points.is_empty())
            || self.vary.is_none() && self.view == View::Sweep
        {
            return refuse("a sweep needs [vary] with at least one point".into());
        }
        Ok(())
    }

    /// The row called `name`.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.row.iter().find(|row| row.name == name)
    }
}

/// The short name of a data set: the first part of its NAME, as in `ml-100k/split-authors`, or the last of a path.
pub fn short_name(data: &str) -> &str {
    let path = Path::new(data);
    if path.is_absolute() || data.starts_with('.') {
        return path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(data);
    }
    data.split(['/', '\\']).next().unwrap_or(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Experiment, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table-9.toml");
        std::fs::write(&path, text).unwrap();
        Experiment::read(&path).map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "table-9.toml"))
    }

    const HEAD: &str = "title = \"T\"\nabout = \"A\"\nview = \"comparison\"\ndata = [\"synthetic\"]\n";

    #[test]
    fn a_file_and_its_defaults() {
        let experiment = parse(&format!("{HEAD}[[row]]\nname = \"mf\"\non.ml-1m = {{ epochs = 3 }}\n")).unwrap();
        assert_eq!((experiment.name.as_str(), experiment.seeds.as_slice()), ("table-9", [2022].as_slice()));
        assert_eq!(experiment.metrics.len(), 12);
        assert_eq!(experiment.row[0].on["ml-1m"]["epochs"].as_integer(), Some(3));
        assert_eq!(experiment.row("mf").unwrap().label(), "mf");
    }

    #[test]
    fn mistakes_name_the_file_and_the_line() {
        assert_eq!(
            parse(&format!("{HEAD}sedes = [1]\n")).unwrap_err().split(", expected").next().unwrap(),
            "table-9.toml:5: unknown field `sedes`"
        );
        assert_eq!(parse(HEAD).unwrap_err(), "table-9.toml: there is no [[row]]; give at least one");
        let twice = format!("{HEAD}[[row]]\nname = \"a\"\n[[row]]\nname = \"a\"\n");
        assert_eq!(parse(&twice).unwrap_err(), "table-9.toml: two rows are called `a`; names must differ");
        let champion = format!("{HEAD}champion = \"b\"\n[[row]]\nname = \"a\"\n");
        assert_eq!(parse(&champion).unwrap_err(), "table-9.toml: there is no row `b`; rows are a");
        let protocol = format!("{HEAD}protocols = [\"best\"]\n[[row]]\nname = \"a\"\n");
        assert!(parse(&protocol).unwrap_err().contains("no protocol `best`; use paper"));
        assert!(parse(&HEAD.replace("comparison", "comparsion")).unwrap_err().contains(":3: unknown variant"));
    }

    #[test]
    fn short_names() {
        assert_eq!(short_name("ml-100k/split-authors"), "ml-100k");
        assert_eq!(short_name("/data/mine/ratings.csv"), "ratings");
        assert_eq!(short_name("synthetic"), "synthetic");
    }
}
