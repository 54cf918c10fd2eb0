//! Tables of results as files: the format follows the file's ending.

use crate::failure::{Exit, Failure};
use polars::prelude::{Column, DataFrame};
use polars_io::prelude::{CsvWriter, ParquetWriter, SerWriter};
use std::path::Path;

/// A file format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Tab-separated, with a header.
    Tsv,
    /// Comma-separated, with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl FileFormat {
    /// The format that the ending of `path` names.
    ///
    /// # Errors
    /// A usage failure listing the endings.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("tsv") => Ok(Self::Tsv),
            Some("csv") => Ok(Self::Csv),
            Some("jsonl") => Ok(Self::Jsonl),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(Failure::usage(format!(
                "{}: the ending names no format; use .tsv, .csv, .jsonl or .parquet",
                path.display()
            ))),
        }
    }
}

/// A frame of columns of equal length.
///
/// # Errors
/// An unexpected failure where the columns differ in length.
pub fn frame(columns: Vec<Column>) -> Result<DataFrame, Failure> {
    DataFrame::new_infer_height(columns).map_err(unexpected)
}

/// The frame as bytes of a file.
///
/// # Errors
/// An unexpected failure where a value cannot be written.
pub fn encode(mut frame: DataFrame, format: FileFormat) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match format {
        FileFormat::Tsv => CsvWriter::new(&mut bytes).with_separator(b'\t').finish(&mut frame).map_err(unexpected)?,
        FileFormat::Csv => CsvWriter::new(&mut bytes).finish(&mut frame).map_err(unexpected)?,
        FileFormat::Parquet => {
            ParquetWriter::new(&mut bytes).finish(&mut frame).map_err(unexpected)?;
        }
        FileFormat::Jsonl => return Err(unexpected("JSON lines are written row by row")),
    }
    Ok(bytes)
}

/// One JSON object a line.
///
/// # Errors
/// An unexpected failure where a row cannot be written.
pub fn json_lines<T: serde::Serialize>(rows: &[T]) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut bytes, row).map_err(unexpected)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn unexpected(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Unexpected, error.to_string())
}
