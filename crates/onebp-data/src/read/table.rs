//! Reads a table of text whose layout is known.
//!
//! White space around a field goes, unless double quotes enclose it: `a` and ` a` are the same id, `"a"` and `" a"` are
//! two.
//!
//! Two readers give the same rows. The fast one is Polars'; it takes tables with a separator of one byte and without
//! quotes. Whatever it does not like goes to the careful one, which knows every layout of ours and names the first
//! offending line. What the careful reader accepts is right, and what it refuses is wrong: the fast one only has to
//! agree (a test checks that).

use super::columns::Columns;
use super::records::Records;
use super::rows::{Lines, Names, Rows};
use super::text::{parse_rating, parse_time};
use crate::Error;
use crate::error::quote;
use polars::prelude::*;
use polars_io::prelude::*;
use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

/// How a table of text is laid out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// Between fields.
    pub(crate) separator: String,
    /// Whether double quotes enclose fields.
    pub(crate) quotes: bool,
    /// Whether the first line names the columns.
    pub(crate) header: bool,
    /// Names of all columns: the header's, else their numbers from 1.
    pub(crate) names: Vec<String>,
    /// What is in them.
    pub(crate) columns: Columns,
}

impl Layout {
    /// The layout in words, such as `comma, header: user,item,rating`.
    pub(crate) fn describe(&self) -> String {
        let used: Vec<&str> = self.columns.used().map(|column| self.names[column].as_str()).collect();
        let separator = separator_name(&self.separator);
        match self.header {
            true => format!("{separator}, header: {}", used.join(",")),
            false => format!("{separator}, no header: columns {}", used.join(",")),
        }
    }
}

/// A separator as a person calls it.
pub(crate) fn separator_name(separator: &str) -> String {
    match separator {
        "," => "comma".into(),
        "\t" => "tab".into(),
        ";" => "semicolon".into(),
        "|" => "bar".into(),
        " " => "space".into(),
        other => quote(other),
    }
}

/// Reads the table in `text`, the content of `path`.
///
/// # Errors
/// [`Error::Line`] for the first line that does not fit the layout, [`Error::File`] where there are no rows.
pub(crate) fn read_table(path: &Path, text: &str, layout: &Layout) -> Result<Rows, Error> {
    match fast(path, text, layout) {
        Some(rows) => Ok(rows),
        None => careful(path, text, layout),
    }
}

fn fast(path: &Path, text: &str, layout: &Layout) -> Option<Rows> {
    let &[separator] = layout.separator.as_bytes() else { return None };
    if layout.quotes && text.as_bytes().contains(&b'"') {
        return None;
    }
    let Columns { user, item, rating, time } = layout.columns;
    // All columns are read, although four at most are used: otherwise Polars does not notice surplus fields.
    let column_type = |column| match Some(column) {
        of if of == rating => DataType::Float32,
        of if of == time => DataType::Int64,
        _ => DataType::String,
    };
    let schema: Schema =
        (0..layout.names.len()).map(|column| Field::new(column.to_string().into(), column_type(column))).collect();
    let frame = CsvReadOptions::default()
        .with_has_header(layout.header)
        .with_schema(Some(Arc::new(schema)))
        .map_parse_options(|options| options.with_separator(separator).with_quote_char(None))
        .into_reader_with_file_handle(Cursor::new(text.as_bytes()))
        .finish()
        .ok()?;
    let lines = text.bytes().filter(|&byte| byte == b'\n').count() + usize::from(!text.ends_with('\n'));
    let nulls = frame.columns().iter().any(|column| column.null_count() > 0);
    if frame.height() == 0 || nulls || frame.height() + usize::from(layout.header) != lines {
        return None;
    }
    let names = |column: usize| {
        let column = frame.column(&column.to_string()).ok()?;
        let mut names = Names::default();
        for name in column.str().ok()?.iter() {
            names.push(name.map(str::trim).filter(|name| !name.is_empty())?);
        }
        Some(names.finish())
    };
    let (user, item) = rayon::join(|| names(user), || names(item));
    let rating = match rating {
        Some(column) => {
            let ratings = frame.column(&column.to_string()).ok()?.f32().ok()?;
            Some(
                ratings
                    .iter()
                    .map(|rating| rating.filter(|rating| rating.is_finite()))
                    .collect::<Option<Vec<f32>>>()?,
            )
        }
        None => None,
    };
    let time = match time {
        Some(column) => Some(frame.column(&column.to_string()).ok()?.i64().ok()?.iter().collect::<Option<Vec<i64>>>()?),
        None => None,
    };
    let lines = Lines::From(1 + u64::from(layout.header));
    Some(Rows { path: path.to_path_buf(), user: user?, item: item?, rating, time, lines })
}

fn careful(path: &Path, text: &str, layout: &Layout) -> Result<Rows, Error> {
    let Columns { user, item, rating, time } = layout.columns;
    let (mut users, mut items, mut lines) = (Names::default(), Names::default(), Vec::new());
    let mut ratings = rating.map(|_| Vec::new());
    let mut times = time.map(|_| Vec::new());
    let mut records = Records::new(text, &layout.separator, layout.quotes);
    let mut fields = Vec::new();
    let malformed = |malformed: super::records::Malformed| {
        Error::line(
            path,
            malformed.line,
            malformed.problem,
            "enclose the whole field in quotes and double those inside it",
        )
    };
    if layout.header {
        records.next(&mut fields).map_err(malformed)?;
    }
    while let Some(line) = records.next(&mut fields).map_err(malformed)? {
        if fields.len() != layout.names.len() {
            return Err(wrong_count(path, line, &fields, layout));
        }
        for (names, column, kind) in [(&mut users, user, "user"), (&mut items, item, "item")] {
            if fields[column].trim().is_empty() {
                let problem = format!("the {kind} id (column {}) is empty", quote(&layout.names[column]));
                return Err(Error::line(path, line, problem, "fill it in or remove the line"));
            }
            names.push(&fields[column]);
        }
        if let (Some(ratings), Some(column)) = (&mut ratings, rating) {
            let text = fields[column].trim();
            ratings.push(parse_rating(text).ok_or_else(|| not_a_number(path, line, text, "rating", column, layout))?);
        }
        if let (Some(times), Some(column)) = (&mut times, time) {
            let text = fields[column].trim();
            times.push(parse_time(text).ok_or_else(|| not_a_number(path, line, text, "time", column, layout))?);
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(Error::file(path, "holds a header and no rows", "name a file that holds interactions"));
    }
    let (user, item) = (users.finish(), items.finish());
    Ok(Rows { path: path.to_path_buf(), user, item, rating: ratings, time: times, lines: Lines::Each(lines) })
}

fn wrong_count(path: &Path, line: u64, fields: &[Cow<str>], layout: &Layout) -> Error {
    let there = match fields.len() {
        1 => "1 field".to_owned(),
        count => format!("{count} fields"),
    };
    let measure = if layout.header { "the header" } else { "the first line" };
    let integers = fields.iter().all(|field| field.bytes().all(|byte| byte.is_ascii_digit()));
    Error::line(
        path,
        line,
        format!(
            "{} has {there}, {measure} has {} (separator {})",
            quote(&fields.join(&layout.separator)),
            layout.names.len(),
            separator_name(&layout.separator)
        ),
        if layout.separator == " " && !layout.header && integers {
            "mend the line, or read lines of `user item item ...` with `--format lightgcn`"
        } else if layout.quotes {
            "mend the line; a field that holds the separator belongs between double quotes"
        } else {
            "mend the line"
        },
    )
}

fn not_a_number(path: &Path, line: u64, text: &str, kind: &str, column: usize, layout: &Layout) -> Error {
    let name = quote(&layout.names[column]);
    let problem = match text {
        "" => format!("the {kind} (column {name}) is missing"),
        _ => format!("the {kind} {} (column {name}) is not a finite number", quote(text)),
    };
    let remedy = match (line, layout.header) {
        (1, false) => "say that there is a header if this line names the columns".to_owned(),
        _ => format!("mend the line, or set `{kind}-column` to the right column or to an empty name to read none"),
    };
    Error::line(path, line, problem, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(separator: &str, header: bool, width: usize) -> Layout {
        let at = |column| (column < width).then_some(column);
        Layout {
            separator: separator.into(),
            quotes: true,
            header,
            names: ["user", "item", "rating", "time"][..width].iter().map(|name| name.to_string()).collect(),
            columns: Columns { user: 0, item: 1, rating: at(2), time: at(3) },
        }
    }

    fn fails(text: &str, layout: &Layout) -> String {
        read_table(Path::new("f.csv"), text, layout).err().unwrap().to_string()
    }

    type Plain = Vec<(String, String, Option<u32>, Option<i64>, u64)>;

    fn plain(rows: &Rows) -> Plain {
        (0..rows.len())
            .map(|row| {
                let name = |column: &super::super::rows::Coded| column.names[column.codes[row] as usize].clone();
                let rating = rows.rating.as_ref().map(|rating| rating[row].to_bits());
                let time = rows.time.as_ref().map(|time| time[row]);
                (name(&rows.user), name(&rows.item), rating, time, rows.line(row))
            })
            .collect()
    }

    #[test]
    fn lines_that_do_not_fit_are_named() {
        let four = layout(",", true, 4);
        assert_eq!(
            fails("user,item,rating,time\n1,2,3,4\n1,2,3\n", &four),
            "f.csv:3: `1,2,3` has 3 fields, the header has 4 (separator comma); mend the line; a field that holds the \
             separator belongs between double quotes"
        );
        assert!(
            fails("user,item,rating,time\n1,2,3,4,5\n", &four).starts_with("f.csv:2: `1,2,3,4,5` has 5 fields, the")
        );
        assert_eq!(
            fails("user,item,rating,time\n1,2,good,4\n", &four),
            "f.csv:2: the rating `good` (column `rating`) is not a finite number; mend the line, or set `rating-column` \
             to the right column or to an empty name to read none"
        );
        assert!(
            fails("u,i,r,t\n1,2,NaN,4\n", &four).starts_with("f.csv:2: the rating `NaN` (column `rating`) is not a")
        );
        assert!(
            fails("u,i,r,t\n1,2,3,4\n1,2,,4\n", &four).starts_with("f.csv:3: the rating (column `rating`) is missing")
        );
        assert!(fails("u,i,r,t\n1,2,3,noon\n", &four).starts_with("f.csv:2: the time `noon` (column `time`) is not a"));
        assert!(
            fails("1,2,x,4\n", &layout(",", false, 4)).ends_with("there is a header if this line names the columns")
        );
        assert_eq!(
            fails("u,i,r,t\n1,2,3,4\n ,2,3,4\n", &four),
            "f.csv:3: the user id (column `user`) is empty; fill it in or remove the line"
        );
        assert_eq!(fails("u,i,r,t\n", &four), "f.csv: holds a header and no rows; name a file that holds interactions");
        assert!(
            fails("u,i,r,t\n\"1,2,3,4\n", &four).starts_with("f.csv:2: a double quote is opened and never closed; ")
        );
    }

    #[test]
    fn quoted_ids_are_taken_as_they_are() {
        let text = "\"a\",x\n\" a\",x\n\"a \",\" x\"\n b , x\nb,x \n";
        let rows = read_table(Path::new("f.csv"), text, &layout(",", false, 2)).unwrap();
        assert_eq!(
            (rows.user.names, rows.item.names),
            (["a", " a", "a ", "b"].map(String::from).to_vec(), vec!["x".into(), " x".into()])
        );
        assert!(
            fails("\" \",x\n", &layout(",", false, 2)).starts_with("f.csv:1: the user id (column `user`) is empty")
        );
    }

    #[test]
    fn lists_of_integers_may_be_another_format() {
        let three = layout(" ", false, 3);
        assert!(fails("0 1 2\n0 3\n", &three).ends_with("read lines of `user item item ...` with `--format lightgcn`"));
        assert!(!fails("0 1 2\n0 x\n", &three).contains("lightgcn"));
    }

    #[test]
    fn surplus_fields_behind_the_used_ones_are_noticed() {
        let mut three = layout(",", true, 3);
        three.columns.rating = None;
        assert!(fails("u,i,r\n1,2,3\n1,2,3,4\n", &three).starts_with("f.csv:3: "));
        assert!(fails("u,i,r\n1,2,3\n1,2\n", &three).starts_with("f.csv:3: "));
    }

    proptest! {
        /// The fast reader either declines or agrees with the careful one, rows and lines alike.
        #[test]
        fn the_two_readers_agree(
            rows in prop::collection::vec(("[a-c1-3 é]{0,3}", "[0-9]{0,3}", "[0-9.eN-]{0,3}|[1-5]", "[0-9]{1,4}|[0-9.]{0,4}"), 1..20),
            width in 2usize..5,
            header: bool,
            last: bool,
            blank in prop::option::of(0usize..20),
            end in prop::sample::select(vec!["\n", "\r\n"]),
        ) {
            let layout = layout("\t", header, width);
            let mut lines: Vec<String> =
                rows.iter().map(|(u, i, r, t)| [u, i, r, t].map(String::as_str)[..width].join("\t")).collect();
            if header {
                lines.insert(0, layout.names.join("\t"));
            }
            if let Some(at) = blank {
                lines.insert(at.min(lines.len()), String::new());
            }
            let text = lines.join(end) + if last { end } else { "" };
            let path = Path::new("f");
            if let Some(fast) = fast(path, &text, &layout) {
                prop_assert_eq!(plain(&fast), plain(&careful(path, &text, &layout).unwrap()));
            }
        }
    }

    #[test]
    fn the_fast_reader_takes_ordinary_tables() {
        for end in ["\n", "\r\n"] {
            let rows =
                fast(Path::new("f"), &format!("u,i,r,t{end}a,7,4.5,99{end}b,7,1,98"), &layout(",", true, 4)).unwrap();
            assert_eq!(plain(&rows)[1], ("b".into(), "7".into(), Some(1f32.to_bits()), Some(98), 3));
        }
    }
}
