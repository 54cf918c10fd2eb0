//! Tables of results as files: the format follows the file's ending.

use crate::failure::Failure;
use polars::prelude::{Column, DataFrame};
use polars_io::prelude::{CsvWriter, ParquetWriter, SerWriter};
use std::path::Path;

/// A file format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object a line.
    Jsonl,
    /// A table of columns.
    Table(TableFormat),
}

/// A file format of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Tab-separated, with a header.
    Tsv,
    /// Comma-separated, with a header.
    Csv,
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
            Some("tsv") => Ok(Self::Table(TableFormat::Tsv)),
            Some("csv") => Ok(Self::Table(TableFormat::Csv)),
            Some("jsonl") => Ok(Self::Jsonl),
            Some("parquet") => Ok(Self::Table(TableFormat::Parquet)),
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
    DataFrame::new_infer_height(columns).map_err(Failure::unexpected)
}

/// The frame as bytes of a file.
///
/// # Errors
/// An unexpected failure where a value cannot be written.
pub fn encode(mut frame: DataFrame, format: TableFormat) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let written = match format {
        TableFormat::Tsv => CsvWriter::new(&mut bytes).with_separator(b'\t').finish(&mut frame),
        TableFormat::Csv => CsvWriter::new(&mut bytes).finish(&mut frame),
        TableFormat::Parquet => ParquetWriter::new(&mut bytes).finish(&mut frame).map(|_| ()),
    };
    written.map_err(Failure::unexpected)?;
    Ok(bytes)
}

/// One JSON object a line.
///
/// # Errors
/// An unexpected failure where a row cannot be written.
pub fn json_lines<T: serde::Serialize>(rows: &[T]) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut bytes, row).map_err(Failure::unexpected)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}
