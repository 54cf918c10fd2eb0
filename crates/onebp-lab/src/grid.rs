//! From an experiment to its runs: the product of data sets, rows, points, protocols and seeds.

use crate::{
    Error, Experiment,
    experiment::{Profile, short_name},
};
use toml::Table;

/// One run of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The data set, as for `--data`.
    pub data: String,
    /// Name of the row.
    pub row: String,
    /// Place on the axis, where an option varies.
    pub at: Option<f64>,
    /// The protocol, by name.
    pub protocol: String,
    /// The seed.
    pub seed: u64,
    /// Whether the tables are looked at as they were drawn.
    pub untrained: bool,
    /// The options of the run, as a configuration file would give them.
    pub options: Table,
}

impl Cell {
    /// What people call the cell.
    pub fn name(&self) -> String {
        let at = self.at.map(|at| format!(" at {at}")).unwrap_or_default();
        format!("{} {}{at}, {}, seed {}", short_name(&self.data), self.row, self.protocol, self.seed)
    }
}

/// What is taken of a grid, instead of what the experiment says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// A profile, by name.
    pub profile: Option<String>,
    /// Data sets; those of the experiment that carry one of these short or whole names, or else any data.
    pub data: Vec<String>,
    /// Rows, by name.
    pub rows: Vec<String>,
    /// Protocols.
    pub protocols: Vec<String>,
    /// Seeds.
    pub seeds: Vec<u64>,
}

impl Experiment {
    /// The profile called `name`; nothing changes without a name.
    ///
    /// # Errors
    /// [`Error::Experiment`] where it has none of that name.
    fn profile(&self, name: Option<&str>) -> Result<Profile, Error> {
        let Some(name) = name else { return Ok(Profile::default()) };
        self.profile.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.profile.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "it has none".into() } else { format!("it has {}", known.join(", ")) };
            self.refuse(format!("there is no profile `{name}`; {known}"))
        })
    }

    /// The cells of the grid, in the order in which the report shows them; none for an experiment without rows.
    ///
    /// # Errors
    /// [`Error::Experiment`] where `choice` names what the experiment does not have.
    pub fn cells(&self, choice: &Choice) -> Result<Vec<Cell>, Error> {
        let profile = self.profile(choice.profile.as_deref())?;
        let data = self.data_of(choice)?;
        let protocols = chosen(&choice.protocols, profile.protocols.as_ref(), &self.protocols);
        let names: Vec<String> = self.row.iter().map(|row| row.name.clone()).collect();
        let rows = chosen(&choice.rows, profile.rows.as_ref(), &names);
        if let Some(odd) = rows.iter().find(|name| !names.contains(name)) {
            return Err(self.refuse(format!("there is no row `{odd}`; rows are {}", names.join(", "))));
        }
        let points: Vec<(Option<f64>, Table)> = match &self.vary {
            Some(vary) => vary.points.iter().map(|point| (Some(point.at), point.options.clone())).collect(),
            None => vec![(None, Table::new())],
        };
        let mut cells = Vec::new();
        for data in &data {
            let short = short_name(data);
            let own = self.seeds_on.get(short).unwrap_or(&self.seeds);
            let seeds = chosen(&choice.seeds, profile.seeds.as_ref(), own);
            for row in self.row.iter().filter(|row| rows.contains(&row.name)) {
                for (at, point) in &points {
                    let mut options = self.options.clone();
                    let layers = [self.on.get(short), Some(&row.options), row.on.get(short), Some(point)];
                    let over = [Some(&profile.options), profile.row.get(&row.name)];
                    layers.into_iter().chain(over).flatten().for_each(|layer| options.extend(layer.clone()));
                    for protocol in &protocols {
                        for &seed in &seeds {
                            let mut options = options.clone();
                            options.insert("data".into(), data.as_str().into());
                            options.insert("protocol".into(), protocol.as_str().into());
                            options.insert("seed".into(), toml::Value::Integer(seed as i64));
                            cells.push(Cell {
                                data: data.clone(),
                                row: row.name.clone(),
                                at: *at,
                                protocol: protocol.clone(),
                                seed,
                                untrained: row.untrained,
                                options,
                            });
                        }
                    }
                }
            }
        }
        Ok(cells)
    }

    /// The data sets of the grid.
    ///
    /// # Errors
    /// As [`Experiment::cells`].
    pub fn data_of(&self, choice: &Choice) -> Result<Vec<String>, Error> {
        let profile = self.profile(choice.profile.as_deref())?;
        let own = profile.data.as_ref().unwrap_or(&self.data);
        if choice.data.is_empty() {
            return Ok(own.clone());
        }
        let known = own.iter().chain(&self.data);
        let find = |wanted: &String| {
            known.clone().find(|data| *data == wanted || short_name(data) == wanted).unwrap_or(wanted).clone()
        };
        Ok(choice.data.iter().map(find).collect())
    }
}

/// The first of these that says something.
fn chosen<T: Clone>(choice: &[T], profile: Option<&Vec<T>>, own: &[T]) -> Vec<T> {
    if !choice.is_empty() {
        return choice.to_vec();
    }
    profile.map_or_else(|| own.to_vec(), Clone::clone)
}

/// The cells of shard `index` (from 1) of `shards`, of cells in ascending order of cost: each shard gets as much as another.
pub fn shard<T>(cells: Vec<T>, index: usize, shards: usize) -> Vec<T> {
    cells.into_iter().enumerate().filter(|(at, _)| at % shards == index - 1).map(|(_, cell)| cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment() -> Experiment {
        toml::from_str(
            r#"
            title = "T"
            about = "A"
            view = "sweep"
            data = ["ml-100k/split-authors", "ml-1m/split-authors"]
            protocols = ["paper", "validated"]
            seeds = [1, 2]
            [options]
            epochs = 10
            lr = 0.1
            [on.ml-1m]
            epochs = 5
            [[row]]
            name = "a"
            options = { method = "mf", lr = 0.2 }
            [[row]]
            name = "b"
            on.ml-1m = { epochs = 7 }
            [vary]
            axis = "S"
            points = [{ at = 1, options = { negatives = 1 } }, { at = 5, options = { negatives = 5 } }]
            [profile.quick]
            data = ["ml-100k/split-authors"]
            seeds = [3]
            protocols = ["paper"]
            options = { epochs = 2 }
            row.b = { lr = 0.5 }
            "#,
        )
        .unwrap()
    }

    #[test]
    fn the_product_of_everything() {
        let cells = experiment().cells(&Choice::default()).unwrap();
        assert_eq!(cells.len(), 2 * 2 * 2 * 2 * 2);
        assert_eq!(cells[0].name(), "ml-100k a at 1, paper, seed 1");
        let of = |row: &str, data: &str| {
            cells.iter().find(|cell| cell.row == row && cell.data.starts_with(data)).unwrap().options.clone()
        };
        assert_eq!(of("a", "ml-100k")["lr"].as_float(), Some(0.2), "rows over the experiment");
        assert_eq!(of("a", "ml-1m")["epochs"].as_integer(), Some(5), "data sets over the experiment");
        assert_eq!(of("b", "ml-1m")["epochs"].as_integer(), Some(7), "rows on data sets over both");
        assert_eq!(of("b", "ml-1m")["data"].as_str(), Some("ml-1m/split-authors"));
    }

    #[test]
    fn profiles_and_choices() {
        let experiment = experiment();
        let quick = Choice { profile: Some("quick".into()), ..Choice::default() };
        let cells = experiment.cells(&quick).unwrap();
        assert_eq!(cells.len(), 4);
        assert_eq!(cells[2].options["epochs"].as_integer(), Some(2));
        assert_eq!(cells[2].options["lr"].as_float(), Some(0.5));
        let choice = Choice { data: vec!["ml-1m".into(), "mine.csv".into()], rows: vec!["b".into()], ..quick };
        let cells = experiment.cells(&choice).unwrap();
        let data: Vec<&str> = cells.iter().map(|cell| cell.data.as_str()).collect();
        assert_eq!(data, ["ml-1m/split-authors", "ml-1m/split-authors", "mine.csv", "mine.csv"]);
        let refused = |choice: Choice| experiment.cells(&choice).unwrap_err().to_string();
        assert!(refused(Choice { profile: Some("fast".into()), ..Choice::default() }).contains("it has quick"));
        assert!(refused(Choice { rows: vec!["c".into()], ..Choice::default() }).contains("rows are a, b"));
    }

    #[test]
    fn shards_share_the_cells() {
        let shards: Vec<Vec<u32>> = (1..=3).map(|index| shard((0..8).collect(), index, 3)).collect();
        assert_eq!(shards, [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
    }
}
