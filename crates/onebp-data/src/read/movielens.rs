//! The files of GroupLens: `u.data` (tab, no header), `ratings.dat` (`::`, no header) and `ratings.csv` (comma, header).
//!
//! Columns are user, item, rating and time. The `::` of `ratings.dat` is a separator of two bytes, which is why this
//! format has a file of its own; the other two are ordinary tables.
//!
//! Source: the README files of MovieLens 100K, 1M and 25M.

use super::columns::Columns;
use super::records::first_records;
use super::rows::Rows;
use super::table::{Layout, read_table};
use super::{columns, delimited};
use crate::{Error, ReadOptions};
use std::path::Path;

/// Reads the ratings in `text`, the content of `path`; also returns the layout in words.
pub(crate) fn read(path: &Path, text: &str, options: &ReadOptions) -> Result<(Rows, String), Error> {
    let width = double_colons(text);
    if width < 2 || options.separator.is_some() {
        return delimited::read(path, text, options);
    }
    let layout = Layout {
        separator: "::".into(),
        quotes: false,
        header: false,
        names: (1..=width).map(|number| number.to_string()).collect(),
        columns: Columns::by_position(path, width, options)?,
    };
    Ok((read_table(path, text, &layout)?, layout.describe()))
}

/// Whether `text` looks like one of the three files.
pub(crate) fn recognise(text: &str) -> bool {
    if double_colons(text) > 2 {
        return true;
    }
    let tabs = first_records(text, "\t", true, 100);
    let integer = |field: &String| field.parse::<i64>().is_ok();
    if !tabs.is_empty() && tabs.iter().all(|record| record.len() == 4 && record.iter().all(integer)) {
        return true;
    }
    let header: Vec<String> =
        first_records(text, ",", true, 1).concat().iter().map(|name| columns::plain(name)).collect();
    matches!(
        header.iter().map(String::as_str).collect::<Vec<_>>()[..],
        ["userid", "movieid", "rating"] | ["userid", "movieid", "rating", "timestamp"]
    )
}

/// Fields of the first line where `::` separates them.
fn double_colons(text: &str) -> usize {
    first_records(text, "::", false, 1).first().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<(usize, String), String> {
        let read = read(Path::new("ratings"), text, &ReadOptions::default());
        read.map(|(rows, layout)| (rows.len(), layout)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_three_files() {
        for (text, layout) in [
            ("3\t40\t5\t880\n3\t41\t1\t881\n", "tab, no header: columns 1,2,3,4"),
            ("3::40::5::880\r\n3::41::1::881\r\n", "`::`, no header: columns 1,2,3,4"),
            (
                "userId,movieId,rating,timestamp\n3,40,4.5,880\n3,41,1,881\n",
                "comma, header: userId,movieId,rating,timestamp",
            ),
            ("user_id,movie_id,rating\n3,40,4.5\n3,41,1\n", "comma, header: user_id,movie_id,rating"),
        ] {
            assert!(recognise(text), "{text}");
            assert_eq!(place(text), Ok((2, layout.to_owned())));
        }
        for other in ["user,item,rating\n1,2,3\n", "\"user\";\"item\"\n1;2\n", "1\t2\t3\n", "1 2 3 4\n"] {
            assert!(!recognise(other), "{other}");
        }
    }

    #[test]
    fn offending_lines_are_named() {
        assert_eq!(
            place("3::40::5::880\n3::41::1\n").unwrap_err(),
            "ratings:2: `3::41::1` has 3 fields, the first line has 4 (separator `::`); mend the line"
        );
        assert!(
            place("3::40::5::880\n3::41::x::1\n").unwrap_err().starts_with("ratings:2: the rating `x` (column `3`)")
        );
    }
}
