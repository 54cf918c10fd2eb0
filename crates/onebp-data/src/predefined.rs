//! A data set from files that are split already.
//!
//! All parts share one id space; the catalogue is the union of their items. Real splits have oddities, and results should
//! neither depend on them in silence nor be refused for them: they are mended or tolerated with one warning each, which
//! counts them and names the first place. Under `strict` the first one is an error.
//!
//! | oddity | what happens |
//! |---|---|
//! | a pair repeated within a part | collapsed |
//! | a held-out pair that is in train (or in validation) | removed from the later part |
//! | a held-out item that train does not have | stays in the catalogue |
//! | a held-out user that train does not have | stays |

use crate::error::quote;
use crate::read::rows::{Rows, id_space};
use crate::{Csr, Dataset, Error, IdMap};
use std::path::Path;

/// The parts of a split as they were read.
pub(crate) struct Parts {
    pub(crate) train: Rows,
    pub(crate) valid: Option<Rows>,
    pub(crate) test: Rows,
}

impl Parts {
    /// The ids of users and of items in all parts.
    pub(crate) fn id_space(&self) -> (IdMap, IdMap) {
        let mut files = vec![&self.train, &self.test];
        files.extend(&self.valid);
        id_space(&files)
    }
}

/// What the parts share.
pub(crate) struct Frame {
    pub(crate) name: String,
    pub(crate) split: String,
    /// The ids as the parts write them.
    pub(crate) users: IdMap,
    /// The ids as the parts write them.
    pub(crate) items: IdMap,
    pub(crate) strict: bool,
}

/// Puts the parts together.
///
/// # Errors
/// [`Error::Line`] where an id is not in the frame or, if strict, for the first oddity; [`Error::File`] where nothing is
/// left of a part.
pub(crate) fn assemble(parts: &Parts, frame: Frame) -> Result<Dataset, Error> {
    let Frame { name, split, users, items, strict } = frame;
    let mut check = Check { users: &users, items: &items, strict, warnings: Vec::new() };
    let train = check.part(&parts.train, "training", &[], None)?;
    let valid = match &parts.valid {
        Some(rows) => Some(check.part(rows, "validation", &[(&train, "train")], Some(&train))?),
        None => None,
    };
    let mut earlier = vec![(&train, "train")];
    earlier.extend(valid.as_ref().map(|valid| (valid, "validation")));
    let test = check.part(&parts.test, "test", &earlier, Some(&train))?;
    let warnings = check.warnings;
    Ok(Dataset { name, split, users, items, train, valid, test, warnings })
}

struct Check<'a> {
    users: &'a IdMap,
    items: &'a IdMap,
    strict: bool,
    warnings: Vec<String>,
}

impl Check<'_> {
    /// One part without the pairs of `earlier` parts; users and items are compared with those of `train`.
    fn part(&mut self, rows: &Rows, part: &str, earlier: &[(&Csr, &str)], train: Option<&Csr>) -> Result<Csr, Error> {
        let mut pairs = rows.pairs(self.users, self.items)?;
        for (other, called) in earlier {
            let overlaps: Vec<usize> = places(&pairs, |(user, item)| other.contains(user, item));
            self.oddity(rows, &overlaps, "remove the line from one of the two files", |row| {
                let (user, item) = pairs[row];
                let (user, item) = (quote(self.users.raw(user)), quote(self.items.raw(item)));
                let said = format!("the {part} pair of user {user} and item {item} is in {called} as well");
                (said, format!("{part} pairs that are in {called} as well: {}, removed from {part}", overlaps.len()))
            })?;
            pairs.iter_mut().filter(|(user, item)| other.contains(*user, *item)).for_each(|pair| *pair = REMOVED);
        }
        let kept: Vec<(u32, u32)> = pairs.iter().copied().filter(|&pair| pair != REMOVED).collect();
        let csr = Csr::from_pairs(self.users.len(), self.items.len(), &kept)?;
        if csr.is_empty() {
            let problem = format!("no {part} pair is left of {} rows", rows.len());
            return Err(Error::file(&rows.path, problem, "train and held-out parts must not hold the same pairs"));
        }
        if csr.len() < kept.len() {
            let repeated = kept.len() - csr.len();
            self.warnings.push(format!("rows of {} that repeat a pair: {repeated}, collapsed", name(&rows.path)));
        }
        if let Some(train) = train {
            self.unknown(rows, &pairs, part, train)?;
        }
        Ok(csr)
    }

    /// Items and users of a held-out part that have no training pair.
    fn unknown(&mut self, rows: &Rows, pairs: &[(u32, u32)], part: &str, train: &Csr) -> Result<(), Error> {
        let counts = train.item_counts();
        let cold = places(pairs, |(_, item)| counts[item as usize] == 0);
        let remedy = "remove the line, or load without `strict` to keep it as something that can hardly be hit";
        self.oddity(rows, &cold, remedy, |row| {
            let item = quote(self.items.raw(pairs[row].1));
            let said = format!("item {item} of this {part} pair has no training pair");
            let all = format!("{part} pairs whose item has no training pair: {}, kept in the catalogue", cold.len());
            (said, all)
        })?;
        let new = places(pairs, |(user, _)| train.row(user).is_empty());
        self.oddity(rows, &new, remedy, |row| {
            let user = quote(self.users.raw(pairs[row].0));
            let said = format!("user {user} of this {part} pair has no training pair");
            (said, format!("{part} pairs whose user has no training pair: {}, kept", new.len()))
        })
    }

    /// Warns of, or refuses, what was found at `places`; `say` words it for the first place and for all.
    fn oddity(
        &mut self,
        rows: &Rows,
        places: &[usize],
        remedy: &str,
        say: impl Fn(usize) -> (String, String),
    ) -> Result<(), Error> {
        let Some(&first) = places.first() else { return Ok(()) };
        let (one, all) = say(first);
        if self.strict {
            return Err(Error::line(&rows.path, rows.line(first), one, remedy));
        }
        self.warnings.push(format!("{all} (the first: {})", rows.place(first)));
        Ok(())
    }
}

/// Marks a pair that an earlier part has; no real id is this large.
const REMOVED: (u32, u32) = (u32::MAX, u32::MAX);

fn places(pairs: &[(u32, u32)], is: impl Fn((u32, u32)) -> bool) -> Vec<usize> {
    (0..pairs.len()).filter(|&row| pairs[row] != REMOVED && is(pairs[row])).collect()
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
