//! What a folder holds: a prepared data set, a split, or one file of interactions.
//!
//! A file is a part of a split if its name without the ending is `train`, `test`, `valid` or `validation`, or ends in
//! one of these after `.`, `_` or `-` (`ml-100k.train.inter`, `100k_test.csv`). Names that accompany data sets, such as
//! `README` or `movies.csv`, are passed over.

use crate::Error;
use crate::error::quote;
use std::path::{Path, PathBuf};

/// The card of a prepared folder.
pub(crate) const CARD: &str = "dataset.json";

/// All of these are there in a prepared folder; `dataset.json` alone may be anybody's.
const PREPARED: [&str; 4] = [CARD, "users.tsv", "items.tsv", "train.tsv"];

/// What [`look`] found.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// A folder written by `write_prepared`.
    Prepared,
    /// A split made by others.
    Split { train: PathBuf, valid: Option<PathBuf>, test: PathBuf },
    /// Interactions to be split.
    Single(PathBuf),
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Train,
    Valid,
    Test,
}

/// Looks what `folder` holds, by names only.
///
/// # Errors
/// [`Error::File`] where there is nothing readable or more than one candidate, with the candidates.
pub(crate) fn look(folder: &Path) -> Result<Found, Error> {
    let names = names(folder)?;
    if PREPARED.iter().all(|needed| names.iter().any(|name| name == needed)) {
        return Ok(Found::Prepared);
    }
    let data: Vec<&String> = names.iter().filter(|name| is_data(name)).collect();
    let part = |role: Role, called: &str| {
        let of_role: Vec<&&String> = data.iter().filter(|name| self::role(name) == Some(role)).collect();
        match of_role[..] {
            [] => Ok(None),
            [one] => Ok(Some(folder.join(one))),
            _ => Err(ambiguous(folder, &format!("{} {called} files", of_role.len()), &of_role)),
        }
    };
    match (part(Role::Train, "training")?, part(Role::Valid, "validation")?, part(Role::Test, "test")?) {
        (Some(train), valid, Some(test)) => return Ok(Found::Split { train, valid, test }),
        (None, None, None) => {}
        (train, valid, test) => {
            let missing = if train.is_some() { "test" } else { "training" };
            let there: Vec<String> = [train, valid, test]
                .iter()
                .flatten()
                .filter_map(|path| path.file_name())
                .map(|name| quote(&name.to_string_lossy()))
                .collect();
            return Err(Error::file(
                folder,
                format!("holds {} and no {missing} file", there.join(" and ")),
                format!("add the {missing} file, or name one file to have it split"),
            ));
        }
    }
    // The files data sets are known for outrank others, which may be anything.
    let known: Vec<&String> = data.iter().copied().filter(|name| is_known(name)).collect();
    match (&known[..], &data[..]) {
        ([one], _) | ([], [one]) => Ok(Found::Single(folder.join(one))),
        ([], []) => Err(Error::file(
            folder,
            "holds no file of interactions",
            "put train.* and test.* there, or one file such as u.data, ratings.csv, *.inter, *.tsv or *.parquet",
        )),
        ([], several) | (several, _) => Err(ambiguous(folder, "several files of interactions", several)),
    }
}

/// A file in `folder` called `stem` with an ending of tables, such as `item-map.csv`.
pub(crate) fn companion(folder: &Path, stem: &str) -> Option<PathBuf> {
    ["csv", "tsv", "txt"].iter().map(|ending| folder.join(format!("{stem}.{ending}"))).find(|path| path.is_file())
}

/// Names of the files in `folder`, sorted, without hidden ones.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn stem_and_ending(name: &str) -> (String, String) {
    let name = name.to_lowercase();
    let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
    (stem.to_owned(), ending.to_owned())
}

fn is_data(name: &str) -> bool {
    const ENDINGS: &[&str] = &["csv", "tsv", "txt", "dat", "data", "inter", "parquet", "pq"];
    const ACCOMPANY: &[&str] = &[
        "user-map",
        "item-map",
        "movies",
        "users",
        "items",
        "tags",
        "links",
        "genome-tags",
        "genome-scores",
        "titles",
        "user_list",
        "item_list",
        "entity_list",
        "relation_list",
        "kg_final",
    ];
    let (stem, ending) = stem_and_ending(name);
    ENDINGS.contains(&&*ending)
        && !ACCOMPANY.contains(&&*stem)
        && !stem.starts_with("readme")
        && !stem.starts_with("license")
}

fn is_known(name: &str) -> bool {
    let (stem, ending) = stem_and_ending(name);
    ending == "inter" || matches!((&*stem, &*ending), ("u", "data") | ("ratings", "dat" | "csv" | "tsv" | "parquet"))
}

fn role(name: &str) -> Option<Role> {
    let (stem, _) = stem_and_ending(name);
    match stem.rsplit(['.', '_', '-']).next() {
        Some("train") => Some(Role::Train),
        Some("valid" | "validation") => Some(Role::Valid),
        Some("test") => Some(Role::Test),
        _ => None,
    }
}

fn ambiguous<T: AsRef<str>>(folder: &Path, what: &str, names: &[T]) -> Error {
    let names: Vec<String> = names.iter().map(|name| quote(name.as_ref())).collect();
    Error::file(folder, format!("holds {what}: {}", names.join(", ")), "name the one file, or move the others away")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at(names: &[&str]) -> Result<Found, String> {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap());
        let short = |path: PathBuf| PathBuf::from(path.file_name().unwrap());
        match look(folder.path()) {
            Ok(Found::Split { train, valid, test }) => {
                Ok(Found::Split { train: short(train), valid: valid.map(short), test: short(test) })
            }
            Ok(Found::Single(path)) => Ok(Found::Single(short(path))),
            Ok(other) => Ok(other),
            Err(error) => Err(error.to_string().replace(&*folder.path().to_string_lossy(), "folder")),
        }
    }

    #[test]
    fn splits_by_name() {
        let split = |train: &str, valid: Option<&str>, test: &str| {
            Ok(Found::Split { train: train.into(), valid: valid.map(Into::into), test: test.into() })
        };
        assert_eq!(look_at(&["train.csv", "test.csv", "item-map.csv"]), split("train.csv", None, "test.csv"));
        assert_eq!(
            look_at(&["a.train.inter", "a.valid.inter", "a.test.inter", "a.inter", "a.item"]),
            split("a.train.inter", Some("a.valid.inter"), "a.test.inter")
        );
        assert_eq!(
            look_at(&["1m_train.csv", "1m-test.parquet", "1m_validation.txt"]),
            split("1m_train.csv", Some("1m_validation.txt"), "1m-test.parquet")
        );
    }

    #[test]
    fn one_file_among_companions() {
        for names in [&["u.data", "u.item", "u.user", "u1.base", "u1.test", "README"][..], &["u.data", "other.csv"]] {
            assert_eq!(look_at(names), Ok(Found::Single("u.data".into())));
        }
        assert_eq!(
            look_at(&["ratings.csv", "movies.csv", "tags.csv", "README.txt"]),
            Ok(Found::Single("ratings.csv".into()))
        );
        assert_eq!(look_at(&["plays.tsv"]), Ok(Found::Single("plays.tsv".into())));
        assert_eq!(look_at(&["dataset.json", "train.tsv", "test.tsv", "users.tsv", "items.tsv"]), Ok(Found::Prepared));
    }

    #[test]
    fn what_is_unclear_lists_the_candidates() {
        assert_eq!(
            look_at(&["a.csv", "b.tsv"]).unwrap_err(),
            "folder: holds several files of interactions: `a.csv`, `b.tsv`; name the one file, or move the others away"
        );
        assert!(look_at(&["u.data", "ratings.dat"]).unwrap_err().contains("`ratings.dat`, `u.data`"));
        assert!(
            look_at(&["train.csv", "train.txt", "test.csv"]).unwrap_err().contains("2 training files: `train.csv`, ")
        );
        assert_eq!(
            look_at(&["train.csv"]).unwrap_err(),
            "folder: holds `train.csv` and no test file; add the test file, or name one file to have it split"
        );
        assert!(
            look_at(&["test.csv", "valid.csv"])
                .unwrap_err()
                .contains("holds `valid.csv` and `test.csv` and no training")
        );
        assert!(
            look_at(&["README.md"]).unwrap_err().starts_with("folder: holds no file of interactions; put train.* and")
        );
    }
}
