//! Any table of text with one separator: CSV, TSV and their kin.
//!
//! Separator: the one of tab, comma, semicolon, bar and space that cuts all of the first lines into the same number of
//! fields, and into the most. Header: the first line is one if it holds known column names, or a word in a column
//! where the following lines hold numbers.

use super::columns::{Columns, is_header};
use super::records::first_records;
use super::rows::Rows;
use super::table::{Layout, read_table, separator_name};
use crate::error::quote;
use crate::{Error, ReadOptions};
use std::path::Path;

const SEPARATORS: [&str; 5] = ["\t", ",", ";", "|", " "];
/// Records looked at for guessing.
const SAMPLE: usize = 100;

/// Reads the table in `text`, the content of `path`; also returns the layout in words.
pub(crate) fn read(path: &Path, text: &str, options: &ReadOptions) -> Result<(Rows, String), Error> {
    let layout = layout(path, text, options)?;
    Ok((read_table(path, text, &layout)?, layout.describe()))
}

/// Works out the layout of `text`.
///
/// # Errors
/// [`Error::Line`] where the first line has one field only, [`Error::File`] where a column is missing.
pub(crate) fn layout(path: &Path, text: &str, options: &ReadOptions) -> Result<Layout, Error> {
    let separator = match options.separator {
        Some(separator) => separator.to_string(),
        None => guess_separator(text).to_owned(),
    };
    let sample = first_records(text, &separator, true, SAMPLE);
    let names = sample.first().cloned().unwrap_or_default();
    if names.len() < 2 {
        return Err(one_column(path, text, &separator));
    }
    let header = options.header.unwrap_or_else(|| guess_header(&sample, options));
    let (names, columns) = if header {
        let columns = Columns::by_name(path, &names, options)?;
        (names, columns)
    } else {
        let columns = Columns::by_position(path, names.len(), options)?;
        ((1..=names.len()).map(|number| number.to_string()).collect(), columns)
    };
    Ok(Layout { separator, quotes: true, header, names, columns })
}

/// The most likely separator of `text`; the comma where none occurs.
pub(crate) fn guess_separator(text: &str) -> &'static str {
    // (all lines alike, fields in the first line): a consistent separator beats one with more fields.
    let score = |separator: &str| {
        let sample = first_records(text, separator, true, SAMPLE);
        let width = sample.first().map_or(0, Vec::len);
        (width > 1 && sample.iter().all(|record| record.len() == width), width)
    };
    // `max_by_key` keeps the last of equals, so the order of preference is reversed.
    match SEPARATORS.iter().rev().max_by_key(|separator| score(separator)) {
        Some(separator) if score(separator).1 > 1 => separator,
        _ => ",",
    }
}

/// Whether the first of the `sample` records names the columns.
pub(crate) fn guess_header(sample: &[Vec<String>], options: &ReadOptions) -> bool {
    let Some((first, rest)) = sample.split_first() else { return false };
    let number = |field: &str| field.trim().parse::<f64>().is_ok();
    let word_over_numbers = |column: usize| {
        let below = |record: &Vec<String>| record.get(column).is_some_and(|field| number(field));
        !number(&first[column]) && !rest.is_empty() && rest.iter().all(below)
    };
    is_header(first, options) || (0..first.len()).any(word_over_numbers)
}

fn one_column(path: &Path, text: &str, separator: &str) -> Error {
    let line = text.lines().position(|line| !line.is_empty()).unwrap_or(0);
    let content = quote(text.lines().nth(line).unwrap_or(""));
    let better = guess_separator(text);
    let width = first_records(text, better, true, 1).first().map_or(0, Vec::len);
    let (problem, remedy) = if width > 1 {
        (
            format!(
                "the separator {} finds one column in {content}, {} would find {width}",
                separator_name(separator),
                separator_name(better)
            ),
            format!("set `separator` to {}, or leave it out", separator_name(better)),
        )
    } else {
        (
            format!("{content} has one column; neither tab, comma, semicolon, bar nor space separates it"),
            "a line needs a user and an item; set `separator` if they are separated otherwise".to_owned(),
        )
    };
    Error::line(path, line as u64 + 1, problem, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(text: &str, options: &ReadOptions) -> Result<String, String> {
        layout(Path::new("f.csv"), text, options).map(|layout| layout.describe()).map_err(|error| error.to_string())
    }

    #[test]
    fn separators_and_headers_are_guessed() {
        let none = ReadOptions::default();
        for (text, expected) in [
            ("user,item,rating\n1,2,3\n", "comma, header: user,item,rating"),
            ("1\t2\t3\t4\n5\t6\t1\t8\n", "tab, no header: columns 1,2,3,4"),
            ("1;2;3,5\n1;3;4,5\n", "semicolon, no header: columns 1,2,3"),
            ("userId|stars|movieId\n1|5|8\n", "bar, header: userId,movieId,stars"),
            ("ann heat\nbob brazil\n", "space, no header: columns 1,2"),
            ("\"item, or so\",user,item\n\"a,b\",1,2\n", "comma, header: user,item"),
            ("\r\nuser,item\r\n1,2\r\n", "comma, header: user,item"),
        ] {
            assert_eq!(describe(text, &none).as_deref(), Ok(expected), "{text}");
        }
        // A word above numbers makes a header, known or not; then the names must lead somewhere.
        assert!(describe("who,what\n1,2\n", &none).unwrap_err().contains("(`who`, `what`) is known to hold users"));
        for words in ["ann,heat\nbob,brazil\n", "ann,news\nbob,book\n"] {
            assert!(describe(words, &none).unwrap().contains("no header"));
        }
    }

    #[test]
    fn a_wrong_separator_is_named_with_a_better_one() {
        let semicolon = ReadOptions { separator: Some(';'), ..Default::default() };
        assert_eq!(
            describe("user,item,rating\n1,2,3\n", &semicolon).unwrap_err(),
            "f.csv:1: the separator semicolon finds one column in `user,item,rating`, comma would find 3; set `separator` \
             to comma, or leave it out"
        );
        assert!(
            describe("users\n1\n", &ReadOptions::default())
                .unwrap_err()
                .starts_with("f.csv:1: `users` has one column; ")
        );
    }

    #[test]
    fn options_win() {
        let options = ReadOptions {
            header: Some(false),
            user_column: Some("2".into()),
            item_column: Some("1".into()),
            rating_column: Some(String::new()),
            ..Default::default()
        };
        assert_eq!(describe("7,8,9\n", &options).unwrap(), "comma, no header: columns 2,1");
        let other = ReadOptions { separator: Some('~'), ..Default::default() };
        assert_eq!(describe("user~item\n1~2\n", &other).unwrap(), "`~`, header: user,item");
    }
}
