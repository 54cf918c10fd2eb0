//! Reads interaction files: what a file holds is guessed from its content, said aloud, and can be overruled.

pub(crate) mod columns;
pub(crate) mod delimited;
mod lightgcn;
mod movielens;
mod parquet;
pub(crate) mod recbole;
pub(crate) mod records;
pub(crate) mod rows;
mod table;
pub(crate) mod text;

use crate::{Error, Interactions};
use rows::Rows;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// MovieLens: `u.data`, `ratings.dat`, `ratings.csv`.
    MovieLens,
    /// NGCF and LightGCN: one line per user, `user item item ...`.
    LightGcn,
    /// RecBole's atomic `.inter` file.
    RecBole,
    /// Any table of text with one separator.
    Delimited,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 5] =
        [Format::MovieLens, Format::LightGcn, Format::RecBole, Format::Delimited, Format::Parquet];

    /// The name in options and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::MovieLens => "movielens",
            Self::LightGcn => "lightgcn",
            Self::RecBole => "recbole",
            Self::Delimited => "delimited",
            Self::Parquet => "parquet",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

impl std::str::FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| Error::UnknownName {
            kind: "format",
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// How to read a file. The default guesses everything from the content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// Format. Default: guessed from the content.
    pub format: Option<Format>,
    /// Name or number (from 1) of the column of users. Default: a known name, else column 1.
    pub user_column: Option<String>,
    /// Name or number (from 1) of the column of items. Default: a known name, else column 2.
    pub item_column: Option<String>,
    /// Name or number (from 1) of the column of ratings. Default: a known name, else column 3. An empty name reads none.
    pub rating_column: Option<String>,
    /// Name or number (from 1) of the column of times. Default: a known name, else column 4. An empty name reads none.
    pub time_column: Option<String>,
    /// What separates fields. Default: guessed.
    pub separator: Option<char>,
    /// Whether the first line names the columns. Default: guessed.
    pub header: Option<bool>,
}

impl ReadOptions {
    /// The names of the options that are given.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let Self { format, user_column, item_column, rating_column, time_column, separator, header } = self;
        let options = [
            ("format", format.is_some()),
            ("user-column", user_column.is_some()),
            ("item-column", item_column.is_some()),
            ("rating-column", rating_column.is_some()),
            ("time-column", time_column.is_some()),
            ("separator", separator.is_some()),
            ("header", header.is_some()),
        ];
        options.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }
}

/// A file that was read, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Whether the format was guessed from the content.
    pub guessed: bool,
    /// Layout in words, such as `comma, header: user,item,rating`.
    pub detail: String,
}

impl std::fmt::Display for Source {
    /// Such as `train.csv as delimited (comma, header: user,item,rating)`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} as {} ({})", self.path.display(), self.format, self.detail)
    }
}

/// Reads one file.
///
/// # Errors
/// [`Error::Line`] names the first offending line, [`Error::File`] says what is wrong with the file as a whole,
/// [`Error::Io`] that it cannot be read.
pub fn read(path: &Path, options: &ReadOptions) -> Result<(Interactions, Source), Error> {
    let (rows, source) = read_rows(path, options)?;
    Ok((rows.into_interactions()?, source))
}

/// Reads one file without giving ids.
pub(crate) fn read_rows(path: &Path, options: &ReadOptions) -> Result<(Rows, Source), Error> {
    text::check_regular(path)?;
    // The ending counts only where the content says no, to call a broken Parquet file by its name.
    let ending = path.extension().is_some_and(|ending| ending == "parquet" || ending == "pq");
    let is_parquet = match options.format {
        Some(format) => format == Format::Parquet,
        None => ending || parquet::recognise(path)?,
    };
    let (format, (rows, detail)) = if is_parquet {
        (Format::Parquet, parquet::read(path, options)?)
    } else {
        let text = text::read_text(path)?;
        let format = options.format.unwrap_or_else(|| guess(&text, options));
        let read = match format {
            Format::MovieLens => movielens::read(path, &text, options)?,
            Format::LightGcn => lightgcn::read(path, &text)?,
            Format::RecBole => recbole::read(path, &text, options)?,
            Format::Delimited | Format::Parquet => delimited::read(path, &text, options)?,
        };
        (format, read)
    };
    rows.check_ids()?;
    let source = Source { path: path.to_path_buf(), format, guessed: options.format.is_none(), detail };
    Ok((rows, source))
}

/// The format of a text file by its first lines, the most telling marks first. A given separator rules out the formats
/// that have their own.
fn guess(text: &str, options: &ReadOptions) -> Format {
    let separator = options.separator.unwrap_or('\t').to_string();
    if recbole::typed_header(text, &separator).is_some() {
        Format::RecBole
    } else if options.separator.is_some() {
        Format::Delimited
    } else if movielens::recognise(text) {
        Format::MovieLens
    } else if lightgcn::recognise(text) {
        Format::LightGcn
    } else {
        Format::Delimited
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_text(name: &str, text: &str, options: &ReadOptions) -> Result<(Interactions, Source), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path, options).map_err(|error| error.to_string().replace(&*path.to_string_lossy(), name))
    }

    #[test]
    fn formats_are_guessed_from_the_content_and_said() {
        for (text, format, detail) in [
            ("user_id:token\titem_id:token\n1\t2\n", Format::RecBole, "tab, header: user_id,item_id"),
            ("1::2::3::4\n", Format::MovieLens, "`::`, no header: columns 1,2,3,4"),
            ("1\t2\t3\t4\n1\t3\t3\t4\n", Format::MovieLens, "tab, no header: columns 1,2,3,4"),
            ("0 1 2\n1 2\n", Format::LightGcn, "a user and their items per line, 2 lines"),
            ("\u{feff}user,item,rating\r\n1,2,3\r\n", Format::Delimited, "comma, header: user,item,rating"),
            ("1 7 5\n1 8 4\n", Format::Delimited, "space, no header: columns 1,2,3"),
            ("1 7 5 99\n1 8 4 98\n2 8 4 98\n", Format::Delimited, "space, no header: columns 1,2,3,4"),
            ("0 1 2\n0 3\n1 2 3\n", Format::LightGcn, "a user and their items per line, 3 lines"),
        ] {
            let (_, source) = read_text("any.name", text, &ReadOptions::default()).unwrap();
            assert_eq!((source.format, source.guessed, source.detail.as_str()), (format, true, detail), "{text}");
        }
        let (_, source) = read_text("a.csv", "user,item\n1,2\n", &ReadOptions::default()).unwrap();
        assert!(source.to_string().ends_with("a.csv as delimited (comma, header: user,item)"));
    }

    #[test]
    fn a_given_format_is_not_guessed() {
        let table = ReadOptions { format: Some(Format::Delimited), ..Default::default() };
        let (interactions, source) = read_text("t", "0 1 2\n1 2 3\n", &table).unwrap();
        assert_eq!((interactions.len(), source.guessed), (2, false));
        let parquet = ReadOptions { format: Some(Format::Parquet), ..Default::default() };
        let message = "t: is not Parquet: it does not start with PAR1; name its format, or leave `format` out to have it \
                       guessed";
        assert_eq!(read_text("t", "user,item\n", &parquet).unwrap_err(), message);
        assert!(read_text("t.parquet", "user,item\n", &ReadOptions::default()).unwrap_err().contains("is not Parquet"));
    }

    #[test]
    fn ids_with_control_characters_are_refused() {
        for (text, message) in [
            (
                "user,item\na,x\n\"b\nc\",x\na,\u{1b}\n",
                "t:3: the user id `b\\nc` holds a control character; take it out of",
            ),
            ("user,item\na,x\nb,x\u{1b}[31m\n", "t:3: the item id `x\\u{1b}[31m` holds a control character; "),
            ("user,item\na,x\0y\n", "t:2: the item id `x\\u{0}y` holds"),
            ("user,item\na,x\ty\n", "t:2: the item id `x\\ty` holds"),
            ("user,item\na,x\ry\n", "t:2: the item id `x\\ry` holds"),
        ] {
            let error = read_text("t", text, &ReadOptions::default()).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn rows_in_another_order_give_the_same_ids() {
        let (one, _) = read_text("a", "user,item\n10,b\n9,a\n", &ReadOptions::default()).unwrap();
        let (other, _) = read_text("a", "user,item\n9,a\n10,b\n", &ReadOptions::default()).unwrap();
        assert_eq!((one.users.all(), one.items.all()), (other.users.all(), other.items.all()));
        assert_eq!((one.user, one.item), (vec![1, 0], vec![1, 0]));
    }

    proptest! {
        /// The same interactions in every format are the same interactions.
        #[test]
        fn every_format_says_the_same(
            rows in prop::collection::vec((0u32..2000, 0u32..2000, 0u32..10, 0i64..1_000_000), 3..40),
        ) {
            use polars::prelude::{Column, DataFrame};
            let lines = |header: &str, separator: &str| {
                let line = |&(u, i, r, t): &(u32, u32, u32, i64)| {
                    [u.to_string(), i.to_string(), (r as f32 / 2.0).to_string(), t.to_string()].join(separator) + "\n"
                };
                header.to_owned() + &rows.iter().map(line).collect::<String>()
            };
            let none = ReadOptions::default();
            let table = ReadOptions { format: Some(Format::Delimited), separator: Some('\t'), ..none.clone() };
            let (expected, _) = read_text("a", &lines("", "\t"), &table).unwrap();
            prop_assert_eq!(expected.rating.as_ref().unwrap()[0], rows[0].2 as f32 / 2.0);
            for (header, separator, format) in [
                ("", "::", Format::MovieLens),
                ("userId,movieId,rating,timestamp\n", ",", Format::MovieLens),
                ("user_id:token\titem_id:token\trating:float\ttimestamp:float\n", "\t", Format::RecBole),
                ("\"user\";\"item\";\"rating\";\"time\"\n", ";", Format::Delimited),
            ] {
                let (read, source) = read_text("a", &lines(header, separator), &none).unwrap();
                prop_assert_eq!(source.format, format);
                prop_assert_eq!(&read, &expected);
            }

            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.bin");
            let mut frame = DataFrame::new_infer_height(vec![
                Column::new("user".into(), rows.iter().map(|row| row.0).collect::<Vec<_>>()),
                Column::new("item".into(), rows.iter().map(|row| row.1.to_string()).collect::<Vec<_>>()),
                Column::new("rating".into(), rows.iter().map(|row| row.2 as f64 / 2.0).collect::<Vec<_>>()),
                Column::new("time".into(), rows.iter().map(|row| row.3).collect::<Vec<_>>()),
            ])
            .unwrap();
            polars_io::prelude::ParquetWriter::new(std::fs::File::create(&path).unwrap()).finish(&mut frame).unwrap();
            let (read, source) = super::read(&path, &none).unwrap();
            prop_assert_eq!(source.format, Format::Parquet);
            prop_assert_eq!(&read, &expected);

            // Lists know neither ratings nor times, and put the items of a user in one line.
            let mut lists = std::collections::BTreeMap::<u32, String>::new();
            rows.iter().for_each(|(user, item, ..)| *lists.entry(*user).or_default() += &format!(" {item}"));
            let text: String = lists.iter().map(|(user, items)| format!("{user}{items}\n")).collect();
            let list = ReadOptions { format: Some(Format::LightGcn), ..none };
            let (read, _) = read_text("a", &text, &list).unwrap();
            let sorted = |of: &Interactions| {
                let mut pairs: Vec<_> = of.user.iter().copied().zip(of.item.iter().copied()).collect();
                pairs.sort_unstable();
                (of.users.clone(), of.items.clone(), pairs)
            };
            prop_assert_eq!(sorted(&read), sorted(&expected));
        }
    }

    #[test]
    fn names_of_formats() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
            assert_eq!(serde_json::to_string(&format).unwrap(), format!("\"{format}\""));
        }
        assert_eq!(
            "csv".parse::<Format>().unwrap_err().to_string(),
            "there is no format `csv`; there are movielens, lightgcn, recbole, delimited, parquet"
        );
    }
}
