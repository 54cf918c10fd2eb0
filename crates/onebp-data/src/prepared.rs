//! A prepared data set as a folder, to train on again or to hand to other programs.
//!
//! | file | content |
//! |---|---|
//! | `train.tsv`, `valid.tsv`, `test.tsv` | the pairs, raw ids, header `user<TAB>item` |
//! | `users.tsv`, `items.tsv` | all raw ids by dense id, also of those without a pair |
//! | `dataset.json` | the card: name, split, options, sources, statistics, warnings, fingerprint |
//!
//! Reading the folder gives the same data set: same dense ids, same fingerprint. Files that were changed since are
//! refused; without its card the folder is a plain split.

use crate::folder::CARD;
use crate::predefined::{Frame, Parts, assemble};
use crate::read::read_rows;
use crate::read::records::Records;
use crate::read::rows::check_id;
use crate::read::text::read_text;
use crate::{Csr, Dataset, Error, Format, IdMap, Preparation, ReadOptions, Source, Statistics};
use polars::prelude::*;
use polars_io::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the folder's layout.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Card {
    version: u32,
    name: String,
    split: String,
    /// [`Dataset::fingerprint`] in hexadecimal digits.
    fingerprint: String,
    /// How the split was made, where it was made here.
    preparation: Option<Preparation>,
    /// Names of the files the data set came from.
    sources: Vec<String>,
    statistics: Statistics,
    warnings: Vec<String>,
}

/// Writes `dataset` to `folder`, which must not exist or be empty. `sources` and `preparation` go to the card.
///
/// The files are written to a folder beside it that is renamed when it is complete.
///
/// # Errors
/// [`Error::File`] where `folder` is not empty, [`Error::Preparation`] where a part has no pair, [`Error::Write`] where
/// writing fails.
pub fn write_prepared(
    dataset: &Dataset,
    sources: &[Source],
    preparation: Option<&Preparation>,
    folder: &Path,
) -> Result<(), Error> {
    for (part, pairs) in parts(dataset) {
        if pairs.is_empty() {
            let problem = format!("the {part} part has no pair");
            return Err(Error::preparation(problem, "prepare the data with another split"));
        }
    }
    // Names the folder that a person asked for, not the one beside it.
    let unwritable = |source| Error::Write { path: folder.to_path_buf(), source };
    let exists = folder.exists();
    if exists && std::fs::read_dir(folder).map_err(unwritable)?.next().is_some() {
        return Err(Error::file(folder, "is not empty", "choose a new folder, or remove this one first"));
    }
    let name =
        folder.file_name().ok_or_else(|| Error::file(folder, "is no name for a folder", "choose a new folder"))?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(unwritable)?;
    let partial = parent.join(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
    std::fs::create_dir(&partial).map_err(unwritable)?;
    let written = write_files(dataset, sources, preparation, &partial).and_then(|()| {
        if exists {
            // Not every system renames over an empty folder.
            std::fs::remove_dir(folder)?;
        }
        std::fs::rename(&partial, folder)
    });
    if written.is_err() {
        // The first error is the one to tell; what could not be removed is hidden and names the process.
        let _ = std::fs::remove_dir_all(&partial);
    }
    written.map_err(unwritable)
}

/// The parts there are, by name.
fn parts(dataset: &Dataset) -> impl Iterator<Item = (&'static str, &Csr)> {
    let parts = [("train", Some(&dataset.train)), ("valid", dataset.valid.as_ref()), ("test", Some(&dataset.test))];
    parts.into_iter().filter_map(|(part, pairs)| Some((part, pairs?)))
}

fn write_files(
    dataset: &Dataset,
    sources: &[Source],
    preparation: Option<&Preparation>,
    folder: &Path,
) -> std::io::Result<()> {
    for (part, pairs) in parts(dataset) {
        let users = pairs.pairs().map(|(user, _)| dataset.users.raw(user)).collect();
        let items = pairs.pairs().map(|(_, item)| dataset.items.raw(item)).collect();
        write_table(&folder.join(format!("{part}.tsv")), &[("user", users), ("item", items)])?;
    }
    for (name, ids) in [("user", &dataset.users), ("item", &dataset.items)] {
        let ids = ids.all().iter().map(String::as_str).collect();
        write_table(&folder.join(format!("{name}s.tsv")), &[(name, ids)])?;
    }
    let file_name = |source: &Source| source.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let card = Card {
        version: VERSION,
        name: dataset.name.clone(),
        split: dataset.split.clone(),
        fingerprint: hexadecimal(dataset.fingerprint()),
        preparation: preparation.cloned(),
        sources: sources.iter().filter_map(file_name).collect(),
        statistics: Statistics::of(dataset),
        warnings: dataset.warnings.clone(),
    };
    std::fs::write(folder.join(CARD), serde_json::to_string_pretty(&card)? + "\n")
}

fn write_table(path: &Path, columns: &[(&str, Vec<&str>)]) -> std::io::Result<()> {
    // Reading drops white space around ids that stand without quotes.
    let spaced = columns.iter().flat_map(|(_, ids)| ids).any(|id| id.trim() != *id);
    let style = if spaced { QuoteStyle::Always } else { QuoteStyle::Necessary };
    let columns = columns.iter().map(|(name, ids)| Column::new((*name).into(), ids)).collect();
    let mut frame = DataFrame::new_infer_height(columns)?;
    CsvWriter::new(std::fs::File::create(path)?).with_separator(b'\t').with_quote_style(style).finish(&mut frame)?;
    Ok(())
}

fn hexadecimal(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

/// Reads a folder that [`write_prepared`] wrote.
///
/// # Errors
/// [`Error::File`] where the card cannot be read or the files do not match it, and whatever reading a table can bring.
pub(crate) fn read_prepared(folder: &Path) -> Result<(Dataset, Vec<Source>), Error> {
    let path = folder.join(CARD);
    let text = read_text(&path)?;
    let plain = "restore the folder, or move this file away to read the others as a plain split";
    let card: Card = serde_json::from_str(&text)
        .map_err(|error| Error::file(&path, format!("is no card of a prepared data set: {error}"), plain))?;
    if card.version != VERSION {
        let problem = format!("has version {}, this program reads {VERSION}", card.version);
        return Err(Error::file(&path, problem, "prepare the data set again"));
    }
    let users = read_ids(&folder.join("users.tsv"), "user")?;
    let items = read_ids(&folder.join("items.tsv"), "item")?;
    let options = ReadOptions {
        format: Some(Format::Delimited),
        user_column: Some("1".into()),
        item_column: Some("2".into()),
        separator: Some('\t'),
        header: Some(true),
        ..ReadOptions::default()
    };
    let mut sources = Vec::new();
    let mut part = |name: &str| {
        let (rows, source) = read_rows(&folder.join(name), &options)?;
        sources.push(source);
        Ok(rows)
    };
    let train = part("train.tsv")?;
    let valid = folder.join("valid.tsv").is_file().then(|| part("valid.tsv")).transpose()?;
    let parts = Parts { train, valid, test: part("test.tsv")? };
    let frame = Frame { name: card.name, split: card.split, users, items, strict: false };
    let mut dataset = assemble(&parts, frame)?;
    dataset.warnings = card.warnings;
    if hexadecimal(dataset.fingerprint()) != card.fingerprint {
        return Err(Error::file(&path, "does not match the files beside it: they were changed since", plain));
    }
    Ok((dataset, sources))
}

/// A table of one column: all ids, in order.
fn read_ids(path: &Path, kind: &str) -> Result<IdMap, Error> {
    let text = read_text(path)?;
    let mut records = Records::new(&text, "\t", true);
    let (mut fields, mut ids) = (Vec::new(), Vec::new());
    let malformed =
        |bad: crate::read::records::Malformed| Error::line(path, bad.line, bad.problem, "write the folder again");
    records.next(&mut fields).map_err(malformed)?;
    while let Some(line) = records.next(&mut fields).map_err(malformed)? {
        for id in fields.drain(..) {
            check_id(path, line, kind, &id)?;
            ids.push(id.into_owned());
        }
    }
    Ok(IdMap::new(ids))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadOptions, load};
    use std::path::PathBuf;

    fn ids(names: &[&str]) -> IdMap {
        IdMap::new(names.iter().map(|name| name.to_string()).collect())
    }

    /// Ids that need quotes, in an order of their own, with a user and an item without any pair.
    fn dataset() -> Dataset {
        let csr = |pairs: &[(u32, u32)]| Csr::from_pairs(4, 5, pairs).unwrap();
        Dataset {
            name: "made up".into(),
            split: "ratio 0.2, seed 7".into(),
            users: ids(&["zoe", " zoe", "say \"hi\"", "nobody "]),
            items: ids(&["9", "10", "\u{a0}9", "a,b", "unseen"]),
            train: csr(&[(0, 0), (0, 2), (1, 1), (2, 3)]),
            valid: Some(csr(&[(1, 2)])),
            test: csr(&[(0, 1), (2, 0)]),
            warnings: vec!["nobody has no training item".into()],
        }
    }

    #[test]
    fn reading_undoes_writing() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("deep/prepared");
        let dataset = dataset();
        let source =
            Source { path: "/data/u.data".into(), format: Format::MovieLens, guessed: true, detail: "tab".into() };
        write_prepared(&dataset, &[source], Some(&Preparation::default()), &folder).unwrap();
        let loaded = load(&folder, "ignored", &LoadOptions { strict: true, ..Default::default() }).unwrap();
        let read = loaded.dataset;
        assert_eq!(read.fingerprint(), dataset.fingerprint());
        assert_eq!((&read.users, &read.items), (&dataset.users, &dataset.items));
        assert_eq!((read.train, read.valid, read.test), (dataset.train, dataset.valid, dataset.test));
        assert_eq!((read.name, read.split, read.warnings), (dataset.name, dataset.split, dataset.warnings));
        assert_eq!(loaded.sources.len(), 3);
        let card = std::fs::read_to_string(folder.join(CARD)).unwrap();
        assert!(card.contains("\"u.data\"") && !card.contains("/data"), "{card}");
        assert_eq!(std::fs::read_dir(root.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn options_that_would_be_ignored_are_refused() {
        let root = tempfile::tempdir().unwrap();
        write_prepared(&dataset(), &[], None, root.path()).unwrap();
        let message = |options: LoadOptions| {
            let message = load(root.path(), "x", &options).unwrap_err().to_string();
            message.replace(&*root.path().to_string_lossy(), "folder")
        };
        let preparation = Preparation { min_rating: Some(4.0), seed: 7, ..Default::default() };
        assert_eq!(
            message(LoadOptions { preparation: preparation.clone(), ..Default::default() }),
            "folder: is a prepared data set, so that `min-rating` cannot be heeded; prepare the original files again with \
             it, or leave it out"
        );
        let read = ReadOptions { format: Some(Format::Delimited), header: Some(true), ..Default::default() };
        assert_eq!(
            message(LoadOptions { preparation, read, strict: false }),
            "folder: is a prepared data set, so that `min-rating`, `format`, `header` cannot be heeded; prepare the \
             original files again with them, or leave them out"
        );
        let preparation = Preparation { seed: 7, ..Default::default() };
        load(root.path(), "x", &LoadOptions { preparation, ..Default::default() }).unwrap();
    }

    #[test]
    fn failed_writing_names_the_folder_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = |folder: PathBuf| {
            let error = write_prepared(&dataset(), &[], None, &folder).unwrap_err();
            assert!(matches!(&error, Error::Write { path, .. } if *path == folder), "{error:?}");
            error.to_string().replace(&*root.path().to_string_lossy(), "root")
        };
        for (folder, start) in [
            (file.clone(), "root/file: cannot be written: "),
            (file.join("a"), "root/file/a: cannot be written: "),
            (root.path().join("n".repeat(250)), "root/nnn"),
        ] {
            let message = message(folder);
            assert!(message.starts_with(start) && !message.contains("partial"), "{message}");
            assert!(message.ends_with("; choose a place that can be written to"), "{message}");
        }
    }

    #[test]
    fn folders_with_content_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("mine"), "").unwrap();
        let message = write_prepared(&dataset(), &[], None, root.path()).unwrap_err().to_string();
        assert!(message.ends_with(": is not empty; choose a new folder, or remove this one first"), "{message}");
        std::fs::remove_file(root.path().join("mine")).unwrap();
        write_prepared(&dataset(), &[], None, root.path()).unwrap();
    }

    #[test]
    fn changed_files_are_refused_and_read_as_a_plain_split_without_the_card() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("prepared");
        write_prepared(&dataset(), &[], None, &folder).unwrap();
        std::fs::write(folder.join("test.tsv"), "user\titem\nzoe\t10\n").unwrap();
        let message = load(&folder, "x", &LoadOptions::default()).unwrap_err().to_string();
        assert!(message.ends_with("read the others as a plain split"), "{message}");
        std::fs::remove_file(folder.join(CARD)).unwrap();
        assert_eq!(load(&folder, "x", &LoadOptions::default()).unwrap().dataset.test.len(), 1);
        std::fs::write(folder.join(CARD), "{}").unwrap();
        let message = load(&folder, "x", &LoadOptions::default()).unwrap_err().to_string();
        assert!(message.contains("is no card of a prepared data set"), "{message}");
    }

    #[test]
    fn a_part_without_pairs_is_not_written() {
        let root = tempfile::tempdir().unwrap();
        let empty = Csr::from_pairs(4, 5, &[]).unwrap();
        let dataset = Dataset { test: empty, ..dataset() };
        let message = write_prepared(&dataset, &[], None, &root.path().join("p")).unwrap_err().to_string();
        assert_eq!(message, "the test part has no pair; prepare the data with another split");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
