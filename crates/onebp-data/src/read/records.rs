//! Splits text into records of fields, with line numbers.
//!
//! RFC 4180 with any separator: a field that starts with a double quote ends at the next lone double quote and may hold
//! separators, line ends and doubled quotes. White space around other fields goes, that between quotes stays. Lines end
//! with LF or CRLF; empty lines are skipped. Formats that know no quotes (`::`, `u.item`) turn them off, since their
//! titles may start with one.

use std::borrow::Cow;

/// What is wrong with the text, and in which line.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed {
    pub(crate) line: u64,
    pub(crate) problem: &'static str,
}

/// The records of a text.
pub(crate) struct Records<'a> {
    rest: &'a str,
    separator: &'a str,
    quotes: bool,
    line: u64,
}

impl<'a> Records<'a> {
    pub(crate) fn new(text: &'a str, separator: &'a str, quotes: bool) -> Self {
        Self { rest: text, separator, quotes, line: 1 }
    }

    /// Puts the fields of the next record in place of `fields` and returns the line it starts in, or `None` at the end.
    pub(crate) fn next(&mut self, fields: &mut Vec<Cow<'a, str>>) -> Result<Option<u64>, Malformed> {
        fields.clear();
        while !self.rest.is_empty() {
            let start = self.line;
            let (content, after) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            let content = content.strip_suffix('\r').unwrap_or(content);
            if self.quotes && content.contains('"') {
                self.quoted(fields)?;
                return Ok(Some(start));
            }
            self.rest = after;
            self.line += 1;
            if !content.is_empty() {
                // One byte is by far the most common and by far the fastest to search for.
                let trimmed = |field: &'a str| Cow::Borrowed(field.trim());
                match *self.separator.as_bytes() {
                    [byte] if byte.is_ascii() => fields.extend(content.split(byte as char).map(trimmed)),
                    _ => fields.extend(content.split(self.separator).map(trimmed)),
                }
                return Ok(Some(start));
            }
        }
        Ok(None)
    }

    /// A record in which a quote occurs; it may span lines.
    fn quoted(&mut self, fields: &mut Vec<Cow<'a, str>>) -> Result<(), Malformed> {
        loop {
            fields.push(self.field()?);
            if let Some(rest) = self.rest.strip_prefix(self.separator) {
                self.rest = rest;
                continue;
            }
            let end = self.rest.strip_prefix('\r').unwrap_or(self.rest);
            if !end.is_empty() && !end.starts_with('\n') {
                let problem = "text follows a closing double quote";
                return Err(Malformed { line: self.line, problem });
            }
            self.rest = end.strip_prefix('\n').unwrap_or(end);
            self.line += 1;
            return Ok(());
        }
    }

    fn field(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let Some(mut rest) = self.rest.strip_prefix('"') else {
            let content = self.rest.split('\n').next().unwrap_or("");
            let content = content.strip_suffix('\r').unwrap_or(content);
            let field = content.split(self.separator).next().unwrap_or("");
            self.rest = &self.rest[field.len()..];
            return Ok(Cow::Borrowed(field.trim()));
        };
        let mut value = String::new();
        loop {
            let Some((part, after)) = rest.split_once('"') else {
                return Err(Malformed { line: self.line, problem: "a double quote is opened and never closed" });
            };
            value.push_str(part);
            rest = after;
            match rest.strip_prefix('"') {
                Some(after) => {
                    value.push('"');
                    rest = after;
                }
                None => break,
            }
        }
        self.line += value.matches('\n').count() as u64;
        self.rest = rest;
        Ok(Cow::Owned(value))
    }
}

/// The first `count` records; what is malformed ends them early.
pub(crate) fn first_records(text: &str, separator: &str, quotes: bool, count: usize) -> Vec<Vec<String>> {
    let mut records = Records::new(text, separator, quotes);
    let mut fields = Vec::new();
    let mut first = Vec::new();
    while first.len() < count && matches!(records.next(&mut fields), Ok(Some(_))) {
        first.push(fields.drain(..).map(Cow::into_owned).collect());
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str, separator: &str, quotes: bool) -> Result<Vec<(u64, Vec<String>)>, Malformed> {
        let mut records = Records::new(text, separator, quotes);
        let (mut fields, mut found) = (Vec::new(), Vec::new());
        while let Some(line) = records.next(&mut fields)? {
            found.push((line, fields.iter().map(|field| field.to_string()).collect()));
        }
        Ok(found)
    }

    fn record(line: u64, fields: &[&str]) -> (u64, Vec<String>) {
        (line, fields.iter().map(|field| field.to_string()).collect())
    }

    #[test]
    fn line_ends_empty_lines_and_empty_fields() {
        let expected = [record(1, &["a", "b"]), record(3, &["c", ""]), record(4, &["", "d"])];
        assert_eq!(all("a,b\n\nc,\n,d", ",", true).unwrap(), expected);
        assert_eq!(all("a,b\r\n\r\nc,\r\n,d\r\n", ",", true).unwrap(), expected);
        assert_eq!(all("a::b\n\nc::\n::d\n", "::", false).unwrap(), expected);
    }

    #[test]
    fn quoted_fields_hold_separators_quotes_and_line_ends() {
        let text = "\"a,b\",\"say \"\"hi\"\"\"\r\n1,\"two\nlines\"\r\n\"\",x\n";
        let expected = [record(1, &["a,b", "say \"hi\""]), record(2, &["1", "two\nlines"]), record(4, &["", "x"])];
        assert_eq!(all(text, ",", true).unwrap(), expected);
    }

    #[test]
    fn white_space_stays_between_quotes_only() {
        let expected = [record(1, &["a", "b c"]), record(2, &[" a", "b"]), record(3, &["a", "b "])];
        assert_eq!(all(" a,b c \n\" a\", b\na ,\"b \"\n", ",", true).unwrap(), expected);
    }

    #[test]
    fn quotes_elsewhere_are_text() {
        assert_eq!(all("5\",b\n", ",", true).unwrap(), [record(1, &["5\"", "b"])]);
        assert_eq!(all("1::\"Odd\" Film::x\n", "::", false).unwrap(), [record(1, &["1", "\"Odd\" Film", "x"])]);
    }

    #[test]
    fn malformed_quotes_name_their_line() {
        let open = Malformed { line: 2, problem: "a double quote is opened and never closed" };
        assert_eq!(all("a,b\n\"c,d\n", ",", true), Err(open));
        let after = Malformed { line: 1, problem: "text follows a closing double quote" };
        assert_eq!(all("\"a\"b,c\n", ",", true), Err(after));
    }

    proptest! {
        /// Writing with quotes everywhere and reading gives the same fields, for every separator.
        #[test]
        fn reading_undoes_writing(
            table in prop::collection::vec(prop::collection::vec("[a,;\"\n\r |:é]{0,5}", 2..5), 1..6),
            separator in prop::sample::select(vec![",", "\t", ";", "|", "::"]),
            end in prop::sample::select(vec!["\n", "\r\n"]),
        ) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let text: String =
                table.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(separator) + end).collect();
            let read: Vec<_> = all(&text, separator, true).unwrap().into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(read, table);
        }
    }
}
