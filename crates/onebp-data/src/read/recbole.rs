//! RecBole's atomic interaction file: tab-separated, its header gives every column a name and a type, such as
//! `user_id:token  item_id:token  rating:float  timestamp:float`.
//!
//! Source: RecBole's documentation, "Atomic Files".

use super::columns::Columns;
use super::records::first_records;
use super::rows::Rows;
use super::table::{Layout, read_table};
use crate::{Error, ReadOptions};
use std::path::Path;

/// Reads the interactions in `text`, the content of `path`; also returns the layout in words.
pub(crate) fn read(path: &Path, text: &str, options: &ReadOptions) -> Result<(Rows, String), Error> {
    let separator = options.separator.unwrap_or('\t').to_string();
    let Some(names) = typed_header(text, &separator) else {
        let found = text.lines().next().unwrap_or("");
        return Err(Error::line(
            path,
            1,
            format!("{} is no header of RecBole's", crate::error::quote(found)),
            "every column needs `name:type` with the type token, token_seq, float or float_seq, separated by tabs (or by \
             `separator`); for a file without types use the format `delimited`",
        ));
    };
    let columns = Columns::by_name(path, &names, options)?;
    let layout = Layout { separator, quotes: true, header: true, names, columns };
    Ok((read_table(path, text, &layout)?, layout.describe()))
}

/// The column names of a header in which every column has a type.
pub(crate) fn typed_header(text: &str, separator: &str) -> Option<Vec<String>> {
    let header = first_records(text, separator, true, 1).into_iter().next()?;
    header
        .iter()
        .map(|column| match column.rsplit_once(':') {
            Some((name, "token" | "token_seq" | "float" | "float_seq")) => Some(name.to_owned()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_dropped_and_columns_found_in_any_order() {
        let text = "rating:float\titem_id:token\tuser_id:token\ttimestamp:float\n4\tx\ta\t12.0\n5\ty\ta\t13\n";
        let (rows, layout) = read(Path::new("a.inter"), text, &ReadOptions::default()).unwrap();
        assert_eq!(layout, "tab, header: user_id,item_id,rating,timestamp");
        assert_eq!(rows.user.names, ["a"]);
        assert_eq!(rows.item.names, ["x", "y"]);
        assert_eq!(rows.time, Some(vec![12, 13]));
    }

    #[test]
    fn a_header_without_types_is_refused() {
        let error = read(Path::new("a.inter"), "user_id\titem_id\n1\t2\n", &ReadOptions::default()).err().unwrap();
        assert!(
            error.to_string().starts_with("a.inter:1: `user_id\\titem_id` is no header of RecBole's; every column")
        );
    }
}
