//! The rows of one file before dense ids are given, since the files of a split share one id space.

use crate::error::quote;
use crate::interactions::in_id_order;
use crate::{Error, IdMap, Interactions};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A column of names under construction: every distinct name is stored once.
#[derive(Default)]
pub(crate) struct Names {
    seen: HashMap<String, u32>,
    codes: Vec<u32>,
}

impl Names {
    /// Makes `name` known without a row, such as a user without items.
    pub(crate) fn code(&mut self, name: &str) -> u32 {
        if let Some(&code) = self.seen.get(name) {
            return code;
        }
        let code = self.seen.len() as u32;
        self.seen.insert(name.to_owned(), code);
        code
    }

    /// Appends a row.
    pub(crate) fn push(&mut self, name: &str) {
        let code = self.code(name);
        self.codes.push(code);
    }

    /// Appends a row for a name that [`Names::code`] gave.
    pub(crate) fn push_code(&mut self, code: u32) {
        self.codes.push(code);
    }

    pub(crate) fn finish(self) -> Coded {
        let mut names = vec![String::new(); self.seen.len()];
        for (name, code) in self.seen {
            names[code as usize] = name;
        }
        Coded { codes: self.codes, names }
    }
}

/// A column of names: row `r` holds `names[codes[r]]`; the names are distinct and not empty.
pub(crate) struct Coded {
    pub(crate) codes: Vec<u32>,
    pub(crate) names: Vec<String>,
}

impl Coded {
    fn name(&self, row: usize) -> &str {
        &self.names[self.codes[row] as usize]
    }
}

/// Where the rows of a file stand, from 1: lines of a text, rows of a Parquet file.
pub(crate) enum Lines {
    /// Row `r` stands at this line plus `r`.
    From(u64),
    /// Row `r` stands at the `r`-th of these lines.
    Each(Vec<u64>),
}

/// The rows of one file.
pub(crate) struct Rows {
    pub(crate) path: PathBuf,
    pub(crate) user: Coded,
    pub(crate) item: Coded,
    pub(crate) rating: Option<Vec<f32>>,
    pub(crate) time: Option<Vec<i64>>,
    pub(crate) lines: Lines,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.user.codes.len()
    }

    /// The line of a row.
    pub(crate) fn line(&self, row: usize) -> u64 {
        match &self.lines {
            Lines::From(first) => first + row as u64,
            Lines::Each(lines) => lines[row],
        }
    }

    /// `file:line` of a row, for messages.
    pub(crate) fn place(&self, row: usize) -> String {
        format!("{}:{}", self.path.display(), self.line(row))
    }

    /// # Errors
    /// [`Error::Line`] for an id with a control character.
    pub(crate) fn check_ids(&self) -> Result<(), Error> {
        for (column, kind) in [(&self.user, "user"), (&self.item, "item")] {
            let Some(odd) = column.names.iter().position(|name| name.contains(char::is_control)) else { continue };
            let row = column.codes.iter().position(|&code| code as usize == odd).unwrap_or(0);
            check_id(&self.path, self.line(row), kind, &column.names[odd])?;
        }
        Ok(())
    }

    /// Only the rows rated `least` or better, and the ids that occur in them. Rows without ratings are an error.
    pub(crate) fn rated(&self, least: f64) -> Result<Rows, Error> {
        let Some(ratings) = &self.rating else {
            return Err(Error::file(
                &self.path,
                format!("has no ratings to compare with the least rating {least}"),
                "name the rating column with `rating-column`, or leave `min-rating` out",
            ));
        };
        // In the precision of the column, so that 4.1 in the file is not below 4.1 in the options.
        let kept: Vec<usize> = (0..self.len()).filter(|&row| ratings[row] >= least as f32).collect();
        if kept.is_empty() {
            return Err(Error::file(&self.path, format!("no rating is {least} or more"), "lower `min-rating`"));
        }
        let column = |from: &Coded| {
            let mut names = Names::default();
            kept.iter().for_each(|&row| names.push(from.name(row)));
            names.finish()
        };
        Ok(Rows {
            path: self.path.clone(),
            user: column(&self.user),
            item: column(&self.item),
            rating: Some(kept.iter().map(|&row| ratings[row]).collect()),
            time: self.time.as_ref().map(|time| kept.iter().map(|&row| time[row]).collect()),
            lines: Lines::Each(kept.iter().map(|&row| self.line(row)).collect()),
        })
    }

    /// Dense (user, item) of every row.
    ///
    /// # Errors
    /// [`Error::Line`] where an id is not among `users` or `items`.
    pub(crate) fn pairs(&self, users: &IdMap, items: &IdMap) -> Result<Vec<(u32, u32)>, Error> {
        let user = self.dense(&self.user, users, "user")?;
        let item = self.dense(&self.item, items, "item")?;
        Ok(user.into_iter().zip(item).collect())
    }

    fn dense(&self, column: &Coded, ids: &IdMap, kind: &str) -> Result<Vec<u32>, Error> {
        let table: Vec<Option<u32>> = column.names.iter().map(|name| ids.dense(name)).collect();
        let dense: Option<Vec<u32>> = column.codes.iter().map(|&code| table[code as usize]).collect();
        dense.ok_or_else(|| {
            let row = column.codes.iter().position(|&code| table[code as usize].is_none()).unwrap_or(0);
            Error::line(
                &self.path,
                self.line(row),
                format!("{kind} {} is not in the list of {kind}s", quote(column.name(row))),
                format!("add it to the list of {kind}s, or remove the line"),
            )
        })
    }

    /// The rows with ids of their own.
    pub(crate) fn into_interactions(self) -> Result<Interactions, Error> {
        let (users, items) = id_space(&[&self]);
        let user = self.dense(&self.user, &users, "user")?;
        let item = self.dense(&self.item, &items, "item")?;
        Ok(Interactions { users, items, user, item, rating: self.rating, time: self.time })
    }
}

/// Refuses control characters: with a line end or a tab in an id, a table with one row per line cannot be trusted.
pub(crate) fn check_id(path: &Path, line: u64, kind: &str, id: &str) -> Result<(), Error> {
    if !id.contains(char::is_control) {
        return Ok(());
    }
    let problem = format!("the {kind} id {} holds a control character", quote(id));
    Err(Error::line(path, line, problem, "take it out of the id, or replace it by another character"))
}

/// The ids of users and of items that several files share.
pub(crate) fn id_space(files: &[&Rows]) -> (IdMap, IdMap) {
    let of = |column: fn(&Rows) -> &Coded| {
        in_id_order(files.iter().flat_map(|&rows| column(rows).names.iter().map(String::as_str)).collect())
    };
    rayon::join(|| of(|rows| &rows.user), || of(|rows| &rows.item))
}
