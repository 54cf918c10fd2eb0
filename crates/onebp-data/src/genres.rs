//! Genres of items, or any other labels of which an item may have several or none.
//!
//! Read from `u.item` of MovieLens 100K (`id|title|...`, one column of 0 or 1 per genre at the end, named by `u.genre`
//! beside it), `movies.dat` of MovieLens 1M (`id::title::A|B`), `movies.csv` of later MovieLens sets, or anybody's table
//! of items and genres: one row per label, or several labels in a cell with `|` between them.
//!
//! Items are looked up by raw id. For a split with an `item-map.csv` beside it these are the older ids of that map, which
//! is what [`load`](crate::load) gives, so nothing is translated here.

use crate::error::quote;
use crate::read::columns::{item_column, plain};
use crate::read::delimited::guess_separator;
use crate::read::records::{Records, first_records};
use crate::read::text::check_regular;
use crate::titles::any_text;
use crate::{Csr, Error, IdMap};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Column names of genres, without case, `_`, `-`, `.` and spaces.
const GENRE: &[&str] = &["genre", "genres", "category", "categories", "label", "labels", "tag", "tags", "class"];

/// Files with genres that data folders are known to hold.
const KNOWN: [&str; 3] = ["u.item", "movies.dat", "movies.csv"];

/// What MovieLens writes where a movie has no genre.
const NONE: &str = "(no genres listed)";

/// Which genres the items of a data set have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genres {
    /// Names of the genres: in the order of `u.genre`, else sorted.
    pub names: Vec<String>,
    of_item: Csr,
}

impl Genres {
    /// Labels from pairs of (item, genre), in any order.
    ///
    /// # Errors
    /// [`Error::IdOutOfRange`] where a pair lies outside `items` x `names`.
    pub fn new(names: Vec<String>, items: usize, labels: &[(u32, u32)]) -> Result<Self, Error> {
        let of_item = Csr::from_pairs(items, names.len(), labels)?;
        Ok(Self { names, of_item })
    }

    /// Genres of `item` (dense id), ascending. Empty where none is known.
    pub fn of(&self, item: u32) -> &[u32] {
        self.of_item.row(item)
    }

    /// Number of items, those without a genre included.
    pub fn items(&self) -> usize {
        self.of_item.rows()
    }

    /// Number of labels over all items: n_1 + n_2 + ...
    pub fn labels(&self) -> usize {
        self.of_item.len()
    }

    /// Number of items n_g of each genre.
    pub fn sizes(&self) -> Vec<u32> {
        self.of_item.item_counts()
    }
}

/// Reads the genres that lie with the data at `data` (a folder, or a file in it): in that folder, else in the one above.
/// `None` where neither holds `u.item`, `movies.dat` or `movies.csv`.
///
/// # Errors
/// As [`genres_from`].
pub fn genres(data: &Path, items: &IdMap) -> Result<Option<Genres>, Error> {
    let data = std::fs::canonicalize(data).map_err(Error::io(data))?;
    let folder = if data.is_dir() { Some(&*data) } else { data.parent() };
    let folders = [folder, folder.and_then(Path::parent)];
    let path = folders.into_iter().flatten().flat_map(|folder| KNOWN.map(|name| folder.join(name)));
    path.into_iter().find(|path| path.is_file()).map(|path| genres_from(&path, items)).transpose()
}

/// Reads the genres of `items` from one file; lines of other items are passed over.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Line`] where a line is no item with genres, [`Error::File`] where the
/// names of genres are missing or none of the items has one.
pub fn genres_from(path: &Path, items: &IdMap) -> Result<Genres, Error> {
    check_regular(path)?;
    let text = any_text(path)?;
    let (names, labels) = match path.file_name().and_then(|name| name.to_str()) {
        Some("u.item") => flags(path, &text, items)?,
        _ => cells(path, &text, items)?,
    };
    if labels.is_empty() {
        let example = items.all().first().map_or(String::new(), |raw| format!(" such as {}", quote(raw)));
        return Err(Error::file(
            path,
            format!("gives no genre to any of the {} items of the data", items.len()),
            format!("its first column must hold the ids that the data have{example}; name another file, or remove it"),
        ));
    }
    Genres::new(names, items.len(), &labels)
}

type Labels = (Vec<String>, Vec<(u32, u32)>);

/// `u.item`: as many flags at the end of a line as `u.genre` has names.
fn flags(path: &Path, text: &str, items: &IdMap) -> Result<Labels, Error> {
    let names = genre_names(&path.with_file_name("u.genre"))?;
    let mut labels = Vec::new();
    each_record(path, text, "|", false, |line, fields| {
        let first = fields.len().saturating_sub(names.len());
        let flags = fields.get(first..).filter(|_| first > 1).unwrap_or(&[]);
        if flags.is_empty() || flags.iter().any(|flag| flag != "0" && flag != "1") {
            return Err(Error::line(
                path,
                line,
                format!("does not end in {} flags of genres, each 0 or 1", names.len()),
                "a line is `id|title|...` and one flag per line of u.genre",
            ));
        }
        if let Some(item) = items.dense(&fields[0]) {
            labels.extend((0u32..).zip(flags).filter(|(_, flag)| *flag == "1").map(|(genre, _)| (item, genre)));
        }
        Ok(())
    })?;
    Ok((names, labels))
}

/// `u.genre`: lines of `name|index`, indices from 0.
fn genre_names(path: &Path) -> Result<Vec<String>, Error> {
    let mut names = BTreeMap::new();
    each_record(path, &any_text(path)?, "|", false, |line, fields| {
        let index = fields.get(1).and_then(|index| index.parse::<usize>().ok());
        match (fields, index) {
            ([name, _], Some(index)) if !name.is_empty() && !names.contains_key(&index) => {
                names.insert(index, name.clone());
                Ok(())
            }
            _ => Err(Error::line(
                path,
                line,
                format!("{} is no name and index of a genre of its own", quote(&fields.join("|"))),
                "a line is `name|index`",
            )),
        }
    })?;
    if names.is_empty() || names.keys().copied().ne(0..names.len()) {
        return Err(Error::file(path, "does not number its genres 0, 1, 2, ...", "a line is `name|index`"));
    }
    Ok(names.into_values().collect())
}

/// A table whose first column, or the one that its header names, is an item, and another its genres.
fn cells(path: &Path, text: &str, items: &IdMap) -> Result<Labels, Error> {
    let double_colons = first_records(text, "::", false, 1).concat().len() > 1;
    let separator = if double_colons { "::" } else { guess_separator(text) };
    let first = first_records(text, separator, !double_colons, 1).concat();
    let id = item_column(&first);
    let genre = first.iter().position(|name| GENRE.contains(&&*plain(name)));
    let (id, genre, mut header) = match (id, genre, double_colons) {
        (_, _, true) => (0, 2, false),
        (Some(id), Some(genre), _) => (id, genre, true),
        (id, genre, _) if first.len() == 2 => {
            let id_at = id.or(genre.map(|genre| 1 - genre)).unwrap_or(0);
            (id_at, 1 - id_at, id.is_some() || genre.is_some())
        }
        _ => {
            return Err(Error::file(
                path,
                format!("starts with {}, which names no item and genre", quote(&first.join(separator))),
                "genres are a table of two columns, or one whose header names an id (such as `item_id`) and a `genre`",
            ));
        }
    };
    let mut found: HashMap<String, Vec<u32>> = HashMap::new();
    each_record(path, text, separator, !double_colons, |line, fields| {
        if std::mem::take(&mut header) {
            return Ok(());
        }
        let (Some(id), Some(cell)) = (fields.get(id), fields.get(genre)) else {
            return Err(Error::line(
                path,
                line,
                format!("{} has no item and genre", quote(&fields.join(separator))),
                "give the line both, or remove it",
            ));
        };
        if let Some(item) = items.dense(id) {
            for name in cell.split('|').map(str::trim).filter(|name| !name.is_empty() && *name != NONE) {
                found.entry(name.to_owned()).or_default().push(item);
            }
        }
        Ok(())
    })?;
    let found: BTreeMap<_, _> = found.into_iter().collect();
    let labels = (0u32..).zip(found.values()).flat_map(|(genre, items)| items.iter().map(move |&item| (item, genre)));
    let labels = labels.collect();
    Ok((found.into_keys().collect(), labels))
}

/// Calls `visit` with the line number and the fields of every record.
fn each_record(
    path: &Path,
    text: &str,
    separator: &str,
    quotes: bool,
    mut visit: impl FnMut(u64, &[String]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut records = Records::new(text, separator, quotes);
    let mut fields = Vec::new();
    while let Some(line) =
        records.next(&mut fields).map_err(|bad| Error::line(path, bad.line, bad.problem, "mend the line"))?
    {
        let fields: Vec<String> = fields.iter().map(|field| field.to_string()).collect();
        visit(line, &fields)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(raw: &[&str]) -> IdMap {
        IdMap::new(raw.iter().map(|raw| raw.to_string()).collect())
    }

    /// Writes the files and reads the first; genres as `name: items` of the items `20`, `10` and `30`.
    fn read(files: &[(&str, &[u8])]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, bytes)| std::fs::write(folder.path().join(name), bytes).unwrap());
        let genres = genres_from(&folder.path().join(files[0].0), &ids(&["20", "10", "30"]))
            .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))?;
        assert_eq!(genres.items(), 3);
        assert_eq!(genres.sizes().iter().sum::<u32>() as usize, genres.labels());
        Ok((0u32..)
            .zip(&genres.names)
            .map(|(genre, name)| {
                let with = (0..3).filter(|&item| genres.of(item).contains(&genre));
                format!("{name}: {:?}", with.collect::<Vec<_>>())
            })
            .collect())
    }

    const NAMES: (&str, &[u8]) = ("u.genre", b"unknown|0\nWar|1\nDrama|2\n\n");

    #[test]
    fn flags_of_movielens_100k() {
        let item = b"10|Caf\xe9|01-Jan-1995||http://x|0|1|1\n20|\"B|||y|1|0|0\n99|C|||z|1|1|1\n30|D|||z|0|0|0\n";
        assert_eq!(read(&[("u.item", item), NAMES]).unwrap(), ["unknown: [0]", "War: [1]", "Drama: [1]"]);
    }

    #[test]
    fn cells_of_every_table() {
        let expected = ["Drama: [1]", "War: [0, 1]"];
        for (name, text) in [
            ("movies.dat", "10::Caf\u{e9}::Drama|War\n20::B::War\n99::C::Horror\n"),
            ("movies.csv", "movieId,title,genres\n10,A,War|Drama\n20,\"B, b\",War\n30,C,(no genres listed)\n"),
            ("own.csv", "item,genre\n10,Drama\n20,War\n10,War\n10,War\n"),
            ("own.csv", "10,Drama\n20,War\n10,War\n"),
            ("own.tsv", "genre\titem_id\nDrama\t10\nWar\t20\nWar\t10\n"),
            ("own.csv", "what,genre\n10,Drama|War\n20,War\n"),
        ] {
            assert_eq!(read(&[(name, text.as_bytes())]).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_line_and_what_to_do() {
        for (files, expected) in [
            (
                &[("u.item", &b"10|A|||x|0|1|1\n20|B|||x|0|2|1\n"[..]), NAMES][..],
                "u.item:2: does not end in 3 flags of genres, each 0 or 1; a line is `id|title|...` and one flag per line of \
                 u.genre",
            ),
            (&[("u.item", b"10|0|1|1\n"), NAMES], "u.item:1: does not end in 3 flags"),
            (
                &[("u.item", b"10|A|0|1\n"), ("u.genre", b"War|1\n")],
                "u.genre: does not number its genres 0, 1, 2, ...; ",
            ),
            (
                &[("u.item", b"10|A|0|1\n"), ("u.genre", b"War|0\nx\n")],
                "u.genre:2: `x` is no name and index of a genre",
            ),
            (&[("u.item", b"10|A|0|1\n")], "u.genre: "),
            (&[("own.csv", b"10,War\n20\n")], "own.csv:2: `20` has no item and genre; "),
            (&[("own.csv", b"10,War,3\n")], "own.csv: starts with `10,War,3`, which names no item and genre; "),
            (
                &[("own.csv", b"1,War\n")],
                "own.csv: gives no genre to any of the 3 items of the data; its first column must \
             hold the ids that the data have such as `20`; ",
            ),
        ] {
            let error = read(files).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn found_beside_the_data_or_above() {
        let folder = tempfile::tempdir().unwrap();
        let split = folder.path().join("split");
        std::fs::create_dir(&split).unwrap();
        let ids = ids(&["7"]);
        assert_eq!(genres(&split, &ids).unwrap(), None);
        std::fs::write(folder.path().join("movies.dat"), "7::A::War\n").unwrap();
        let above = genres(&split, &ids).unwrap().unwrap();
        assert_eq!((&above.names[..], above.of(0)), (&["War".to_owned()][..], &[0][..]));
        std::fs::write(split.join("movies.dat"), "7::A::Drama\n").unwrap();
        std::fs::write(split.join("train.csv"), "").unwrap();
        for place in [split.clone(), split.join("train.csv")] {
            assert_eq!(genres(&place, &ids).unwrap().unwrap().names, ["Drama"]);
        }
        assert!(matches!(genres(&split.join("none"), &ids), Err(Error::Io { .. })));
    }
}
