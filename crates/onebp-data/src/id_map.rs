//! Older ids beside a split: `user-map.csv` and `item-map.csv`.
//!
//! Authors who number users and items anew often publish which old id each new one had: two columns, the split's id,
//! then the older id. The first line is a header unless it starts with an id of the split. Dense ids keep the order of
//! the split's ids, so ties are broken as its authors break them; the raw ids that people see are the older ones.

use crate::error::quote;
use crate::read::delimited::guess_separator;
use crate::read::records::Records;
use crate::read::rows::check_id;
use crate::read::text::read_text;
use crate::{Error, IdMap};
use std::collections::HashMap;
use std::path::Path;

/// Replaces the raw ids of a split by the older ones in the file `path`.
///
/// # Errors
/// [`Error::Line`] where a line has other than two fields or an id, old or new, occurs twice; [`Error::File`] where an id
/// of the split is not in the file.
pub(crate) fn older_ids(ids: &IdMap, path: &Path) -> Result<IdMap, Error> {
    let text = read_text(path)?;
    let mut records = Records::new(&text, guess_separator(&text), true);
    let mut fields = Vec::new();
    let mut older: HashMap<String, String> = HashMap::new();
    let mut newer: HashMap<String, String> = HashMap::new();
    let mut first = true;
    while let Some(line) =
        records.next(&mut fields).map_err(|bad| Error::line(path, bad.line, bad.problem, "mend the line"))?
    {
        let [new, old] = &fields[..] else {
            let problem = format!("{} has {} fields, a map has 2", quote(&fields.join(",")), fields.len());
            return Err(Error::line(path, line, problem, "a line is the split's id and the older id"));
        };
        if std::mem::take(&mut first) && ids.dense(new).is_none() {
            continue;
        }
        check_id(path, line, "older", old)?;
        let (new, old) = (new.to_string(), old.to_string());
        if let Some(first) = older.insert(new.clone(), old.clone()) {
            let problem = format!("id {} is mapped twice, to {} and to {}", quote(&new), quote(&first), quote(&old));
            return Err(Error::line(path, line, problem, "remove one of the lines"));
        }
        if let Some(first) = newer.insert(old.clone(), new.clone()) {
            let problem = format!("ids {} and {} are both mapped to {}", quote(&first), quote(&new), quote(&old));
            return Err(Error::line(path, line, problem, "every id needs an older id of its own"));
        }
    }
    let raw: Result<Vec<String>, Error> = ids
        .all()
        .iter()
        .map(|id| {
            older.remove(id).ok_or_else(|| {
                Error::file(
                    path,
                    format!("has no line for id {} of the split", quote(id)),
                    "add one, or remove the map",
                )
            })
        })
        .collect();
    Ok(IdMap::new(raw?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str, ids: &[&str]) -> Result<IdMap, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("item-map.csv");
        std::fs::write(&path, text).unwrap();
        older_ids(&IdMap::new(ids.iter().map(|id| id.to_string()).collect()), &path)
            .map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "item-map.csv"))
    }

    #[test]
    fn order_stays_and_names_change() {
        let ids = map("new,old\n1,30\n0,70\n2,\"a,b\"\n9,1\n", &["0", "1", "2"]).unwrap();
        assert_eq!(ids.all(), ["70", "30", "a,b"]);
        assert_eq!(ids.dense("30"), Some(1));
    }

    #[test]
    fn a_header_may_be_missing() {
        assert_eq!(map("0,70\n1,30\n", &["0", "1"]).unwrap().all(), ["70", "30"]);
        assert!(map("0,\"7\n0\"\n", &["0"]).unwrap_err().starts_with("item-map.csv:1: the older id `7\\n0` holds"));
    }

    #[test]
    fn incomplete_and_contradictory_maps_are_refused() {
        assert_eq!(
            map("new,old\n0,70\n", &["0", "1"]).unwrap_err(),
            "item-map.csv: has no line for id `1` of the split; add one, or remove the map"
        );
        assert_eq!(
            map("new,old\n0,70\n0,71\n", &["0"]).unwrap_err(),
            "item-map.csv:3: id `0` is mapped twice, to `70` and to `71`; remove one of the lines"
        );
        assert_eq!(
            map("new,old\n0,70\n1,70\n", &["0"]).unwrap_err(),
            "item-map.csv:3: ids `0` and `1` are both mapped to `70`; every id needs an older id of its own"
        );
        assert!(map("new,old\n0,70,x\n", &["0"]).unwrap_err().starts_with("item-map.csv:2: `0,70,x` has 3 fields"));
    }
}
