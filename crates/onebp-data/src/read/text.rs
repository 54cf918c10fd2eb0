//! Text files: bytes to text with an error that names line and byte, and the numbers in it.

use crate::Error;
use std::path::Path;

/// Refuses what is not a regular file: a pipe can be read once only, and guessing needs a look before reading.
///
/// # Errors
/// [`Error::Io`] where there is nothing, [`Error::File`] where there is something else.
pub(crate) fn check_regular(path: &Path) -> Result<(), Error> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    match metadata.is_dir() {
        true => Err(Error::file(path, "is a folder", "name a file in it")),
        false if !metadata.is_file() => Err(Error::file(path, "is not a regular file", "save it to a file first")),
        false => Ok(()),
    }
}

/// The content of a text file without its byte order mark.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::File`] where it is empty, compressed or not text,
/// [`Error::Line`] where it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    let mut bytes = std::fs::read(path).map_err(Error::io(path))?;
    let not_text = match bytes.as_slice() {
        [0x1f, 0x8b, ..] => Some(("is compressed with gzip", "decompress it first")),
        [b'P', b'K', 3, 4, ..] => Some(("is a zip archive", "unpack it and name a file in it")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(("is compressed with zstd", "decompress it first")),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(("is UTF-16", "save it as UTF-8")),
        _ => None,
    };
    if let Some((problem, remedy)) = not_text {
        return Err(Error::file(path, problem, remedy));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..at];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        let column = at - before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1) + 1;
        let byte = error.as_bytes()[at];
        Error::line(
            path,
            line,
            format!("byte {column} of the line is {byte:#04x}, which is not UTF-8"),
            "save the file as UTF-8",
        )
    })?;
    if text.trim().is_empty() {
        return Err(Error::file(path, "is empty", "name a file that holds interactions"));
    }
    Ok(text)
}

/// A finite rating.
pub(crate) fn parse_rating(text: &str) -> Option<f32> {
    text.parse().ok().filter(|rating: &f32| rating.is_finite())
}

/// A time: an integer, or a number whose fraction is dropped.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| {
        let time: f64 = text.parse().ok()?;
        (time.abs() < i64::MAX as f64).then(|| time.floor() as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ratings.csv");
        std::fs::write(&path, bytes).unwrap();
        read_text(&path).map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "ratings.csv"))
    }

    #[test]
    fn the_byte_order_mark_goes() {
        assert_eq!(read(b"\xef\xbb\xbfuser,item\n").unwrap(), "user,item\n");
    }

    #[test]
    fn what_is_not_text_is_named() {
        assert_eq!(read(b"").unwrap_err(), "ratings.csv: is empty; name a file that holds interactions");
        assert_eq!(read(b"\n \r\n").unwrap_err(), "ratings.csv: is empty; name a file that holds interactions");
        assert_eq!(read(b"\x1f\x8b\x08").unwrap_err(), "ratings.csv: is compressed with gzip; decompress it first");
        assert_eq!(read(b"\xff\xfe1\0,\0").unwrap_err(), "ratings.csv: is UTF-16; save it as UTF-8");
        assert_eq!(
            read(b"user,item\n1,caf\xe9\n").unwrap_err(),
            "ratings.csv:2: byte 6 of the line is 0xe9, which is not UTF-8; save the file as UTF-8"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = read_text(Path::new("no/such/file")).unwrap_err().to_string();
        assert!(message.starts_with("no/such/file: "), "{message}");
    }

    #[test]
    #[cfg(unix)]
    fn what_is_not_a_regular_file_is_refused() {
        let message = |path: &Path| check_regular(path).unwrap_err().to_string();
        assert_eq!(message(Path::new("/dev/null")), "/dev/null: is not a regular file; save it to a file first");
        assert_eq!(message(Path::new("/")), "/: is a folder; name a file in it");
        assert!(crate::read(Path::new("/dev/null"), &crate::ReadOptions::default()).is_err());
    }

    #[test]
    fn numbers() {
        assert_eq!(parse_rating("4.5"), Some(4.5));
        assert_eq!([parse_rating("NaN"), parse_rating("inf"), parse_rating("good"), parse_rating("")], [None; 4]);
        assert_eq!(parse_time("881250949"), Some(881250949));
        assert_eq!(parse_time("978300760.75"), Some(978300760));
        assert_eq!([parse_time("1e300"), parse_time("NaN"), parse_time("2019-01-01"), parse_time("")], [None; 4]);
    }
}
