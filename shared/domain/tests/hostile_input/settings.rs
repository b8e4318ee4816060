//! An integration's filters.

use domain::alert::event::{AlertEvent, EventType};
use domain::alert::filter::Filter;
use domain::ids::OrganizationId;
use domain::json::InvalidField;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::oracles;

const SEVERITIES: [&str; 4] = ["critical", "Critical", "warning", ""];

fn filters() -> impl Strategy<Value = Filter> {
    let severity = || prop_oneof![select(SEVERITIES.to_vec()).prop_map(str::to_owned), any::<String>()];
    let lists = (
        subsequence(EventType::ALL.to_vec(), 0..=3),
        proptest::collection::vec(severity(), 0..4),
        proptest::collection::vec(prop_oneof![0_u64..4, any::<u64>()], 0..4),
    );
    lists.prop_map(|(event_types, severities, project_ids)| Filter { event_types, severities, project_ids })
}

fn event(event_type: EventType, severity: &str, project_id: u64) -> AlertEvent {
    AlertEvent {
        event_type,
        timestamp: jiff::Timestamp::UNIX_EPOCH,
        alert_id: 1,
        severity: severity.to_owned(),
        project_id,
        organization_id: OrganizationId::new(1).expect("it is positive"),
    }
}

proptest! {
    #![proptest_config(crate::config())]

    /// As DynamoDB attributes and as JSON.
    #[test]
    fn filters_read_back_unchanged(filter in filters()) {
        let item: serde_dynamo::Item = serde_dynamo::to_item(&filter).expect("it has only lists");
        prop_assert_eq!(serde_dynamo::from_item::<_, Filter>(item).ok(), Some(filter.clone()));
        oracles::filter(&serde_json::to_string(&filter).expect("it has only lists"));
    }

    #[test]
    fn a_list_matches_its_values_and_an_empty_one_everything(
        filter in filters(),
        event_type in select(EventType::ALL.to_vec()),
        severity in select(SEVERITIES.to_vec()),
        project_id in 0_u64..4,
    ) {
        let event = event(event_type, severity, project_id);
        let lacks_type = !filter.event_types.is_empty() && !filter.event_types.contains(&event_type);
        let has_severity = filter.severities.iter().any(|known| known.eq_ignore_ascii_case(severity));
        let lacks_severity = !filter.severities.is_empty() && !has_severity;
        let lacks_project = !filter.project_ids.is_empty() && !filter.project_ids.contains(&project_id);
        prop_assert_eq!(filter.matches(&event), !(lacks_type || lacks_severity || lacks_project));
    }

    #[test]
    fn an_invalid_list_is_named(
        filter in filters(),
        (name, value) in select(vec![
            ("event_types", "[\"alert.exploded\"]"),
            ("event_types", "[\"Alert.Triggered\"]"),
            ("event_types", "\"alert.triggered\""),
            ("severities", "[1]"),
            ("severities", "{}"),
            ("severities", "null"),
            ("project_ids", "[-1]"),
            ("project_ids", "[\"1\"]"),
            ("project_ids", "[1.5]"),
            ("project_ids", "[18446744073709551616]"),
        ]),
    ) {
        let mut lists = serde_json::to_value(&filter).expect("it has only lists");
        lists[name] = serde_json::from_str(value).unwrap_or_else(|_| serde_json::json!([1e30]));
        let text = lists.to_string();
        let bad = InvalidField::from(oracles::read_filter(&text).expect_err("it is broken"));
        prop_assert!(bad.field.starts_with(name), "{}", bad.field);
        oracles::filter(&text);
    }

    #[test]
    fn arbitrary_texts(text in any::<String>()) {
        oracles::filter(&text);
        oracles::filter(&format!("{{\"severities\":[{text}]}}"));
    }
}
