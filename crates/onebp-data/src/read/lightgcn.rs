//! The text format of NGCF and LightGCN: one line per user, `user item item ...`, separated by white space.
//!
//! Ids are unsigned integers. Trailing spaces occur, and so do users without items (Amazon-Book's test file has four);
//! these stay in the id space. There are neither ratings nor times.
//!
//! Source: the data folders of xiangwang1223/neural_graph_collaborative_filtering and gusye1234/LightGCN-PyTorch.

use super::rows::{Lines, Names, Rows};
use crate::Error;
use crate::error::quote;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Reads the lists in `text`, the content of `path`; also returns the layout in words.
pub(crate) fn read(path: &Path, text: &str) -> Result<(Rows, String), Error> {
    let (mut users, mut items, mut lines) = (Names::default(), Names::default(), Vec::new());
    let mut listed = 0;
    for (line, content) in (1u64..).zip(text.lines()) {
        let mut tokens = content.split_ascii_whitespace();
        let Some(user) = tokens.next() else { continue };
        let user = users.code(checked(path, line, user)?);
        listed += 1;
        for item in tokens {
            users.push_code(user);
            items.push(checked(path, line, item)?);
            lines.push(line);
        }
    }
    if lines.is_empty() {
        return Err(Error::file(path, "lists users and no items", "name a file with lines `user item item ...`"));
    }
    let (user, item) = (users.finish(), items.finish());
    let rows = Rows { path: path.to_path_buf(), user, item, rating: None, time: None, lines: Lines::Each(lines) };
    Ok((rows, format!("a user and their items per line, {listed} lines")))
}

fn checked<'a>(path: &Path, line: u64, token: &'a str) -> Result<&'a str, Error> {
    if token.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(token);
    }
    Err(Error::line(
        path,
        line,
        format!("{} is not an unsigned integer", quote(token)),
        "a line is `user item item ...` with integer ids; for a table use the format `delimited`",
    ))
}

/// Whether the first lines of `text` look like this format.
///
/// A table of integers can look alike. It repeats its users, here every line has another; and since tables with tabs are
/// common and lists with tabs are not, those must also differ in length. Lists may repeat users where spaces separate
/// and more than a tenth of the lines are of unusual length; fewer are slips in a table, to be named when it is read.
pub(crate) fn recognise(text: &str) -> bool {
    const SAMPLE: usize = 1000;
    let allowed = |byte: u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'\t' | b'\r');
    let (mut users, mut lengths) = (HashSet::new(), HashMap::<usize, usize>::new());
    let (mut lines, mut tabs) = (0, false);
    for line in text.lines().filter(|line| !line.trim().is_empty()).take(SAMPLE) {
        if !line.bytes().all(allowed) {
            return false;
        }
        let mut tokens = line.split_ascii_whitespace();
        users.extend(tokens.next());
        *lengths.entry(tokens.count()).or_default() += 1;
        lines += 1;
        tabs |= line.contains('\t');
    }
    let usual = lengths.values().copied().max().unwrap_or(0);
    let (distinct, ragged) = (users.len() == lines, 10 * usual < 9 * lines);
    lengths.keys().any(|&length| length > 0) && if tabs { distinct && lengths.len() > 1 } else { distinct || ragged }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_without_items_and_trailing_spaces() {
        let (rows, layout) = read(Path::new("train.txt"), "0 7 8 \n1\n\n2\t8\r\n").unwrap();
        assert_eq!(layout, "a user and their items per line, 3 lines");
        assert_eq!(rows.user.names, ["0", "1", "2"]);
        assert_eq!(rows.user.codes, [0, 0, 2]);
        assert_eq!(rows.item.names, ["7", "8"]);
        assert_eq!((0..3).map(|row| rows.line(row)).collect::<Vec<_>>(), [1, 1, 4]);
    }

    #[test]
    fn ids_are_names_of_any_size() {
        let (rows, _) = read(Path::new("t"), "99999999999999999999 4000000000\n").unwrap();
        assert_eq!(rows.user.names, ["99999999999999999999"]);
    }

    #[test]
    fn offending_lines_are_named() {
        let message = |text| read(Path::new("t"), text).err().unwrap().to_string();
        assert!(
            message("0 1\n1 2 x3\n").starts_with("t:2: `x3` is not an unsigned integer; a line is `user item item")
        );
        assert!(message("0\n1\n").starts_with("t: lists users and no items"));
    }

    #[test]
    fn lists_and_tables_are_told_apart() {
        let twice = "0 1 2\n0 3\n1 2 3";
        for list in ["0 1 2\n1 3\n", "0 1\n1 2\n", "0\n1 2\n", "0 5 6 7 \n", "0\t1\t2\n1\t4\n", twice] {
            assert!(recognise(list), "{list}");
        }
        let four = "1 7 5 99\n1 8 4 98\n2 8 4 98\n";
        let tabs = "0\t1\t2\n0\t3\n1\t2\t3";
        let slip = "1 7 5\n".repeat(20) + "1 8\n";
        let quads = "1\t2\t3\t4\n2\t2\t3\t4\n";
        for table in ["0 1 5\n0 2 4\n", quads, "0,1\n1,2\n", "0 a\n1 b\n", "0\n1\n", "user item\n", four, tabs, &slip] {
            assert!(!recognise(table), "{table}");
        }
    }
}
