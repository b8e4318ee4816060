//! Parsing JSON from outside: every error is one message that names the field.
//!
//! An object is first split into its fields, which stay raw JSON until each is read by name as what it must be
//! ([`Expected`]). So the messages are ours, and none of them quotes a value, which might be a secret.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// The field name that stands for the whole input.
pub const WHOLE_BODY: &str = "$";

/// What is wrong with one field of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct InvalidField {
    /// Its path, such as `organization.id` or `severities[1]`; [`WHOLE_BODY`] if it is not a single field.
    pub field: String,
    /// What is wrong and what would be right. Never quotes a value.
    pub message: String,
}

impl InvalidField {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Why a text is not the expected JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not JSON.
    NotJson(InvalidField),
    /// It is JSON, but not the expected object.
    Invalid(InvalidField),
}

impl From<Unreadable> for InvalidField {
    fn from(unreadable: Unreadable) -> Self {
        let (Unreadable::NotJson(error) | Unreadable::Invalid(error)) = unreadable;
        error
    }
}

/// The fields of an object that are read.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    pub names: &'static [&'static str],
    pub others: Others,
}

/// How to treat other fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    Ignored,
    Refused,
}

/// What a value must be.
#[derive(Clone, Copy)]
pub struct Expected<T> {
    pub kind: Kind,
    /// The end of a sentence that begins with "it must be".
    pub words: &'static str,
    /// Parses a value; `None` if it is not allowed.
    pub read: fn(&RawValue) -> Option<T>,
}

/// Any text.
pub const STRING: Expected<String> = Expected { kind: Kind::String, words: "a string", read: parse };

/// `true` or `false`.
pub const BOOLEAN: Expected<bool> = Expected { kind: Kind::Boolean, words: "true or false", read: parse };

/// An unsigned 64-bit integer.
pub const WHOLE_NUMBER: Expected<u64> =
    Expected { kind: Kind::Number, words: "a whole number from 0 to 18446744073709551615", read: parse };

/// An instant.
pub const TIME: Expected<Timestamp> = Expected {
    kind: Kind::String,
    words: "an RFC 3339 time with its offset, such as `2025-01-10T10:23:45Z`",
    read: |value| parse_time(&parse::<String>(value)?),
};

/// Parses an RFC 3339 time. What it says beyond nanoseconds is ignored, and the last day of the year 9999, which a
/// [`Timestamp`] does not reach, is taken for [`Timestamp::MAX`].
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let text = with_nanoseconds(text);
    let pieces = Pieces::parse(&*text).ok()?;
    let (time, offset) = (pieces.time()?, pieces.to_numeric_offset()?);
    let limit = if pieces.date().year() > 0 { Timestamp::MAX } else { Timestamp::MIN };
    Some(offset.to_timestamp(pieces.date().to_datetime(time)).unwrap_or(limit))
}

/// The same time with at most nine digits after the point.
fn with_nanoseconds(text: &str) -> Cow<'_, str> {
    let Some((seconds, rest)) = text.split_once('.') else { return Cow::Borrowed(text) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits <= 9 { Cow::Borrowed(text) } else { Cow::Owned(format!("{seconds}.{}{}", &rest[..9], &rest[digits..])) }
}

/// Deserializes a value; `None` if it is something else.
pub fn parse<T: DeserializeOwned>(value: &RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// Parses the content of a string; `None` if it is not a string or cannot be parsed.
pub fn parse_string<T: std::str::FromStr>(value: &RawValue) -> Option<T> {
    parse::<String>(value)?.parse().ok()
}

/// The kinds of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    List,
    String,
    Boolean,
    Number,
    Null,
}

impl Kind {
    /// Determined by the first character, since the text is valid JSON.
    fn of(value: &RawValue) -> Self {
        match value.get().as_bytes().first() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::List,
            Some(b'"') => Self::String,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'n') => Self::Null,
            _ => Self::Number,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::List => "a list",
            Self::String => "a string",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Null => "null",
        }
    }
}

/// An object whose fields are not parsed yet. None of them occurs twice.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// Its path; empty for the whole input.
    path: String,
    names: &'static [&'static str],
    /// The fields' values, in the order of `names`.
    values: Vec<Option<&'a RawValue>>,
}

impl<'a> Object<'a> {
    /// Parses a text as an object.
    ///
    /// # Errors
    /// When it is not JSON or not an object, when a field occurs twice, or when it has a field that is not allowed.
    pub fn parse(json: &'a str, fields: &Fields) -> Result<Self, Unreadable> {
        let not_json = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            let message = if json.starts_with('\u{feff}') {
                "This is not valid JSON: it begins with a byte order mark (U+FEFF), which must be left out.".to_owned()
            } else {
                format!("This is not valid JSON: see line {line}, column {column}.")
            };
            Unreadable::NotJson(InvalidField::new(WHOLE_BODY, message))
        };
        // Checked first, so that the message can name the kind that was found.
        if !json.trim_ascii_start().starts_with('{') {
            let value: &RawValue = serde_json::from_str(json).map_err(not_json)?;
            let message = format!("This is {}: it must be an object.", Kind::of(value).words());
            return Err(Unreadable::Invalid(InvalidField::new(WHOLE_BODY, message)));
        }
        let split = SplitObject::of(json, fields).map_err(not_json)?;
        split.object(String::new(), fields).map_err(Unreadable::Invalid)
    }

    /// A field's value, which may be `null`; `None` if the field is absent.
    ///
    /// # Panics
    /// When the name is not one of the object's [`Fields`], which is a bug.
    pub fn value(&self, name: &'static str) -> Option<Value<'a, '_>> {
        let index = self.names.iter().position(|listed| *listed == name).expect("only listed fields are read");
        Some(Value { raw: self.values[index]?, path: &self.path, place: Place::Field(name) })
    }

    /// A field as `read` parses it; `None` if the field is absent.
    ///
    /// # Errors
    /// The error of `read`.
    pub fn given<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Value<'a, '_>) -> Result<T, InvalidField>,
    ) -> Result<Option<T>, InvalidField> {
        self.value(name).map(|value| read(&value)).transpose()
    }

    /// A field that may be absent.
    ///
    /// # Errors
    /// When the value is not as expected.
    pub fn optional<T>(&self, name: &'static str, expected: &Expected<T>) -> Result<Option<T>, InvalidField> {
        self.given(name, |value| value.read(expected))
    }

    /// A field that must be present.
    ///
    /// # Errors
    /// When it is missing or not as expected.
    pub fn required<T>(&self, name: &'static str, expected: &Expected<T>) -> Result<T, InvalidField> {
        self.value(name).ok_or_else(|| self.missing(name, expected.words))?.read(expected)
    }

    /// A nested object that must be present.
    ///
    /// # Errors
    /// When it is missing or not an object, when a field of it occurs twice, or when it has a field that is not
    /// allowed.
    pub fn required_object(&self, name: &'static str, fields: &Fields) -> Result<Object<'a>, InvalidField> {
        self.value(name).ok_or_else(|| self.missing(name, Kind::Object.words()))?.object(fields)
    }

    fn missing(&self, name: &'static str, words: &str) -> InvalidField {
        let field = Place::Field(name).within(&self.path);
        let message = format!("`{field}` is missing: it must be {words}.");
        InvalidField { field, message }
    }
}

/// A value that is not parsed yet, and its place.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a, 'p> {
    raw: &'a RawValue,
    /// The path of the object or list that contains it.
    path: &'p str,
    place: Place<'p>,
}

#[derive(Clone, Copy, Debug)]
enum Place<'p> {
    Field(&'p str),
    Element(usize),
}

impl Place<'_> {
    fn within(self, path: &str) -> String {
        match self {
            Self::Field(name) if path.is_empty() => name.to_owned(),
            Self::Field(name) => format!("{path}.{name}"),
            Self::Element(index) => format!("{path}[{index}]"),
        }
    }
}

impl<'a> Value<'a, '_> {
    pub fn is_null(&self) -> bool {
        Kind::of(self.raw) == Kind::Null
    }

    /// Parses it.
    ///
    /// # Errors
    /// When it is not as expected.
    pub fn read<T>(&self, expected: &Expected<T>) -> Result<T, InvalidField> {
        (expected.read)(self.raw).ok_or_else(|| self.unexpected(expected.kind, expected.words))
    }

    /// Parses it; `None` if it is `null`.
    ///
    /// # Errors
    /// As for [`Value::read`].
    pub fn read_nullable<T>(&self, expected: &Expected<T>) -> Result<Option<T>, InvalidField> {
        if self.is_null() { Ok(None) } else { self.read(expected).map(Some) }
    }

    /// The elements of a list.
    ///
    /// # Errors
    /// When it is not a list, or for the first element that is not as expected.
    pub fn list<T>(&self, expected: &Expected<T>) -> Result<Vec<T>, InvalidField> {
        let elements: Vec<&RawValue> = self.contents(Kind::List)?;
        let path = self.field();
        let value = |(index, raw)| Value { raw, path: &path, place: Place::Element(index) };
        elements.into_iter().enumerate().map(|element| value(element).read(expected)).collect()
    }

    /// The members of an object with arbitrary names, in their order, including duplicates.
    ///
    /// # Errors
    /// When it is not an object, or the error of `read`.
    pub fn members<T>(
        &self,
        read: impl Fn(&Value<'a, '_>) -> Result<T, InvalidField>,
    ) -> Result<Vec<(String, T)>, InvalidField> {
        let Members(members) = self.contents(Kind::Object)?;
        let path = self.field();
        let member = |(name, raw): (String, &'a RawValue)| {
            let value = read(&Value { raw, path: &path, place: Place::Field(&name) })?;
            Ok((name, value))
        };
        members.into_iter().map(member).collect()
    }

    /// Parses it as an object.
    ///
    /// # Errors
    /// As for [`Object::required_object`].
    pub fn object(&self, fields: &Fields) -> Result<Object<'a>, InvalidField> {
        if Kind::of(self.raw) != Kind::Object {
            return Err(self.unexpected(Kind::Object, Kind::Object.words()));
        }
        let split = SplitObject::of(self.raw.get(), fields);
        split.map_err(|_| self.unexpected(Kind::Object, Kind::Object.words()))?.object(self.field(), fields)
    }

    fn contents<T: Deserialize<'a>>(&self, kind: Kind) -> Result<T, InvalidField> {
        let contents = if Kind::of(self.raw) == kind { serde_json::from_str(self.raw.get()).ok() } else { None };
        contents.ok_or_else(|| self.unexpected(kind, kind.words()))
    }

    fn field(&self) -> String {
        self.place.within(self.path)
    }

    fn unexpected(&self, kind: Kind, words: &str) -> InvalidField {
        let field = self.field();
        let message = match Kind::of(self.raw) {
            found if found == kind => format!("`{field}` has a value that is not allowed: it must be {words}."),
            found => format!("`{field}` is {}: it must be {words}.", found.words()),
        };
        InvalidField { field, message }
    }
}

/// An object's members.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllMembers;

        impl<'de> Visitor<'de> for AllMembers {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(AllMembers)
    }
}

/// An object's listed fields, and the first problem with field names.
struct SplitObject<'a> {
    values: Vec<Option<&'a RawValue>>,
    wrong: Option<WrongName>,
}

enum WrongName {
    /// Refused because parsers differ in which of the two counts, ours and a receiver's perhaps too.
    Twice(&'static str),
    Unknown(String),
}

impl<'a> SplitObject<'a> {
    fn of(json: &'a str, fields: &Fields) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let split = Splitter(fields).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(split)
    }

    fn object(self, path: String, fields: &Fields) -> Result<Object<'a>, InvalidField> {
        let Some(wrong) = self.wrong else { return Ok(Object { path, names: fields.names, values: self.values }) };
        let (field, message) = match wrong {
            WrongName::Twice(name) => {
                let field = Place::Field(name).within(&path);
                let message = format!("`{field}` is given twice: keep one.");
                (field, message)
            }
            WrongName::Unknown(name) => {
                let field = Place::Field(&name).within(&path);
                let listed = fields.names.iter().map(|listed| format!("`{listed}`")).collect::<Vec<_>>().join(", ");
                let message = format!("`{field}` is not a known field: use {listed}.");
                (field, message)
            }
        };
        Err(InvalidField { field, message })
    }
}

/// Splits an object into its fields.
struct Splitter<'f>(&'f Fields);

impl<'de> DeserializeSeed<'de> for Splitter<'_> {
    type Value = SplitObject<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Splitter<'_> {
    type Value = SplitObject<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self(fields) = self;
        let mut values = vec![None; fields.names.len()];
        let mut wrong = None;
        while let Some(name) = map.next_key_seed(NameOf(fields))? {
            match name {
                Name::Listed(index) => {
                    if values[index].replace(map.next_value()?).is_some() {
                        wrong.get_or_insert(WrongName::Twice(fields.names[index]));
                    }
                }
                Name::Other(name) => {
                    map.next_value::<IgnoredAny>()?;
                    if let Some(name) = name {
                        wrong.get_or_insert(WrongName::Unknown(name));
                    }
                }
            }
        }
        Ok(SplitObject { values, wrong })
    }
}

/// Reads a field's name.
struct NameOf<'f>(&'f Fields);

enum Name {
    Listed(usize),
    /// The name, if such fields are refused.
    Other(Option<String>),
}

impl<'de> DeserializeSeed<'de> for NameOf<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameOf<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(match self.0.names.iter().position(|listed| *listed == name) {
            Some(index) => Name::Listed(index),
            None => Name::Other((self.0.others == Others::Refused).then(|| name.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Fields =
        Fields { names: &["name", "count", "on", "list", "headers", "within"], others: Others::Refused };
    const WITHIN: Fields = Fields { names: &["id"], others: Others::Ignored };

    /// Reads each field that is present.
    fn read(json: &str) -> Result<(), InvalidField> {
        let object = Object::parse(json, &STRICT)?;
        object.optional("name", &STRING)?;
        object.optional("count", &WHOLE_NUMBER)?;
        object.given("on", |value| value.read_nullable(&BOOLEAN))?;
        object.given("list", |value| value.list(&STRING))?;
        object.given("headers", |value| value.members(|value| value.read_nullable(&STRING)))?;
        if object.value("within").is_some() {
            object.required_object("within", &WITHIN)?.required("id", &WHOLE_NUMBER)?;
        }
        Ok(())
    }

    #[track_caller]
    fn check(json: &str, field: &str, message: &str) {
        assert_eq!(read(json).expect_err(json), InvalidField::new(field, message));
    }

    #[test]
    fn errors_name_the_field_and_do_not_quote_its_value() {
        check(r#"{"name": 12345678}"#, "name", "`name` is a number: it must be a string.");
        check(r#"{"name": null}"#, "name", "`name` is null: it must be a string.");
        check(r#"{"on": "yes"}"#, "on", "`on` is a string: it must be true or false.");
        let number =
            "`count` has a value that is not allowed: it must be a whole number from 0 to 18446744073709551615.";
        check(r#"{"count": -1}"#, "count", number);
        check(r#"{"count": 1.5}"#, "count", number);
        check(r#"{"count": 18446744073709551616}"#, "count", number);
        check(r#"{"name": "\ud800"}"#, "name", "`name` has a value that is not allowed: it must be a string.");
        check(r#"{"list": {}}"#, "list", "`list` is an object: it must be a list.");
        check(r#"{"list": ["a", true]}"#, "list[1]", "`list[1]` is a boolean: it must be a string.");
        check(r#"{"headers": []}"#, "headers", "`headers` is a list: it must be an object.");
        check(r#"{"headers": {"x-key": 5}}"#, "headers.x-key", "`headers.x-key` is a number: it must be a string.");
        check(r#"{"within": []}"#, "within", "`within` is a list: it must be an object.");
        check(
            r#"{"within": {"\ud800": 1}}"#,
            "within",
            "`within` has a value that is not allowed: it must be an object.",
        );
        let missing = "`within.id` is missing: it must be a whole number from 0 to 18446744073709551615.";
        check(r#"{"within": {"other": 1}}"#, "within.id", missing);
    }

    #[test]
    fn duplicate_and_unknown_fields_are_refused() {
        check(r#"{"name": "a", "name": "b"}"#, "name", "`name` is given twice: keep one.");
        check(r#"{"na\u006de": "a", "name": "b"}"#, "name", "`name` is given twice: keep one.");
        check(r#"{"within": {"id": 1, "id": 1}}"#, "within.id", "`within.id` is given twice: keep one.");
        let listed = "use `name`, `count`, `on`, `list`, `headers`, `within`.";
        check(r#"{"nmae": "a", "name": 5}"#, "nmae", &format!("`nmae` is not a known field: {listed}"));
        assert_eq!(read(r#"{"within": {"id": 1, "other": 1, "other": 2}}"#), Ok(()));
    }

    #[test]
    fn anything_but_an_object_is_refused_as_a_whole() {
        check("[]", WHOLE_BODY, "This is a list: it must be an object.");
        check(" 5", WHOLE_BODY, "This is a number: it must be an object.");
        for (json, place) in
            [("", "1, column 0"), ("{", "1, column 1"), ("[]x", "1, column 3"), ("{}\n{}", "2, column 1")]
        {
            check(json, WHOLE_BODY, &format!("This is not valid JSON: see line {place}."));
            assert!(matches!(Object::parse(json, &STRICT), Err(Unreadable::NotJson(_))), "{json}");
        }
        let marked = "This is not valid JSON: it begins with a byte order mark (U+FEFF), which must be left out.";
        check("\u{feff}{}", WHOLE_BODY, marked);
        assert!(matches!(Object::parse("[]", &STRICT), Err(Unreadable::Invalid(_))));
    }

    #[test]
    fn members_keep_their_order_and_duplicates() {
        let object = Object::parse(r#"{"headers": {"b": "1", "a": null, "b": "3"}}"#, &STRICT).unwrap();
        let members = object.value("headers").unwrap().members(|value| value.read_nullable(&STRING)).unwrap();
        let expected = [("b", Some("1")), ("a", None), ("b", Some("3"))];
        assert_eq!(members, expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))));
    }

    #[test]
    fn a_time_must_have_an_offset() {
        let read = |text: &str| (TIME.read)(&RawValue::from_string(format!("\"{text}\"")).unwrap());
        assert_eq!(read("2025-01-10T11:23:45+01:00"), read("2025-01-10T10:23:45Z"));
        assert!(read("2025-01-10T10:23:45Z").is_some());
        for text in ["", "yesterday", "2025-01-10", "2025-01-10T10:23:45", "1736504625"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn times_as_rfc_3339_allows_them() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(parse_time(text), Some(expected.parse().unwrap()), "{text}");
        }
        check("2025-01-10t10:23:45z", "2025-01-10T10:23:45Z");
        check("2025-01-10T10:23:45-00:00", "2025-01-10T10:23:45Z");
        check("2025-01-10 10:23:45+05:30", "2025-01-10T04:53:45Z");
        check("2025-01-10T10:23:45+23:59", "2025-01-09T10:24:45Z");
        check("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z");
        check("2025-01-10T10:23:45.1234567891234Z", "2025-01-10T10:23:45.123456789Z");
        check("2025-01-10T10:23:45.0000000000+01:00", "2025-01-10T09:23:45Z");
        let last = Timestamp::MAX.to_string();
        check("9999-12-31T23:59:59Z", &last);
        check("9999-12-31T23:59:59.9999999999-23:59", &last);
        check("0000-01-01T00:00:00+23:59", "-000001-12-31T00:01:00Z");
        for text in ["2025-02-29T00:00:00Z", "2025-01-10T24:00:00Z", "2025-01-10T10:23:45.Z", "2025-01-10T10:23:45.1"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    /// Deeply nested input must not overflow the stack.
    #[test]
    fn deep_nesting_does_no_harm() {
        let deep = format!(r#"{{"name": "a", "list": {}"x"{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep).expect_err("the list contains a list").field, "list[0]");
    }
}
