//! Alert events: valid ones of every shape, and the same with one error.

use domain::alert::event::{AlertEvent, EventType};
use domain::ids::OrganizationId;
use proptest::prelude::*;
use proptest::sample::select;

use crate::oracles;

/// A value that no error message may quote.
const CANARY: &str = "canary-7f3a";

/// JSON with control over its text: the order and repetition of fields, and white space.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    Raw(String),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(crate) fn raw(text: impl Into<String>) -> Self {
        Self::Raw(text.into())
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::Raw(serde_json::to_string(text).expect("a string"))
    }

    pub(crate) fn object<const N: usize>(fields: [(&str, Self); N]) -> Self {
        Self::Object(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The fields of the nested object with this name, or of this object if the name is empty.
    pub(crate) fn fields(&mut self, path: &str) -> &mut Vec<(String, Self)> {
        let Self::Object(fields) = self else { panic!("not an object") };
        if path.is_empty() {
            return fields;
        }
        let inner = fields.iter_mut().find(|(name, _)| name == path).expect("a known field");
        inner.1.fields("")
    }

    /// Its text, with `blank` wherever white space is allowed.
    pub(crate) fn write(&self, blank: &str) -> String {
        match self {
            Self::Raw(text) => text.clone(),
            Self::Object(fields) => {
                let field = |(name, value): &(String, Self)| {
                    let (name, value) = (Self::text(name).write(blank), value.write(blank));
                    format!("{blank}{name}{blank}:{blank}{value}{blank}")
                };
                format!("{{{blank}{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// The content of valid events.
fn events() -> impl Strategy<Value = AlertEvent> {
    let severity = prop_oneof![select(vec!["critical", "warning", "info"]).prop_map(str::to_owned), "\\PC{1,16}"];
    // Up to the last time that can still be written in every time zone's offset, at the end of the year 9999.
    let times = (0_i64..253_402_207_200, 0_i32..1_000_000_000)
        .prop_map(|(second, nano)| jiff::Timestamp::new(second, nano).expect("within the range"));
    let event = (select(EventType::ALL.to_vec()), times, any::<u64>(), severity, any::<u64>(), 1..=u64::MAX);
    event.prop_map(|(event_type, timestamp, alert_id, severity, project_id, organization)| AlertEvent {
        event_type,
        timestamp,
        alert_id,
        severity,
        project_id,
        organization_id: OrganizationId::new(organization).expect("it is positive"),
    })
}

/// The event as an object with the required fields only.
fn minimal(event: &AlertEvent) -> Json {
    Json::object([
        ("event_type", Json::text(event.event_type.as_str())),
        ("timestamp", Json::text(&event.timestamp.to_string())),
        (
            "alert",
            Json::object([("id", Json::raw(event.alert_id.to_string())), ("severity", Json::text(&event.severity))]),
        ),
        ("project", Json::object([("id", Json::raw(event.project_id.to_string()))])),
        ("organization", Json::object([("id", Json::raw(event.organization_id.to_string()))])),
    ])
}

const OBJECTS: [&str; 4] = ["", "alert", "project", "organization"];

/// Values of undocumented fields, among them the canary.
fn anything() -> impl Strategy<Value = Json> {
    prop_oneof![
        select(vec!["1e999", "-0.0", "123456789012345678901234567890", "[[[[[]]]]]", "{\"id\":\"x\"}", "null", "true"])
            .prop_map(Json::raw),
        "\\PC{0,20}".prop_map(|text| Json::text(&text)),
        Just(Json::text(CANARY)),
        Just(Json::raw("\"\\ud83e\\udd16 \\u0000 \\/\"")),
    ]
}

/// Undocumented fields, each with the object that it goes into.
fn extras() -> impl Strategy<Value = Vec<(&'static str, String, Json)>> {
    // Never a documented name, which would be a duplicate.
    let name = prop_oneof!["x_[a-z]{1,8}", "\\PC{12}", Just(format!("x {CANARY}"))];
    proptest::collection::vec((select(OBJECTS.to_vec()), name, anything()), 0..6)
}

/// The event's texts, with a random order of fields and random white space.
fn texts(event: Json, extras: Vec<(&'static str, String, Json)>) -> impl Strategy<Value = String> {
    let mut event = event;
    for (object, name, value) in extras {
        if let Some((_, Json::Object(_))) = event.fields("").iter().find(|(name, _)| name == object) {
            event.fields(object).push((name, value));
        } else {
            event.fields("").push((name, value));
        }
    }
    let Json::Object(fields) = event else { panic!("not an object") };
    let blank = select(vec!["", " ", "\r\n\t"]);
    (Just(fields).prop_shuffle(), blank).prop_map(|(fields, blank)| Json::Object(fields).write(blank))
}

/// An error in a field.
#[derive(Clone, Debug)]
enum Breach {
    Missing,
    Null,
    Twice,
    /// It has this value instead.
    Instead(&'static str),
}

/// A path, the object that contains the field, the field's name, and values that are not allowed.
type Field = (&'static str, &'static str, &'static str, &'static [&'static str]);

const FIELDS: [Field; 9] = [
    ("event_type", "", "event_type", &["\"\"", "\"canary-7f3a\"", "\"Alert.Triggered\"", "1", "[]", "{}", "true"]),
    (
        "timestamp",
        "",
        "timestamp",
        &[
            "\"canary-7f3a\"",
            "\"2025-01-10T10:23:45\"",
            "\"2025-13-10T10:23:45Z\"",
            "\"1969-12-31T23:59:59Z\"",
            "\"1970-01-01T00:59:59+01:00\"",
            "1736504625",
            "{\"canary-7f3a\":1}",
        ],
    ),
    ("alert", "", "alert", &["[]", "\"canary-7f3a\"", "1", "false"]),
    (
        "alert.id",
        "alert",
        "id",
        &["-1", "1.5", "1e3", "18446744073709551616", "\"canary-7f3a\"", "\"1\"", "[1]", "true"],
    ),
    (
        "alert.severity",
        "alert",
        "severity",
        &[
            "\"\"",
            "1",
            "[\"canary-7f3a\"]",
            "\"canary-7f3a                                                                              \"",
            "\"\\ud800\"",
        ],
    ),
    ("project", "", "project", &["[]", "\"canary-7f3a\"", "-7"]),
    ("project.id", "project", "id", &["-1", "0.5", "\"canary-7f3a\"", "{}", "18446744073709551616"]),
    ("organization", "", "organization", &["[]", "\"canary-7f3a\"", "-7"]),
    ("organization.id", "organization", "id", &["0", "-1", "-0", "\"1\"", "\"canary-7f3a\"", "18446744073709551616"]),
];

/// A field, its error, and the field that the message must name.
fn breaches() -> impl Strategy<Value = (Field, Breach, &'static str)> {
    select(FIELDS.to_vec()).prop_flat_map(|field| {
        let (path, _, _, wrong) = field;
        let breach = prop_oneof![
            Just((Breach::Missing, path)),
            Just((Breach::Null, path)),
            Just((Breach::Twice, path)),
            select(wrong.to_vec()).prop_map(move |value| (Breach::Instead(value), path)),
        ];
        breach.prop_map(move |(breach, named)| (field, breach, named))
    })
}

fn broken(mut event: Json, field: Field, breach: &Breach) -> Json {
    let (_, object, name, _) = field;
    let fields = event.fields(object);
    let index = fields.iter().position(|(known, _)| known == name).expect("a known field");
    match breach {
        Breach::Missing => drop(fields.remove(index)),
        Breach::Null => fields[index].1 = Json::raw("null"),
        Breach::Twice => fields.push(fields[index].clone()),
        Breach::Instead(value) => fields[index].1 = Json::raw(*value),
    }
    event
}

fn valid_texts() -> impl Strategy<Value = (AlertEvent, String)> {
    (events(), extras()).prop_flat_map(|(event, extras)| {
        let text = texts(minimal(&event), extras);
        (Just(event), text)
    })
}

fn broken_texts() -> impl Strategy<Value = (&'static str, String)> {
    (events(), extras(), breaches()).prop_flat_map(|(event, extras, (field, breach, named))| {
        let text = texts(broken(minimal(&event), field, &breach), extras);
        (Just(named), text)
    })
}

/// Valid events with parts cut out, repeated or replaced.
fn mangled_texts() -> impl Strategy<Value = String> {
    let cut = |text: &str, index: prop::sample::Index| {
        let mut at = index.index(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    (valid_texts(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), "\\PC?|[{}\\[\\]\",:\\\\0-9]{1,3}")
        .prop_map(move |((_, text), from, to, between)| {
            let (from, to) = (cut(&text, from), cut(&text, to));
            format!("{}{between}{}", &text[..from], &text[to..])
        })
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn a_valid_event_is_accepted((event, text) in valid_texts()) {
        prop_assert_eq!(AlertEvent::parse(&text), Ok(event));
        oracles::alert_event(&text);
    }

    #[test]
    fn an_invalid_field_is_named_and_not_quoted((named, text) in broken_texts()) {
        let bad = AlertEvent::parse(&text).expect_err("it is broken");
        prop_assert_eq!(bad.field, named);
        prop_assert!(!bad.message.contains(CANARY), "{}", bad.message);
        oracles::alert_event(&text);
    }

    #[test]
    fn nearly_valid_events(text in mangled_texts()) {
        oracles::alert_event(&text);
    }

    #[test]
    fn arbitrary_texts(text in any::<String>()) {
        oracles::alert_event(&text);
    }
}

/// Nested more deeply than a recursive parser could handle.
#[test]
fn nesting_is_limited_by_size_only() {
    let deep = |open: &str, close: &str, levels: usize| {
        let event = include_str!("../../../../events/alert-triggered.json");
        event.replacen('{', &format!("{{\"x\":{}0{},", open.repeat(levels), close.repeat(levels)), 1)
    };
    for text in [deep("[", "]", 100_000), deep("{\"a\":", "}", 40_000)] {
        assert!(AlertEvent::parse(&text).is_ok());
        oracles::alert_event(&text);
    }
    oracles::alert_event(&"[".repeat(250_000));
    oracles::alert_event(&"{\"alert\":".repeat(25_000));
    oracles::retry_message(&"[".repeat(250_000));
    oracles::retry_message(&"{\"attempt\":".repeat(25_000));
    oracles::filter(&"[".repeat(250_000));
    oracles::filter(&format!("{{\"severities\":{}", "[".repeat(250_000)));
}
