//! Parts of a method as text: a name, then parameters that differ from their defaults, as in `dcl,tau-plus=0.05`.
//!
//! Files may also write a part as a table, as in `{ name = "dcl", tau-plus = 0.05 }`.
//!
//! One form for the command line, configuration files, checkpoints and summaries. Names and parameters are those of the
//! types: an enum tagged by `name`, whose variants hold structs that refuse unknown fields.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{fmt, str::FromStr};

/// A part that is written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Part<T>(pub T);

impl<T: DeserializeOwned + Serialize> FromStr for Part<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',').map(str::trim);
        let mut fields = Map::new();
        fields.insert("name".into(), words.next().unwrap_or_default().into());
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not of the form key=value"))?;
            // What is neither a number nor a truth value is a word.
            let value = serde_json::from_str(value.trim()).unwrap_or_else(|_| Value::from(value.trim()));
            if fields.insert(key.trim().into(), value).is_some() {
                return Err(format!("`{}` is given twice", key.trim()));
            }
        }
        Self::from_fields(fields)
    }
}

impl<T: DeserializeOwned + Serialize> Part<T> {
    /// From a name under `name`, and parameters.
    fn from_fields(fields: Map<String, Value>) -> Result<Self, String> {
        let given: Vec<String> = fields.keys().cloned().collect();
        let part = Self(T::deserialize(Value::Object(fields)).map_err(|error| error.to_string())?);
        // serde takes any field for a variant without fields.
        match given.iter().find(|key| part.fields().is_none_or(|fields| !fields.contains_key(*key))) {
            Some(key) => Err(format!("unknown field `{key}`: there are no parameters")),
            None => Ok(part),
        }
    }
}

impl<T: Serialize> Part<T> {
    /// The name under `name`, and every parameter.
    pub fn fields(&self) -> Option<Map<String, Value>> {
        match serde_json::to_value(&self.0) {
            Ok(Value::Object(fields)) => Some(fields),
            _ => None,
        }
    }
}

impl<T: Serialize> fmt::Display for Part<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let fields = self.fields().ok_or(fmt::Error)?;
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        f.write_str(&fields.get("name").map(word).unwrap_or_default())?;
        fields.iter().filter(|(key, _)| *key != "name").try_for_each(|(key, value)| write!(f, ",{key}={}", word(value)))
    }
}

impl<T: Serialize> Serialize for Part<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: DeserializeOwned + Serialize> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => text.parse().map_err(serde::de::Error::custom),
            Value::Object(fields) => Self::from_fields(fields).map_err(serde::de::Error::custom),
            _ => Err(serde::de::Error::custom("expected NAME[,KEY=VALUE...] or a table with a name")),
        }
    }
}

/// Writes a part as text, for `#[serde(with)]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: Serialize + Copy, S: Serializer>(part: &T, serializer: S) -> Result<S::Ok, S::Error> {
    Part(*part).serialize(serializer)
}

/// Reads a part from text, for `#[serde(with)]`.
///
/// # Errors
/// Where the name, a parameter or a value is not known.
pub fn deserialize<'de, T: DeserializeOwned + Serialize, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Part::deserialize(deserializer).map(|Part(part)| part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "name", rename_all = "kebab-case")]
    enum Shape {
        Point,
        Circle(Circle),
    }

    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
    struct Circle {
        outer_radius: f64,
        filled: bool,
    }

    impl Default for Circle {
        fn default() -> Self {
            Self { outer_radius: 1.0, filled: false }
        }
    }

    fn parse(text: &str) -> Result<Shape, String> {
        text.parse().map(|Part(shape)| shape)
    }

    #[test]
    fn names_defaults_and_values() {
        assert_eq!(parse("point"), Ok(Shape::Point));
        assert_eq!(parse("circle"), Ok(Shape::Circle(Circle::default())));
        let circle = Shape::Circle(Circle { outer_radius: 2.0, filled: true });
        assert_eq!(parse("circle, filled = true,outer-radius=2"), Ok(circle));
        assert_eq!(Part(circle).to_string(), "circle,filled=true,outer-radius=2.0");
        assert_eq!(parse(&Part(circle).to_string()), Ok(circle));
        assert_eq!(serde_json::to_string(&Part(Shape::Point)).unwrap(), "\"point\"");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("square", "unknown variant `square`, expected `point` or `circle`"),
            ("circle,radius=1", "unknown field `radius`, expected `outer-radius` or `filled`"),
            ("point,radius=1", "unknown field `radius`"),
            ("circle,filled=1", "invalid type"),
            ("circle,filled", "`filled` is not of the form key=value"),
            ("circle,filled=true,filled=true", "given twice"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
