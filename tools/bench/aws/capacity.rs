//! How large items are and what reading and writing them costs, by DynamoDB's published rules ("DynamoDB item sizes and
//! formats", "Read and write operations" in its developer guide). What a number takes is documented as an
//! approximation.

use serde_json::{Map, Value};

/// An item as DynamoDB's JSON has it: each attribute under its name, as `{"S": "…"}` and its like.
pub type Item = Map<String, Value>;

/// A sparse index, as far as its cost goes.
#[derive(Clone, Debug)]
pub struct Index {
    /// Both key attributes: an item is in the index while it has them.
    pub keys: Vec<String>,
    /// The other attributes that are copied into it, the table's own key included.
    pub projected: Vec<String>,
}

/// An item's size in bytes: names and values.
pub fn size_of(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of_value(value)).sum()
}

fn size_of_value(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|typed| typed.iter().next()) else { return 0 };
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => text.len(),
        ("N", Value::String(digits)) => size_of_number(digits),
        ("B", Value::String(base64)) => base64.trim_end_matches('=').len() * 3 / 4,
        ("BOOL" | "NULL", _) => 1,
        // Three bytes for the list or map, and one for each element.
        ("L", Value::Array(elements)) => 3 + elements.iter().map(|element| 1 + size_of_value(element)).sum::<usize>(),
        ("M", Value::Object(fields)) => 3 + fields.len() + size_of(fields),
        (_, Value::Array(set)) => set.iter().filter_map(Value::as_str).map(str::len).sum(),
        _ => 0,
    }
}

/// One byte for two significant digits, one for the exponent, one for a sign.
fn size_of_number(digits: &str) -> usize {
    let significant = digits.trim_start_matches('-').trim_start_matches('0').replace('.', "");
    significant.trim_end_matches('0').len().div_ceil(2) + 1 + usize::from(digits.starts_with('-'))
}

/// The write units of changing an item from one content to another, the table's and its indexes'.
pub fn write_units(before: Option<&Item>, after: Option<&Item>, indexes: &[Index]) -> u64 {
    let size = |item: Option<&Item>| item.map_or(0, size_of);
    units_of(size(before).max(size(after)), 1024)
        + indexes.iter().map(|index| index_units(index, before, after)).sum::<u64>()
}

/// An entry that comes or goes is one write, one whose key changes is two, one that stays as it was is none.
fn index_units(index: &Index, before: Option<&Item>, after: Option<&Item>) -> u64 {
    let is_entry = |item: &&Item| index.keys.iter().all(|key| item.contains_key(key));
    let size = |item: &Item| {
        let attributes = index.keys.iter().chain(&index.projected);
        attributes.filter_map(|name| item.get(name).map(|value| name.len() + size_of_value(value))).sum()
    };
    match (before.filter(is_entry), after.filter(is_entry)) {
        (None, None) => 0,
        (Some(one), None) | (None, Some(one)) => units_of(size(one), 1024),
        (Some(before), Some(after)) => {
            let differs = |names: &[String]| names.iter().any(|name| before.get(name) != after.get(name));
            if differs(&index.keys) {
                units_of(size(before), 1024) + units_of(size(after), 1024)
            } else if differs(&index.projected) {
                units_of(size(before).max(size(after)), 1024)
            } else {
                0
            }
        }
    }
}

/// How fresh a read has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    Strong,
    Eventual,
}

/// The read units of reading so many bytes at once.
pub fn read_units(bytes: usize, consistency: Consistency) -> f64 {
    let whole = units_of(bytes, 4096) as f64;
    match consistency {
        Consistency::Strong => whole,
        Consistency::Eventual => whole / 2.0,
    }
}

/// Even what is not there costs one.
fn units_of(bytes: usize, unit: usize) -> u64 {
    bytes.div_ceil(unit).max(1) as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(value: Value) -> Item {
        value.as_object().expect("an item is an object").clone()
    }

    #[test]
    fn sizes_follow_the_documented_rules() {
        assert_eq!(size_of(&item(json!({"id": {"S": "é1"}}))), 2 + 3);
        assert_eq!(size_of(&item(json!({"n": {"N": "1736504625000"}}))), 1 + 5 + 1);
        assert_eq!(size_of(&item(json!({"n": {"N": "-7"}}))), 1 + 1 + 1 + 1);
        assert_eq!(size_of(&item(json!({"b": {"B": "AAECAw=="}}))), 1 + 4);
        assert_eq!(size_of(&item(json!({"f": {"BOOL": true}}))), 1 + 1);
        assert_eq!(size_of(&item(json!({"l": {"L": [{"S": "ab"}, {"N": "1"}]}}))), 1 + 3 + (1 + 2) + (1 + 2));
        assert_eq!(size_of(&item(json!({"m": {"M": {"k": {"S": "v"}}}}))), 1 + 3 + 1 + 1 + 1);
    }

    #[test]
    fn an_item_costs_a_unit_for_each_begun_kilobyte() {
        let of = |bytes: usize| item(json!({"k": {"S": "x".repeat(bytes - 1)}}));
        assert_eq!(write_units(None, Some(&of(1024)), &[]), 1);
        assert_eq!(write_units(None, Some(&of(1025)), &[]), 2);
        assert_eq!(write_units(Some(&of(2048)), Some(&of(10)), &[]), 2);
        assert_eq!(read_units(4096, Consistency::Strong), 1.0);
        assert_eq!(read_units(4097, Consistency::Eventual), 1.0);
        assert_eq!(read_units(0, Consistency::Eventual), 0.5);
    }

    #[test]
    fn an_index_costs_when_its_entry_changes() {
        let indexes = [Index { keys: vec!["due".to_owned()], projected: vec!["id".to_owned()] }];
        let apart = item(json!({"id": {"S": "1"}}));
        let due = |at: &str| item(json!({"id": {"S": "1"}, "due": {"N": at}, "other": {"S": at}}));
        assert_eq!(write_units(None, Some(&apart), &indexes), 1);
        assert_eq!(write_units(Some(&apart), Some(&due("1")), &indexes), 2);
        assert_eq!(write_units(Some(&due("1")), Some(&due("2")), &indexes), 3);
        assert_eq!(write_units(Some(&due("1")), Some(&due("1")), &indexes), 1);
        assert_eq!(write_units(Some(&due("1")), None, &indexes), 2);
    }
}
