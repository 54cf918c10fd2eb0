//! Titles of items, to show people more than ids.
//!
//! `u.item` of MovieLens 100K (`id|title|...`), `movies.dat` of MovieLens 1M (`id::title::...`), a table of two columns,
//! or one whose header names an id and a title, RecBole's `.item` included. The two MovieLens files are Latin-1, where
//! every byte is a character; so is, for this reader, whatever is not UTF-8.

use crate::error::quote;
use crate::read::columns::{is_header, item_column, plain};
use crate::read::delimited::guess_separator;
use crate::read::recbole::typed_header;
use crate::read::records::{Records, first_records};
use crate::read::text::check_regular;
use crate::{Error, ReadOptions};
use std::collections::HashMap;
use std::path::Path;

/// Column names of titles, without case, `_`, `-`, `.` and spaces.
const TITLE: &[&str] = &["title", "name", "movietitle", "itemtitle", "itemname", "producttitle", "label"];

/// Reads raw item id -> title. Control characters in titles become spaces, so that a title takes no more than its line.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read, [`Error::Line`] where a line has no title, [`Error::File`] where there
/// is no title at all or the columns are others.
pub fn titles(path: &Path) -> Result<HashMap<String, String>, Error> {
    check_regular(path)?;
    let text = any_text(path)?;
    let Layout { separator, quotes, header, id, title } = layout(path, &text)?;
    let mut titles = HashMap::new();
    let mut records = Records::new(&text, separator, quotes);
    let mut fields = Vec::new();
    let mut skip = header;
    while let Some(line) =
        records.next(&mut fields).map_err(|bad| Error::line(path, bad.line, bad.problem, "mend the line"))?
    {
        if std::mem::take(&mut skip) {
            continue;
        }
        match (fields.get(id), fields.get(title)) {
            (Some(id), Some(title)) if !id.is_empty() => {
                titles.insert(id.to_string(), title.trim().replace(char::is_control, " "))
            }
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

/// The content of a file without its byte order mark; what is not UTF-8 is read as Latin-1.
///
/// # Errors
/// [`Error::Io`] where it cannot be read.
pub(crate) fn any_text(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let text =
        String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().iter().map(|&byte| byte as char).collect());
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

struct Layout {
    separator: &'static str,
    quotes: bool,
    header: bool,
    id: usize,
    title: usize,
}

/// Works out the layout of `text` from its first line.
///
/// # Errors
/// [`Error::File`] where that is no line of titles: other columns would be shown as titles.
fn layout(path: &Path, text: &str) -> Result<Layout, Error> {
    let double_colons = first_records(text, "::", false, 1).concat();
    let (separator, first) = if double_colons.len() > 1 {
        ("::", double_colons)
    } else {
        let separator = guess_separator(text);
        (separator, first_records(text, separator, true, 1).concat())
    };
    let names = typed_header(text, separator).unwrap_or_else(|| first.clone());
    let id = item_column(&names).or_else(|| names.iter().position(|name| plain(name) == "id"));
    let title = names.iter().position(|name| TITLE.contains(&&*plain(name)));
    let quotes = separator != "::";
    // Interactions: a header that says so, or numbers only.
    let others = is_header(&names, &ReadOptions::default())
        || first.len() > 2 && first.iter().all(|field| field.parse::<f64>().is_ok());
    match (id, title) {
        (Some(id), Some(title)) => Ok(Layout { separator, quotes, header: true, id, title }),
        _ if !others && matches!(separator, "::" | "|") => {
            Ok(Layout { separator, quotes: false, header: false, id: 0, title: 1 })
        }
        // Nothing to go by: reading says what is wrong.
        _ if first.is_empty() => Ok(Layout { separator, quotes, header: false, id: 0, title: 1 }),
        (id, title) if !others && first.len() == 2 => {
            let header = id.is_some() || title.is_some();
            let id = id.unwrap_or(usize::from(title == Some(0)));
            Ok(Layout { separator, quotes, header, id, title: 1 - id })
        }
        _ => Err(Error::file(
            path,
            format!(
                "starts with {}, which is no id and title",
                quote(text.lines().find(|line| !line.is_empty()).unwrap_or(""))
            ),
            "titles are `id|title` (u.item), `id::title` (movies.dat), a table of two columns, or one whose header names an \
             id (such as `item_id` or `movieId`) and a `title` or `name`",
        )),
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
            "name,year,iid\nCaf\u{e9} (1999),1999,1\n\"Boat, The\",1950,2\n".as_bytes(),
            "what,title\n1,Caf\u{e9} (1999)\n2,\"Boat, The\"\n".as_bytes(),
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

    #[test]
    fn other_columns_are_refused() {
        assert_eq!(
            read(b"user,item,rating,time\n1,2,3,4\n").unwrap_err(),
            "items: starts with `user,item,rating,time`, which is no id and title; titles are `id|title` (u.item), \
             `id::title` (movies.dat), a table of two columns, or one whose header names an id (such as `item_id` or \
             `movieId`) and a `title` or `name`"
        );
        for text in [
            "1\t2\t3\t881\n",
            "1::2::3::978300760\n",
            "1|2|3|881\n",
            "user|item\n1|2\n",
            "user,item\n1,2\n",
            "item,year,genre\n1,1999,Drama\n",
            "1,A,Drama\n",
            "user_id:token\titem_id:token\trating:float\n1\t2\t3\n",
            "1\n2\n",
        ] {
            assert!(read(text.as_bytes()).unwrap_err().contains(", which is no id and title; "), "{text}");
        }
    }

    #[test]
    fn a_title_takes_one_line() {
        assert_eq!(
            read(b"id,title\n1,\"a\nb\"\n\" 2\",c\n").unwrap(),
            [(" 2".into(), "c".into()), ("1".into(), "a b".into())]
        );
    }
}
