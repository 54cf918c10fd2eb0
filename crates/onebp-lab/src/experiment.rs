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
    /// Show the rows of the paper's numbers that are none of its own, too.
    #[serde(default)]
    pub others: bool,
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

impl View {
    /// What it shows beside metrics.
    fn needs(self) -> Option<Measure> {
        match self {
            Self::Genres | Self::GenreBars | Self::GenreCounts => Some(Measure::Genres),
            Self::Map | Self::UserTypes => Some(Measure::Map),
            Self::Types => Some(Measure::Types),
            Self::Beyond => Some(Measure::Beyond),
            _ => None,
        }
    }
}

/// Kinds of metrics that have a cutoff.
const KINDS: [&str; 10] = ["P", "R", "F1", "NDCG", "HR", "MRR", "MAP", "coverage", "Gini", "ARP"];

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

/// A measurement that a run is to have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// What is measured.
    pub measure: Measure,
    /// The user that a map shows, by the data's own id; chosen by rule otherwise.
    pub user: Option<String>,
}

impl Wanted {
    /// The name that it is kept under.
    pub fn key(&self) -> String {
        match &self.user {
            Some(user) => format!("{}-{user}", self.measure.as_str()),
            None => self.measure.as_str().into(),
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

/// The key whose value has the wrong type, which serde does not name.
fn key_at(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().filter(|_| error.message().starts_with("invalid")).map(|span| span.start);
    let key = start.and_then(|start| {
        let line = &text[text[..start].rfind('\n').map_or(0, |end| end + 1)..start];
        line.trim_end().strip_suffix('=').map(|key| key.rsplit(['{', ',']).next().unwrap_or(key).trim().to_string())
    });
    key.map_or_else(String::new, |key| format!("`{key}`: "))
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
            problem: format!("{}{}", key_at(&text, &error), error.message().lines().next().unwrap_or("invalid")),
        })?;
        let experiment = Self { name, path: path.into(), ..parsed };
        experiment.check()?;
        Ok(experiment)
    }

    /// All experiments of a folder, in the order of the report; and what is wrong with files that are none.
    ///
    /// # Errors
    /// Where the folder cannot be listed.
    pub fn read_all(folder: &Path) -> Result<(Vec<Self>, Vec<Error>), Error> {
        let io = |source| Error::Io { path: folder.into(), source };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        let (mut all, mut wrong) = (Vec::new(), Vec::new());
        for path in &paths {
            match Self::read(path) {
                Ok(experiment) => all.push(experiment),
                Err(error) => wrong.push(error),
            }
        }
        all.sort_by(|a, b| a.order.cmp(&b.order).then_with(|| a.name.cmp(&b.name)));
        Ok((all, wrong))
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |problem: String| Err(self.refuse(problem));
        if self.row.is_empty() {
            return refuse("there is no [[row]]; give at least one".into());
        }
        if let Some(measure) = self.view.needs().filter(|measure| !self.measures.contains(measure)) {
            return refuse(format!("this view shows what `measures = [\"{}\"]` measures; add it", measure.as_str()));
        }
        self.check_lists()?;
        self.check_options()?;
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
        let Some(vary) = &self.vary else {
            return if self.view == View::Sweep { refuse("a sweep needs [vary] with `points`".into()) } else { Ok(()) };
        };
        if self.view != View::Sweep {
            return refuse("[vary] is for `view = \"sweep\"`".into());
        }
        if vary.points.is_empty() {
            return refuse("[vary] needs at least one point".into());
        }
        for (index, point) in vary.points.iter().enumerate() {
            if !point.at.is_finite() || vary.logarithmic && point.at <= 0.0 {
                return refuse(format!("at = {} has no place on the axis", point.at));
            }
            if vary.points[..index].iter().any(|other| other.at == point.at) {
                return refuse(format!("two points are at {}; places must differ", point.at));
            }
        }
        Ok(())
    }

    /// Lists must say something, once each.
    fn check_lists(&self) -> Result<(), Error> {
        let refuse = |problem: String| Err(self.refuse(problem));
        let of_profiles = |of: fn(&Profile) -> Option<&Vec<String>>| self.profile.values().filter_map(of);
        let seeds = [&self.seeds].into_iter().chain(self.seeds_on.values());
        let seeds = seeds.chain(self.profile.values().filter_map(|profile| profile.seeds.as_ref()));
        let seeds = seeds.map(|seeds| ("seeds", seeds.iter().map(u64::to_string).collect::<Vec<_>>()));
        let mut lists: Vec<(&str, Vec<String>)> = seeds.collect();
        lists.extend([("data", self.data.clone()), ("metrics", self.metrics.clone())]);
        lists.extend(of_profiles(|profile| profile.data.as_ref()).map(|data| ("data", data.clone())));
        lists.extend(of_profiles(|profile| profile.rows.as_ref()).map(|rows| ("rows", rows.clone())));
        let protocols = of_profiles(|profile| profile.protocols.as_ref()).chain([&self.protocols]);
        for protocol in protocols.clone().flatten() {
            if !["paper", "validated", "final"].contains(&protocol.as_str()) {
                return refuse(format!("there is no protocol `{protocol}`; use paper, validated or final"));
            }
        }
        lists.extend(protocols.map(|protocols| ("protocols", protocols.clone())));
        for (name, mut list) in lists {
            if list.is_empty() {
                return refuse(format!("`{name}` is empty; name at least one"));
            }
            list.sort();
            if let Some(twice) = list.windows(2).find(|pair| pair[0] == pair[1]) {
                return refuse(format!("`{name}` names {} twice", twice[0]));
            }
        }
        let is_metric = |name: &&String| {
            let (kind, cutoff) = name.split_once('@').unwrap_or((name, ""));
            name.as_str() == "AUC" || KINDS.contains(&kind) && ["5", "10", "20"].contains(&cutoff)
        };
        if let Some(odd) = self.metrics.iter().find(|name| !is_metric(name)) {
            return refuse(format!(
                "there is no metric `{odd}`; use AUC, or {} at 5, 10 or 20, as in P@5",
                KINDS.join(", ")
            ));
        }
        Ok(())
    }

    /// What the grid decides is no option, and what is said of a data set must be of one that is there.
    fn check_options(&self) -> Result<(), Error> {
        let refuse = |problem: String| Err(self.refuse(problem));
        let rows = self.row.iter().flat_map(|row| row.on.values().chain([&row.options]));
        let profiles = self.profile.values().flat_map(|profile| profile.row.values().chain([&profile.options]));
        let points = self.vary.iter().flat_map(|vary| &vary.points).map(|point| &point.options);
        let tables = rows.chain(profiles).chain(points).chain(self.on.values()).chain([&self.options]);
        for (key, list) in [("data", "data"), ("seed", "seeds"), ("protocol", "protocols")] {
            if tables.clone().any(|table| table.contains_key(key)) {
                return refuse(format!("`{key}` is no option of a row: the experiment's `{list}` decides"));
            }
        }
        let known: Vec<&str> = self.data.iter().map(|data| short_name(data)).collect();
        let named = self.row.iter().flat_map(|row| row.on.keys()).chain(self.on.keys()).chain(self.seeds_on.keys());
        if let Some(odd) = named.into_iter().find(|name| !known.contains(&name.as_str())) {
            return refuse(format!("`{odd}` is none of its data sets, which are {}", known.join(", ")));
        }
        Ok(())
    }

    /// What is wrong with the file, and what would be right.
    pub(crate) fn refuse(&self, problem: String) -> Error {
        Error::Experiment { path: self.path.clone(), line: None, problem }
    }

    /// A measurement as this experiment wants it.
    pub fn wanted(&self, measure: Measure) -> Wanted {
        Wanted { measure, user: self.user.clone().filter(|_| measure == Measure::Map) }
    }

    /// The row called `name`.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.row.iter().find(|row| row.name == name)
    }
}

/// Whether `data` is a path, and no NAME in the data directory.
pub fn is_path(data: &str) -> bool {
    let path = Path::new(data);
    path.is_absolute() || data.starts_with('.') || path.extension().is_some()
}

/// The short name of a data set: the first part of its NAME, as in `ml-100k/split-authors`, or the last of a path.
pub fn short_name(data: &str) -> &str {
    if is_path(data) {
        return Path::new(data).file_stem().and_then(|stem| stem.to_str()).unwrap_or(data);
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

    #[test]
    fn what_says_nothing_or_twice_is_refused() {
        let row = "[[row]]\nname = \"a\"\n";
        let refused = |text: &str| parse(&format!("{HEAD}{text}")).unwrap_err().replace("table-9.toml: ", "");
        assert_eq!(refused(&format!("seeds = []\n{row}")), "`seeds` is empty; name at least one");
        assert_eq!(refused(&format!("seeds = [1, 2, 1]\n{row}")), "`seeds` names 1 twice");
        assert!(
            refused(&format!("metrics = [\"P@7\"]\n{row}")).starts_with("there is no metric `P@7`; use AUC, or P, R")
        );
        assert!(refused(&format!("{row}options = {{ seed = 1 }}\n")).starts_with("`seed` is no option of a row"));
        assert!(refused(&format!("{row}on.mll = {{ lr = 1 }}\n")).starts_with("`mll` is none of its data sets"));
        let vary = |points: &str| format!("{row}[vary]\naxis = \"x\"\npoints = [{points}]\n");
        assert_eq!(refused(&vary("{ at = 1, options = {} }")), "[vary] is for `view = \"sweep\"`");
        let sweep = |points: &str| {
            let text = format!("{}{}", HEAD.replace("comparison", "sweep"), vary(points));
            parse(&text).unwrap_err().replace("table-9.toml: ", "")
        };
        assert_eq!(
            sweep("{ at = 1, options = {} }, { at = 1, options = {} }"),
            "two points are at 1; places must differ"
        );
        assert_eq!(sweep("{ at = nan, options = {} }"), "at = NaN has no place on the axis");
        let map = parse(&format!("{}{row}", HEAD.replace("comparison", "map"))).unwrap_err();
        assert!(map.contains("this view shows what `measures = [\"map\"]` measures"), "{map}");
    }

    const HEAD: &str = "title = \"T\"\nabout = \"A\"\nview = \"comparison\"\ndata = [\"synthetic\"]\n";

    #[test]
    fn a_file_and_its_defaults() {
        let experiment = parse(&format!("{HEAD}[[row]]\nname = \"mf\"\non.synthetic = {{ epochs = 3 }}\n")).unwrap();
        assert_eq!((experiment.name.as_str(), experiment.seeds.as_slice()), ("table-9", [2022].as_slice()));
        assert_eq!(experiment.metrics.len(), 12);
        assert_eq!(experiment.row[0].on["synthetic"]["epochs"].as_integer(), Some(3));
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
        for (text, problem) in [
            ("seeds = \"x\"\n", ":5: `seeds`: invalid type: string \"x\""),
            ("profile.a = { data = 1 }\n", ":5: `data`: invalid type: integer `1`"),
            ("profile.a = { rows = [\"a\"], seeds = 1 }\n", ":5: `seeds`: invalid type: integer `1`"),
        ] {
            let error = parse(&format!("{HEAD}{text}")).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn short_names() {
        assert_eq!(short_name("ml-100k/split-authors"), "ml-100k");
        assert_eq!(short_name("/data/mine/ratings.csv"), "ratings");
        assert_eq!(short_name("synthetic"), "synthetic");
        assert_eq!(["data/a.csv", "./own/b.csv"].map(short_name), ["a", "b"]);
    }
}
