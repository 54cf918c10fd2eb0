//! Titles of items, to show people more than ids.
//!
//! `u.item` of MovieLens 100K (`id|title|...`), `movies.dat` of MovieLens 1M (`id::title::...`), or a table with an id and
//! a title, with or without a header, RecBole's `.item` included. The two MovieLens files are Latin-1, where every byte is
//! a character; so is, for this reader, whatever is not UTF-8.

use crate::Error;
use crate::error::quote;
use crate::read::columns::{item_column, plain};
use crate::read::delimited::guess_separator;
use crate::read::records::{Records, first_records};
use std::collections::HashMap;
use std::path::Path;

/// Column names of titles, without case, `_`, `-`, `.` and spaces.
const TITLE: &[&str] = &["title", "name", "movietitle", "itemtitle", "itemname", "producttitle", "label"];

/// Reads raw item id -> title.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read, [`Error::Line`] where a line has no title, [`Error::File`] where there is
/// no title at all.
pub fn titles(path: &Path) -> Result<HashMap<String, String>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let text =
        String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().iter().map(|&byte| byte as char).collect());
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let Layout { separator, quotes, header, id, title } = layout(text);
    let mut titles = HashMap::new();
    let mut records = Records::new(text, separator, quotes);
    let mut fields = Vec::new();
    let mut skip = header;
    while let Some(line) =
        records.next(&mut fields).map_err(|bad| Error::line(path, bad.line, bad.problem, "mend the line"))?
    {
        if std::mem::take(&mut skip) {
            continue;
        }
        match (fields.get(id).map(|field| field.trim()), fields.get(title).map(|field| field.trim())) {
            (Some(id), Some(title)) if !id.is_empty() => titles.insert(id.to_owned(), title.to_owned()),
            _ => {
                let problem = format!("{} has no id and title", quote(&fields.join(separator)));
                let remedy = "a line of titles is `id|title`, `id::title`, or a row of a table with both";
                return Err(Error::line(path, line, problem, remedy));
            }
        };
    }
    if titles.is_empty() {
        return Err(Error::file(path, "holds no titles", "name a file such as u.item, movies.dat or movies.csv"));
    }
    Ok(titles)
}

struct Layout {
    separator: &'static str,
    quotes: bool,
    header: bool,
    id: usize,
    title: usize,
}

fn layout(text: &str) -> Layout {
    let plain_file = |separator| Layout { separator, quotes: false, header: false, id: 0, title: 1 };
    if first_records(text, "::", false, 1).first().is_some_and(|record| record.len() > 1) {
        return plain_file("::");
    }
    let separator = guess_separator(text);
    let first = first_records(text, separator, true, 1).concat();
    // RecBole writes the type behind the name.
    let names: Vec<String> = first.iter().map(|name| name.split(':').next().unwrap_or("").to_owned()).collect();
    let id = item_column(&names).or_else(|| names.iter().position(|name| plain(name) == "id"));
    let title = names.iter().position(|name| TITLE.contains(&&*plain(name)));
    match (id, title) {
        (None, None) if separator == "|" => plain_file(separator),
        (None, None) => Layout { quotes: true, ..plain_file(separator) },
        (id, title) => {
            let id = id.unwrap_or(usize::from(title == Some(0)));
            Layout { separator, quotes: true, header: true, id, title: title.unwrap_or(usize::from(id == 0)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items");
        std::fs::write(&path, bytes).unwrap();
        let mut titles: Vec<_> = titles(&path)
            .map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "items"))?
            .into_iter()
            .collect();
        titles.sort();
        Ok(titles)
    }

    #[test]
    fn every_layout() {
        let expected = Ok(vec![("1".to_owned(), "Caf\u{e9} (1999)".to_owned()), ("2".into(), "Boat, The".into())]);
        for text in [
            &b"1|Caf\xe9 (1999)|01-Jan-1999||x|0|1\n2|Boat, The|||x|1|0\n"[..],
            b"1::Caf\xe9 (1999)::Drama\r\n2::Boat, The::Comedy|War\r\n",
            b"movieId,title,genres\n1,Caf\xe9 (1999),Drama\n2,\"Boat, The\",War\n",
            "\u{feff}title;id\nCaf\u{e9} (1999);1\nBoat, The;2\n".as_bytes(),
            "item_id:token\tmovie_title:token_seq\n1\tCaf\u{e9} (1999)\n2\tBoat, The\n".as_bytes(),
            "1\tCaf\u{e9} (1999)\n2\tBoat, The\n".as_bytes(),
        ] {
            assert_eq!(read(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn lines_without_a_title_are_named() {
        assert!(
            read(b"1::A::x\n2\n").unwrap_err().starts_with("items:2: `2` has no id and title; a line of titles is")
        );
        assert!(read(b"").unwrap_err().starts_with("items: holds no titles; "));
    }
}
