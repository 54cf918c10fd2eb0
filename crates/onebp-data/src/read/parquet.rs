//! Apache Parquet: ids are integers or strings, ratings any numbers, times integers, dates or timestamps.
//!
//! Polars as built here has no small integers, dates, timestamps or categories. Parquet stores the first four as plain
//! 32 or 64 bit integers and the last as strings, each with a note on what it means. Reading does without the notes: a
//! small integer is an integer, and of a time only the order matters.

use super::columns::Columns;
use super::rows::{Coded, Lines, Names, Rows};
use crate::error::quote;
use crate::{Error, ReadOptions};
use polars::prelude::*;
use polars_io::prelude::*;
use polars_parquet::parquet::metadata::{FileMetadata, SchemaDescriptor};
use polars_parquet::parquet::schema::types::{
    IntegerType, ParquetType, PrimitiveConvertedType as Converted, PrimitiveLogicalType as Logical,
};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

const MAGIC: [u8; 4] = *b"PAR1";

/// Whether `path` starts as Parquet files do.
pub(crate) fn recognise(path: &Path) -> Result<bool, Error> {
    let mut first = Vec::new();
    File::open(path).and_then(|file| file.take(4).read_to_end(&mut first)).map_err(Error::io(path))?;
    Ok(first == MAGIC)
}

/// Reads the interactions in `path`; also returns the layout in words. Lines of errors are rows, from 1.
///
/// # Errors
/// [`Error::File`] where this is no whole Parquet file or a column is missing or of a wrong type, [`Error::Line`] where
/// a value is missing or not finite.
pub(crate) fn read(path: &Path, options: &ReadOptions) -> Result<(Rows, String), Error> {
    check_ends(path)?;
    let damaged = |error: PolarsError| {
        Error::file(path, format!("cannot be read as Parquet: {error}"), "write the file again, or copy it again")
    };
    let mut reader = ParquetReader::new(File::open(path).map_err(Error::io(path))?);
    let metadata = without_notes(reader.get_metadata().map_err(damaged)?);
    reader.set_metadata(Arc::new(metadata));
    let schema = reader.schema().map_err(damaged)?;
    let names: Vec<String> = schema.iter_names().map(|name| name.to_string()).collect();
    let columns = Columns::by_name(path, &names, options)?;
    check_types(path, &schema, &columns)?;

    // Polars checks the pages of a column only partly and would end the program over a damaged one.
    let mut projection: Vec<usize> = columns.used().collect();
    projection.sort_unstable();
    let finish = move || reader.with_projection(Some(projection)).finish();
    let frame = std::panic::catch_unwind(std::panic::AssertUnwindSafe(finish)).map_err(|_| {
        Error::file(path, "is damaged: a column cannot be decoded", "write the file again, or copy it again")
    })?;
    let frame = frame.map_err(damaged)?;
    if frame.height() == 0 {
        return Err(Error::file(path, "holds no rows", "name a file that holds interactions"));
    }

    let column = |at: usize| frame.column(&names[at]).map_err(damaged);
    let user = ids(path, column(columns.user)?, "user")?;
    let item = ids(path, column(columns.item)?, "item")?;
    let rating = columns.rating.map(|at| ratings(path, column(at)?)).transpose()?;
    let time = columns.time.map(|at| times(path, column(at)?)).transpose()?;
    let used: Vec<&str> = columns.used().map(|at| names[at].as_str()).collect();
    let rows = Rows { path: path.to_path_buf(), user, item, rating, time, lines: Lines::From(1) };
    Ok((rows, format!("columns {}", used.join(","))))
}

/// The format begins and ends with the same four bytes; what lies last in the file says where everything else lies.
fn check_ends(path: &Path) -> Result<(), Error> {
    if !recognise(path)? {
        let remedy = "name its format, or leave `format` out to have it guessed";
        return Err(Error::file(path, "is not Parquet: it does not start with PAR1", remedy));
    }
    let mut last = [0; 4];
    let mut file = File::open(path).map_err(Error::io(path))?;
    file.seek(SeekFrom::End(-4)).and_then(|_| file.read_exact(&mut last)).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    if last != MAGIC || length < 12 {
        let remedy = "it was cut short while it was written or copied; copy it again";
        return Err(Error::file(path, "is a truncated Parquet file: it does not end with PAR1", remedy));
    }
    Ok(())
}

fn without_notes(metadata: &FileMetadata) -> FileMetadata {
    let plain = |field: &ParquetType| {
        let mut field = field.clone();
        if let ParquetType::PrimitiveType(column) = &mut field {
            use IntegerType::{Int8, Int16, UInt8, UInt16};
            let logical = column.logical_type.is_some_and(|note| {
                matches!(
                    note,
                    Logical::Date | Logical::Timestamp { .. } | Logical::Integer(Int8 | Int16 | UInt8 | UInt16)
                )
            });
            let converted = column.converted_type.is_some_and(|note| {
                use Converted::{Date, Int8, Int16, TimestampMicros, TimestampMillis, Uint8, Uint16};
                matches!(note, Date | TimestampMillis | TimestampMicros | Int8 | Int16 | Uint8 | Uint16)
            });
            if logical || converted {
                column.logical_type = None;
                column.converted_type = None;
            }
        }
        field
    };
    let schema = &metadata.schema_descr;
    FileMetadata {
        schema_descr: SchemaDescriptor::new(schema.name().into(), schema.fields().iter().map(plain).collect()),
        // Here Arrow repeats its own types, categories among them.
        key_value_metadata: None,
        ..metadata.clone()
    }
}

fn check_types(path: &Path, schema: &ArrowSchema, columns: &Columns) -> Result<(), Error> {
    for at in columns.used() {
        let Some((name, field)) = schema.get_at_index(at) else { continue };
        let is_id = at == columns.user || at == columns.item;
        let fits = match field.dtype() {
            ArrowDataType::Int32 | ArrowDataType::Int64 | ArrowDataType::UInt32 | ArrowDataType::UInt64 => true,
            ArrowDataType::Utf8View | ArrowDataType::Utf8 | ArrowDataType::LargeUtf8 => is_id,
            ArrowDataType::Float32 | ArrowDataType::Float64 => !is_id,
            _ => false,
        };
        if !fits {
            let (needed, option) = match at {
                _ if at == columns.user => ("integers or strings", "user-column"),
                _ if at == columns.item => ("integers or strings", "item-column"),
                _ if Some(at) == columns.rating => ("numbers", "rating-column"),
                _ => ("integers or timestamps", "time-column"),
            };
            return Err(Error::file(
                path,
                format!("column {} holds {:?}, not {needed}", quote(name), field.dtype()),
                format!("convert it, or name another column with `{option}`"),
            ));
        }
    }
    Ok(())
}

fn ids(path: &Path, column: &Column, kind: &str) -> Result<Coded, Error> {
    let broken = |error: PolarsError| Error::file(path, error.to_string(), "write the column as strings");
    let column = column.cast(&DataType::String).map_err(broken)?;
    let mut names = Names::default();
    for (row, name) in (1u64..).zip(column.str().map_err(broken)?.iter()) {
        let Some(name) = name.filter(|name| !name.trim().is_empty()) else {
            let problem = format!("the {kind} id (column {}) is missing", quote(column.name()));
            return Err(Error::line(path, row, problem, "fill it in or remove the row"));
        };
        names.push(name);
    }
    Ok(names.finish())
}

fn ratings(path: &Path, column: &Column) -> Result<Vec<f32>, Error> {
    let broken = |error: PolarsError| Error::file(path, error.to_string(), "write the column as 32 bit floats");
    let cast = column.cast(&DataType::Float32).map_err(broken)?;
    numbers(
        path,
        column.name(),
        "rating",
        cast.f32().map_err(broken)?.iter().map(|rating| rating.filter(|r| r.is_finite())),
    )
}

fn times(path: &Path, column: &Column) -> Result<Vec<i64>, Error> {
    let broken = |error: PolarsError| Error::file(path, error.to_string(), "write the column as 64 bit integers");
    // Floats outside the range and NaN become null, fractions are dropped.
    let cast = column.cast(&DataType::Int64).map_err(broken)?;
    numbers(path, column.name(), "time", cast.i64().map_err(broken)?.iter())
}

fn numbers<T>(path: &Path, name: &str, kind: &str, values: impl Iterator<Item = Option<T>>) -> Result<Vec<T>, Error> {
    let value = |(row, value): (u64, Option<T>)| {
        value.ok_or_else(|| {
            let problem = format!("the {kind} (column {}) is missing or not a finite number", quote(name));
            let remedy =
                format!("mend the row, or set `{kind}-column` to the right column or to an empty name to read none");
            Error::line(path, row, problem, remedy)
        })
    };
    (1u64..).zip(values).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(columns: Vec<Column>) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let mut frame = DataFrame::new_infer_height(columns).unwrap();
        ParquetWriter::new(File::create(&path).unwrap()).finish(&mut frame).unwrap();
        (folder, path)
    }

    fn read_columns(columns: Vec<Column>) -> Result<(Rows, String), String> {
        let (_folder, path) = write(columns);
        read(&path, &ReadOptions::default())
            .map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "a.parquet"))
    }

    fn user() -> Column {
        Column::new("user".into(), [3i64, 3, 12])
    }

    fn item() -> Column {
        Column::new("item".into(), ["x", "y", "x"])
    }

    #[test]
    fn integers_strings_ratings_and_times() {
        let rating = Column::new("rating".into(), [5i32, 1, 4]);
        let time = Column::new("timestamp".into(), [10.5f64, 11.0, 12.0]);
        let (rows, layout) = read_columns(vec![rating, item(), time, user()]).unwrap();
        assert_eq!(layout, "columns user,item,rating,timestamp");
        assert_eq!((rows.user.names, rows.user.codes), (vec!["3".to_owned(), "12".to_owned()], vec![0, 0, 1]));
        assert_eq!((rows.item.names, rows.item.codes), (vec!["x".to_owned(), "y".to_owned()], vec![0, 1, 0]));
        assert_eq!((rows.rating, rows.time), (Some(vec![5.0, 1.0, 4.0]), Some(vec![10, 11, 12])));
    }

    #[test]
    fn strings_are_taken_as_they_are() {
        let (rows, _) = read_columns(vec![user(), Column::new("item".into(), ["x", " x", "x "])]).unwrap();
        assert_eq!(rows.item.names, ["x", " x", "x "]);
    }

    #[test]
    fn notes_on_small_integers_and_times_are_dropped() {
        use polars_parquet::parquet::schema::types::{PhysicalType, PrimitiveType, TimeUnit};
        let (_folder, path) = write(vec![user(), item()]);
        let mut reader = ParquetReader::new(File::open(&path).unwrap());
        let mut metadata = FileMetadata::clone(reader.get_metadata().unwrap());
        let column = |name: &str, physical, logical| {
            let mut column = PrimitiveType::from_physical(name.into(), physical);
            column.logical_type = Some(logical);
            ParquetType::PrimitiveType(column)
        };
        let moment = Logical::Timestamp { unit: TimeUnit::Microseconds, is_adjusted_to_utc: true };
        metadata.schema_descr = SchemaDescriptor::new(
            "root".into(),
            vec![
                column("rating", PhysicalType::Int32, Logical::Integer(IntegerType::Int8)),
                column("time", PhysicalType::Int64, moment),
                column("user", PhysicalType::Int64, Logical::Integer(IntegerType::UInt64)),
                column("item", PhysicalType::ByteArray, Logical::String),
            ],
        );
        let schema = polars_parquet::read::infer_schema(&without_notes(&metadata)).unwrap();
        let types: Vec<_> = schema.iter_values().map(|field| field.dtype().clone()).collect();
        use ArrowDataType::{Int32, Int64, UInt64, Utf8View};
        assert_eq!(types, [Int32, Int64, UInt64, Utf8View]);
    }

    #[test]
    fn what_is_missing_or_of_a_wrong_type_is_named() {
        let message = |columns| read_columns(columns).err().unwrap();
        assert_eq!(
            message(vec![user(), Column::new("thing".into(), [1i64, 2, 3])]),
            "a.parquet: none of its columns (`user`, `thing`) is known to hold items; name the right one with `item-column`"
        );
        assert_eq!(
            message(vec![user(), Column::new("item".into(), [1.5f64, 2.0, 3.0])]),
            "a.parquet: column `item` holds Float64, not integers or strings; convert it, or name another column with \
             `item-column`"
        );
        assert!(message(vec![user(), item(), Column::new("rating".into(), ["a", "b", "c"])]).contains("not numbers; "));
        assert_eq!(
            message(vec![user(), Column::new("item".into(), [Some("x"), None, Some("y")])]),
            "a.parquet:2: the item id (column `item`) is missing; fill it in or remove the row"
        );
        let nan = Column::new("rating".into(), [1.0f64, 2.0, f64::NAN]);
        assert!(
            message(vec![user(), item(), nan]).starts_with("a.parquet:3: the rating (column `rating`) is missing or")
        );
        let empty = vec![Column::new("user".into(), [0i64; 0]), Column::new("item".into(), [0i64; 0])];
        assert_eq!(message(empty), "a.parquet: holds no rows; name a file that holds interactions");
    }

    #[test]
    fn a_file_cut_short_anywhere_is_an_error() {
        let (_folder, path) = write(vec![user(), item()]);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let message = read(&path, &ReadOptions::default()).err().unwrap().to_string();
            let expected = if length < 4 { "is not Parquet" } else { "is a truncated Parquet file" };
            assert!(message.contains(expected), "{length}: {message}");
        }
    }

    #[test]
    fn overwritten_pages_are_an_error() {
        let (_folder, path) = write(vec![user(), item()]);
        let mut bytes = std::fs::read(&path).unwrap();
        let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
        let pages = 4..bytes.len() - 8 - footer;
        bytes[pages].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let message = read(&path, &ReadOptions::default()).err().unwrap().to_string();
        assert!(message.contains("as Parquet: ") || message.contains("is damaged: "), "{message}");
    }
}
