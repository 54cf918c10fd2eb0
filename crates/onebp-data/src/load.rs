//! From a path to a data set.
//!
//! A file is read, prepared and split. A folder is one of three things: a prepared data set, a split made by others
//! (`train.*`, `test.*` and perhaps `valid.*`), or the home of one file of interactions.

use crate::error::quote;
use crate::folder::{Found, companion, look};
use crate::id_map::older_ids;
use crate::predefined::{Frame, Parts, assemble};
use crate::prepared::read_prepared;
use crate::read::read_rows;
use crate::{Dataset, Error, Format, Preparation, ReadOptions, Source, prepare};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How to load a data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadOptions {
    /// How to read the files. A prepared folder is read as it was written; options are refused.
    pub read: ReadOptions,
    /// How to filter and split. What differs from the default, but for the seed, is refused where it would be ignored:
    /// by a prepared folder, and but for `min_rating` by a split made by others.
    pub preparation: Preparation,
    /// Whether held-out pairs that are in train or whose user or item is not are errors. Default: they are warnings.
    pub strict: bool,
}

/// A data set and the files it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The data set.
    pub dataset: Dataset,
    /// Every file that was read, in the order of reading.
    pub sources: Vec<Source>,
}

/// Loads `path`, a file or a folder, as the data set `name`. A prepared folder keeps the name it was written with.
///
/// # Errors
/// Anything unreadable, ambiguous or empty; see [`Error`].
pub fn load(path: &Path, name: &str, options: &LoadOptions) -> Result<Loaded, Error> {
    if !std::fs::metadata(path).map_err(Error::io(path))?.is_dir() {
        return single(path, name, options);
    }
    match look(path)? {
        Found::Prepared => {
            let given = [options.preparation.given(), options.read.given()].concat();
            refuse(path, &given, "is a prepared data set", "prepare the original files again")?;
            read_prepared(path).map(|(dataset, sources)| Loaded { dataset, sources })
        }
        Found::Split { train, valid, test } => split(path, name, &train, valid.as_deref(), &test, options),
        Found::Single(file) => single(&file, name, options),
    }
}

/// Refuses the options `given`, which would be ignored.
fn refuse(folder: &Path, given: &[&str], because: &str, instead: &str) -> Result<(), Error> {
    let them = match given.len() {
        0 => return Ok(()),
        1 => "it",
        _ => "them",
    };
    let given: Vec<String> = given.iter().map(|name| quote(name)).collect();
    Err(Error::file(
        folder,
        format!("{because}, so that {} cannot be heeded", given.join(", ")),
        format!("{instead} with {them}, or leave {them} out"),
    ))
}

fn single(file: &Path, name: &str, options: &LoadOptions) -> Result<Loaded, Error> {
    let (rows, source) = read_rows(file, &options.read)?;
    let dataset = prepare(&rows.into_interactions()?, name, &options.preparation)?;
    Ok(Loaded { dataset, sources: vec![source] })
}

fn split(
    folder: &Path,
    name: &str,
    train: &Path,
    valid: Option<&Path>,
    test: &Path,
    options: &LoadOptions,
) -> Result<Loaded, Error> {
    let min_rating = options.preparation.min_rating;
    let mut given = options.preparation.given();
    given.retain(|&name| name != "min-rating");
    refuse(folder, &given, "brings its own split", "name one file to prepare")?;
    let mut sources = Vec::new();
    let mut part = |path: &Path| {
        let (rows, source) = read_rows(path, &options.read)?;
        sources.push(source);
        min_rating.map_or(Ok(None), |least| rows.rated(least).map(Some)).map(|rated| rated.unwrap_or(rows))
    };
    let parts = Parts { train: part(train)?, valid: valid.map(&mut part).transpose()?, test: part(test)? };
    let split = min_rating.map_or_else(|| "predefined".into(), |least| format!("rating >= {least}, predefined"));
    let (users, items) = parts.id_space();
    let frame = Frame { name: name.to_owned(), split, users, items, strict: options.strict };
    let mut dataset = assemble(&parts, frame)?;
    for (ids, stem) in [(&mut dataset.users, "user-map"), (&mut dataset.items, "item-map")] {
        if let Some(map) = companion(folder, stem) {
            *ids = older_ids(ids, &map)?;
            let detail = "ids of the split, older ids".to_owned();
            sources.push(Source { path: map, format: Format::Delimited, guessed: true, detail });
        }
    }
    dataset.warn_about_users();
    Ok(Loaded { dataset, sources })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitRule;
    use std::path::PathBuf;

    /// A folder of files, each a name and its content.
    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, content)| std::fs::write(folder.path().join(name), content).unwrap());
        let path = folder.path().to_path_buf();
        (folder, path)
    }

    fn load_files(files: &[(&str, &str)], options: &LoadOptions) -> Result<Loaded, String> {
        let (_folder, path) = folder(files);
        load(&path, "made up", options)
            .map(|mut loaded| {
                loaded.dataset.warnings.iter_mut().for_each(|w| *w = w.replace(&*path.to_string_lossy(), "folder"));
                loaded
            })
            .map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "folder"))
    }

    #[test]
    fn parts_in_different_formats_share_ids() {
        let files = [
            ("train.txt", "0 7 9\n1 9 10\n"),
            ("valid.csv", "item,user\n9,2\n"),
            ("a.test.inter", "user_id:token\titem_id:token\n1\t7\n"),
        ];
        let loaded = load_files(&files, &LoadOptions::default()).unwrap();
        let dataset = loaded.dataset;
        assert_eq!(dataset.items.all(), ["7", "9", "10"]);
        assert_eq!(dataset.users.len(), 3);
        assert_eq!(dataset.train.pairs().collect::<Vec<_>>(), [(0, 0), (0, 1), (1, 1), (1, 2)]);
        assert_eq!(dataset.valid.unwrap().pairs().collect::<Vec<_>>(), [(2, 1)]);
        assert_eq!(dataset.test.pairs().collect::<Vec<_>>(), [(1, 0)]);
        let formats: Vec<_> = loaded.sources.iter().map(|source| source.format).collect();
        assert_eq!(formats, [Format::LightGcn, Format::Delimited, Format::RecBole]);
        assert_eq!(dataset.split, "predefined");
    }

    #[test]
    fn oddities_are_warnings_or_strictly_errors() {
        let train = ("train.csv", "user,item\na,x\na,y\na,x\nb,y\n");
        let strict = LoadOptions { strict: true, ..Default::default() };
        let cases = [
            (
                "user,item\nb,x\na,y\n",
                "test pairs that are in train as well: 1, removed from test (the first: folder/test.csv:3)",
                "folder/test.csv:3: the test pair of user `a` and item `y` is in train as well; remove the line from one of \
                 the two files",
            ),
            (
                "user,item\nb,x\nb,z\na,z\n",
                "test pairs whose item has no training pair: 2, kept in the catalogue (the first: folder/test.csv:3)",
                "folder/test.csv:3: item `z` of this test pair has no training pair; remove the line, or load without \
                 `strict` to keep it as something that can hardly be hit",
            ),
            (
                "user,item\nc,x\n",
                "test pairs whose user has no training pair: 1, kept (the first: folder/test.csv:2)",
                "folder/test.csv:2: user `c` of this test pair has no training pair; remove the line, or load without \
                 `strict` to keep it as something that can hardly be hit",
            ),
        ];
        for (test, warning, error) in cases {
            let files = [train, ("test.csv", test)];
            let warnings = load_files(&files, &LoadOptions::default()).unwrap().dataset.warnings;
            assert_eq!(warnings[0], "rows of train.csv that repeat a pair: 1, collapsed");
            assert_eq!(warnings[1], warning);
            assert_eq!(load_files(&files, &strict).unwrap_err(), error);
        }
    }

    #[test]
    fn users_with_nothing_or_everything_in_train_are_warned_of() {
        let files = [("train.csv", "user,item\na,x\na,y\nb,x\n"), ("test.csv", "user,item\nb,y\nc,x\nd,x\n")];
        let warnings = load_files(&files, &LoadOptions::default()).unwrap().dataset.warnings;
        assert_eq!(warnings[1], "users without a training item: 2, not trained (the first: `c`)");
        assert_eq!(warnings[2], "users with every item in train: 1, nothing is left to rank for them (the first: `a`)");
    }

    #[test]
    fn maps_give_the_older_ids_in_the_order_of_the_split() {
        let files = [
            ("train.csv", "user,item\n0,0\n0,1\n1,1\n"),
            ("test.csv", "user,item\n1,0\n"),
            ("item-map.csv", "new,old\n0,242\n1,7\n"),
        ];
        let loaded = load_files(&files, &LoadOptions::default()).unwrap();
        assert_eq!(loaded.dataset.items.all(), ["242", "7"]);
        assert_eq!(loaded.dataset.users.all(), ["0", "1"]);
        assert_eq!(loaded.sources.len(), 3);
    }

    #[test]
    fn a_split_is_filtered_by_rating_but_not_otherwise() {
        let files =
            [("train.csv", "user,item,rating\na,x,5\na,y,1\nb,x,4\n"), ("test.csv", "user,item,rating\nb,z,5\n")];
        let mut options = LoadOptions::default();
        options.preparation.min_rating = Some(4.0);
        let dataset = load_files(&files, &options).unwrap().dataset;
        assert_eq!((dataset.items.all(), dataset.train.len()), (&["x".to_owned(), "z".into()][..], 2));
        assert_eq!(dataset.split, "rating >= 4, predefined");
        options.preparation.min_rating = Some(6.0);
        assert_eq!(
            load_files(&files, &options).unwrap_err(),
            "folder/train.csv: no rating is 6 or more; lower `min-rating`"
        );
        let preparation = Preparation { seed: 7, test_ratio: 0.3, ..options.preparation.clone() };
        assert_eq!(
            load_files(&files, &LoadOptions { preparation, ..Default::default() }).unwrap_err(),
            "folder: brings its own split, so that `test-ratio` cannot be heeded; name one file to prepare with it, or leave \
             it out"
        );
        options.preparation = Preparation { user_core: 5, item_core: 5, split: SplitRule::Time, ..options.preparation };
        let message = load_files(&files, &options).unwrap_err();
        assert!(message.contains(" split, so that `user-core`, `item-core`, `split` cannot be heeded; "), "{message}");
    }

    #[test]
    fn a_file_or_its_folder_is_split() {
        let rows: String = (0..10).map(|item| format!("7\t{item}\t3\t{item}\n8\t{item}\t3\t1\n")).collect();
        let (_folder, path) = folder(&[("u.data", &rows), ("u.item", "1|A|\n")]);
        let of_folder = load(&path, "small", &LoadOptions::default()).unwrap();
        let of_file = load(&path.join("u.data"), "small", &LoadOptions::default()).unwrap();
        assert_eq!(of_folder.dataset.fingerprint(), of_file.dataset.fingerprint());
        assert_eq!((of_file.dataset.train.len(), of_file.dataset.test.len()), (16, 4));
        assert_eq!((of_file.dataset.name.as_str(), of_file.dataset.split.as_str()), ("small", "ratio 0.2, seed 2022"));
        assert!(
            load(&path.join("nothing"), "small", &LoadOptions::default())
                .unwrap_err()
                .to_string()
                .contains("nothing: ")
        );
    }
}
