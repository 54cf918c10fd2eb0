//! Which column holds what: by the options, else by the names that public data sets use, else by position.

use crate::error::quote;
use crate::{Error, ReadOptions};
use std::path::Path;

/// Names tried in this order where the options name no column. Case, `_`, `-`, `.` and spaces do not matter.
const USER: &[&str] = &["user", "userid", "uid", "u", "useridx", "customer", "customerid", "reviewerid", "visitorid"];
const ITEM: &[&str] = &[
    "item",
    "itemid",
    "iid",
    "i",
    "itemidx",
    "movie",
    "movieid",
    "product",
    "productid",
    "parentasin",
    "asin",
    "book",
    "bookid",
    "track",
    "trackid",
    "song",
    "songid",
    "artist",
    "artistid",
    "business",
    "businessid",
    "venueid",
    "poi",
    "location",
    "locationid",
    "news",
    "newsid",
];
const RATING: &[&str] = &["rating", "r", "score", "stars", "overall", "preference"];
const TIME: &[&str] = &["time", "timestamp", "ts", "t", "unixtime", "unixreviewtime"];

/// Positions of the columns, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) user: usize,
    pub(crate) item: usize,
    pub(crate) rating: Option<usize>,
    pub(crate) time: Option<usize>,
}

impl Columns {
    /// The columns that are there, in the order user, item, rating, time.
    pub(crate) fn used(&self) -> impl Iterator<Item = usize> {
        [Some(self.user), Some(self.item), self.rating, self.time].into_iter().flatten()
    }

    /// Finds the columns among `names`.
    ///
    /// # Errors
    /// [`Error::File`] that lists the columns there are.
    pub(crate) fn by_name(path: &Path, names: &[String], options: &ReadOptions) -> Result<Self, Error> {
        let find = |option: &Option<String>, known: &[&str], role: &str, needed: bool| match option {
            Some(name) if name.is_empty() && !needed => Ok(None),
            Some(name) => named(path, names, name, role).map(Some),
            None => {
                let at = known.iter().find_map(|known| names.iter().position(|name| plain(name) == *known));
                match at {
                    None if needed => Err(Error::file(
                        path,
                        format!("none of its columns ({}) is known to hold {role}s", list(names)),
                        format!("name the right one with `{role}-column`"),
                    )),
                    at => Ok(at),
                }
            }
        };
        Self {
            user: find(&options.user_column, USER, "user", true)?.unwrap_or(0),
            item: find(&options.item_column, ITEM, "item", true)?.unwrap_or(0),
            rating: find(&options.rating_column, RATING, "rating", false)?,
            time: find(&options.time_column, TIME, "time", false)?,
        }
        .distinct(path, names)
    }

    /// Takes user, item, rating and time from the columns 1, 2, 3 and 4 of `count`, unless the options say otherwise.
    ///
    /// # Errors
    /// [`Error::File`] where there is no such column.
    pub(crate) fn by_position(path: &Path, count: usize, options: &ReadOptions) -> Result<Self, Error> {
        let names: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
        let find = |option: &Option<String>, default: usize, role: &str| match option {
            Some(name) if name.is_empty() && default > 1 => Ok(None),
            Some(name) => named(path, &names, name, role).map(Some),
            None => Ok((default < count).then_some(default)),
        };
        Self {
            user: find(&options.user_column, 0, "user")?.unwrap_or(0),
            item: find(&options.item_column, 1, "item")?.unwrap_or(0),
            rating: find(&options.rating_column, 2, "rating")?,
            time: find(&options.time_column, 3, "time")?,
        }
        .distinct(path, &names)
    }

    fn distinct(self, path: &Path, names: &[String]) -> Result<Self, Error> {
        let used: Vec<usize> = self.used().collect();
        match used.iter().enumerate().find(|(at, column)| used[..*at].contains(column)) {
            Some((_, &column)) => Err(Error::file(
                path,
                format!("column {} would be read as two things at once", quote(&names[column])),
                "name different columns with `user-column`, `item-column`, `rating-column` and `time-column` (an empty \
                 name reads no rating or no time)",
            )),
            None => Ok(self),
        }
    }
}

/// Whether a line of words is a header: it holds a name of users or one that the options ask for, or two known names.
/// One known name alone may be an id, since items may well be called `book` or `news`.
pub(crate) fn is_header(fields: &[String], options: &ReadOptions) -> bool {
    let asked = [&options.user_column, &options.item_column, &options.rating_column, &options.time_column];
    let is_asked =
        |name: &String| name.parse::<f64>().is_err() && asked.into_iter().flatten().any(|asked| asked == name);
    // Single letters are too weak.
    let known = |known: &[&str], name: &String| name.len() > 1 && known.contains(&&*plain(name));
    let users = fields.iter().any(|name| known(USER, name));
    let all = fields.iter().filter(|name| [USER, ITEM, RATING, TIME].iter().any(|of| known(of, name))).count();
    users || all > 1 || fields.iter().any(is_asked)
}

/// The first of `names` that is known to hold items.
pub(crate) fn item_column(names: &[String]) -> Option<usize> {
    ITEM.iter().find_map(|known| names.iter().position(|name| plain(name) == *known))
}

/// Lower case without the characters that data sets join words with.
pub(crate) fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' ')).flat_map(char::to_lowercase).collect()
}

/// The names of columns for a message.
pub(crate) fn list(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

/// The column that an option names: by its name, else by its number from 1.
fn named(path: &Path, names: &[String], wanted: &str, role: &str) -> Result<usize, Error> {
    let mut same = (0..names.len()).filter(|&at| names[at] == wanted);
    match (same.next(), same.next()) {
        (Some(at), None) => return Ok(at),
        (Some(first), Some(second)) => {
            return Err(Error::file(
                path,
                format!("two columns are called {}", quote(wanted)),
                format!("give the number of the right one, {} or {}, as `{role}-column`", first + 1, second + 1),
            ));
        }
        (None, _) => {}
    }
    match wanted.parse::<usize>() {
        Ok(number) if (1..=names.len()).contains(&number) => Ok(number - 1),
        _ => Err(Error::file(
            path,
            format!("has no column {}; it has {}", quote(wanted), list(names)),
            format!("name one of these, or a number from 1 to {}, as `{role}-column`", names.len()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    fn find(header: &str, options: &ReadOptions) -> Result<Columns, String> {
        Columns::by_name(Path::new("f"), &names(header), options).map_err(|error| error.to_string())
    }

    #[test]
    fn names_of_public_data_sets() {
        let none = ReadOptions::default();
        let columns = |user, item, rating, time| Ok(Columns { user, item, rating, time });
        assert_eq!(find("userId,movieId,rating,timestamp", &none), columns(0, 1, Some(2), Some(3)));
        assert_eq!(find("user_id,movie_id,rating", &none), columns(0, 1, Some(2), None));
        assert_eq!(find("ISBN,Book-ID,User-ID", &none), columns(2, 1, None, None));
        assert_eq!(find("u,i", &none), columns(0, 1, None, None));
    }

    #[test]
    fn options_name_columns_or_count_them() {
        let options = ReadOptions {
            user_column: Some("who".into()),
            item_column: Some("3".into()),
            rating_column: Some(String::new()),
            ..Default::default()
        };
        let expected = Columns { user: 0, item: 2, rating: None, time: None };
        assert_eq!(find("who,rating,what", &options), Ok(expected));
    }

    #[test]
    fn messages_list_the_columns() {
        let none = ReadOptions::default();
        assert_eq!(
            find("who,item", &none).unwrap_err(),
            "f: none of its columns (`who`, `item`) is known to hold users; name the right one with `user-column`"
        );
        let wrong = ReadOptions { rating_column: Some("points".into()), ..Default::default() };
        assert_eq!(
            find("user,item", &wrong).unwrap_err(),
            "f: has no column `points`; it has `user`, `item`; name one of these, or a number from 1 to 2, as `rating-column`"
        );
        let twice = ReadOptions { item_column: Some("x".into()), ..Default::default() };
        assert_eq!(
            find("user,x,x", &twice).unwrap_err(),
            "f: two columns are called `x`; give the number of the right one, 2 or 3, as `item-column`"
        );
        let both = ReadOptions { item_column: Some("user".into()), ..Default::default() };
        assert!(
            find("user,item", &both).unwrap_err().starts_with("f: column `user` would be read as two things at once")
        );
    }
}
