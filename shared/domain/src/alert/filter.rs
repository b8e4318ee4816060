//! Which alert events an integration wants.

use serde::{Deserialize, Serialize};

use crate::alert::event::{AlertEvent, EventType};

/// An integration's filters. An event must match every list; an empty list matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<EventType>,
    /// Compared with `alert.severity`, as [`is_same_severity`] does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub severities: Vec<String>,
    /// Compared with `project.id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub project_ids: Vec<u64>,
}

impl Filter {
    pub fn matches(&self, event: &AlertEvent) -> bool {
        allows(&self.event_types, &event.event_type)
            && (self.severities.is_empty()
                || self.severities.iter().any(|severity| is_same_severity(severity, &event.severity)))
            && allows(&self.project_ids, &event.project_id)
    }
}

fn allows<T: PartialEq>(list: &[T], value: &T) -> bool {
    list.is_empty() || list.contains(value)
}

/// Whether two names of severities mean the same: they may differ in case.
pub fn is_same_severity(one: &str, other: &str) -> bool {
    one.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OrganizationId;

    #[track_caller]
    fn check(event_types: &[EventType], severities: &[&str], project_ids: &[u64], expected: bool) {
        let filter = Filter {
            event_types: event_types.to_vec(),
            severities: severities.iter().map(ToString::to_string).collect(),
            project_ids: project_ids.to_vec(),
        };
        let event = AlertEvent {
            event_type: EventType::Triggered,
            timestamp: "2025-01-10T10:23:45Z".parse().unwrap(),
            alert_id: 123,
            severity: "critical".into(),
            project_id: 10,
            organization_id: OrganizationId::new(1).unwrap(),
        };
        assert_eq!(filter.matches(&event), expected);
    }

    #[test]
    fn every_list_that_is_not_empty_must_match() {
        use EventType::{Acknowledged, Resolved, Triggered};
        check(&[], &[], &[], true);
        check(&[Triggered], &[], &[], true);
        check(&[Resolved, Triggered], &[], &[], true);
        check(&[Resolved, Acknowledged], &[], &[], false);
        check(&[], &["critical"], &[], true);
        check(&[], &["warning", "critical"], &[], true);
        check(&[], &["warning", "CRITICAL"], &[], true);
        check(&[], &["crit"], &[], false);
        check(&[], &[], &[10], true);
        check(&[], &[], &[1, 0], false);
        check(&[Triggered], &["critical"], &[10], true);
        check(&[Triggered], &["critical"], &[11], false);
        check(&[Triggered], &["warning"], &[10], false);
        check(&[Resolved], &["critical"], &[10], false);
    }
    #[test]
    fn severities_are_compared_without_case() {
        for (one, other, expected) in [("Critical", "cRITICAL", true), ("ÉLEVÉ", "élevé", true), ("high", "hig", false)]
        {
            assert_eq!(is_same_severity(one, other), expected, "{one} {other}");
        }
    }
}
