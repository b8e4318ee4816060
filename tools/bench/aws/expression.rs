//! DynamoDB's expressions, as far as senders use them: conditions of comparisons and functions joined by AND, OR and
//! NOT, updates that SET and REMOVE top-level attributes.

use std::cmp::Ordering;

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};

use super::capacity::Item;

/// What placeholders stand for: `#name` and `:value`.
#[derive(Clone, Copy, Debug)]
pub struct Placeholders<'a> {
    pub names: Option<&'a Map<String, Value>>,
    pub values: Option<&'a Map<String, Value>>,
}

impl<'a> Placeholders<'a> {
    fn name(&self, word: &'a str) -> Result<&'a str> {
        if !word.starts_with('#') {
            return Ok(word);
        }
        self.names.and_then(|names| names.get(word)).and_then(Value::as_str).ok_or_else(|| not_understood(word))
    }

    fn value(&self, word: &str) -> Result<&'a Value> {
        self.values.and_then(|values| values.get(word)).ok_or_else(|| not_understood(word))
    }
}

/// The benchmark fails at an expression that it does not understand, rather than counting what never happened.
fn not_understood(word: &str) -> anyhow::Error {
    anyhow!("an expression is not understood at `{word}`")
}

/// Whether an item, or its absence (an empty one), meets a condition.
///
/// # Errors
/// For an expression that is beyond this module.
pub fn evaluate(condition: &str, item: &Item, placeholders: Placeholders<'_>) -> Result<bool> {
    let words = words(condition);
    let mut reader = Reader { words: &words, item, placeholders };
    let evaluate = reader.any()?;
    match reader.words {
        [] => Ok(evaluate),
        [rest, ..] => Err(not_understood(rest)),
    }
}

/// The item after an update.
///
/// # Errors
/// For an expression that is beyond this module.
pub fn apply_update(update: &str, item: &Item, placeholders: Placeholders<'_>) -> Result<Item> {
    let words = words(update);
    let mut reader = Reader { words: &words, item, placeholders };
    let mut after = item.clone();
    while let Some(clause) = reader.next() {
        loop {
            let name = placeholders.name(reader.word()?)?;
            match clause {
                "SET" => {
                    reader.expect("=")?;
                    after.insert(name.to_owned(), reader.assigned_value()?);
                }
                "REMOVE" => drop(after.remove(name)),
                _ => return Err(not_understood(clause)),
            }
            if !reader.take(",") {
                break;
            }
        }
    }
    Ok(after)
}

/// The expression's words: names, placeholders, keywords and signs.
fn words(expression: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '#' | ':' | '_' | '-' | '.');
        let length = match first {
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ if ["<=", ">=", "<>"].iter().any(|sign| rest.starts_with(sign)) => 2,
            _ => first.len_utf8(),
        };
        let (word, behind) = rest.split_at(length);
        words.push(word);
        rest = behind.trim_start();
    }
    words
}

struct Reader<'a> {
    words: &'a [&'a str],
    item: &'a Item,
    placeholders: Placeholders<'a>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn word(&mut self) -> Result<&'a str> {
        self.next().ok_or_else(|| not_understood("the end"))
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.words.first().is_some_and(|next| next.eq_ignore_ascii_case(word));
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.take(word) { Ok(()) } else { Err(not_understood(self.words.first().unwrap_or(&"the end"))) }
    }

    fn any(&mut self) -> Result<bool> {
        let mut evaluate = self.all()?;
        while self.take("OR") {
            evaluate |= self.all()?;
        }
        Ok(evaluate)
    }

    fn all(&mut self) -> Result<bool> {
        let mut evaluate = self.one()?;
        while self.take("AND") {
            evaluate &= self.one()?;
        }
        Ok(evaluate)
    }

    fn one(&mut self) -> Result<bool> {
        if self.take("NOT") {
            return Ok(!self.one()?);
        }
        if self.take("(") {
            let evaluate = self.any()?;
            self.expect(")")?;
            return Ok(evaluate);
        }
        let word = self.word()?;
        match word {
            "attribute_exists" | "attribute_not_exists" => {
                self.expect("(")?;
                let name = self.word()?;
                let name = self.placeholders.name(name)?;
                self.expect(")")?;
                Ok(self.item.contains_key(name) == (word == "attribute_exists"))
            }
            "begins_with" => {
                self.expect("(")?;
                let value = self.operand()?;
                self.expect(",")?;
                let prefix = self.operand()?;
                self.expect(")")?;
                Ok(text(&value).zip(text(&prefix)).is_some_and(|(value, prefix)| value.starts_with(prefix)))
            }
            word => {
                let left = self.operand_of(word)?;
                let sign = self.word()?;
                let right = self.operand()?;
                compare(sign, &left, &right)
            }
        }
    }

    fn operand(&mut self) -> Result<Value> {
        let word = self.word()?;
        self.operand_of(word)
    }

    fn operand_of(&self, word: &'a str) -> Result<Value> {
        if word.starts_with(':') {
            return self.placeholders.value(word).cloned();
        }
        Ok(self.item.get(self.placeholders.name(word)?).cloned().unwrap_or(Value::Null))
    }

    /// The right side of an assignment: a value, an attribute, or a sum of two.
    fn assigned_value(&mut self) -> Result<Value> {
        let value = self.operand()?;
        if !self.take("+") {
            return Ok(value);
        }
        let sum = number(&value).zip(number(&self.operand()?)).map(|(left, right)| left + right);
        sum.map(|sum| json!({ "N": sum.to_string() })).ok_or_else(|| not_understood("+"))
    }
}

fn compare(sign: &str, left: &Value, right: &Value) -> Result<bool> {
    let order = match (number(left), number(right)) {
        (Some(left), Some(right)) => left.partial_cmp(&right),
        _ => text(left).zip(text(right)).map(|(left, right)| left.cmp(right)),
    };
    match sign {
        "=" => Ok(left == right),
        "<>" => Ok(left != right),
        "<" => Ok(order == Some(Ordering::Less)),
        "<=" => Ok(matches!(order, Some(Ordering::Less | Ordering::Equal))),
        ">" => Ok(order == Some(Ordering::Greater)),
        ">=" => Ok(matches!(order, Some(Ordering::Greater | Ordering::Equal))),
        sign => Err(not_understood(sign)),
    }
}

fn text(value: &Value) -> Option<&str> {
    value["S"].as_str()
}

fn number(value: &Value) -> Option<f64> {
    value["N"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[track_caller]
    fn check(condition: &str, expected: Result<bool, &str>) {
        let item = object(json!({"status": {"S": "sending"}, "attempt": {"N": "2"}, "id": {"S": "dlv_1"}}));
        let names = object(json!({"#status": "status"}));
        let values = object(
            json!({":sending": {"S": "sending"}, ":two": {"N": "2"}, ":three": {"N": "3"}, ":dlv": {"S": "dlv_"}}),
        );
        let placeholders = Placeholders { names: Some(&names), values: Some(&values) };
        let found = evaluate(condition, &item, placeholders).map_err(|error| error.to_string());
        let expected = expected.map_err(|at| format!("an expression is not understood at `{at}`"));
        assert_eq!(found, expected, "{condition}");
    }

    #[test]
    fn conditions_are_judged() {
        check("#status = :sending AND attempt = :two", Ok(true));
        check("#status = :sending AND attempt = :three", Ok(false));
        check("attempt = :three OR (attempt < :three AND NOT attribute_not_exists(#status))", Ok(true));
        check("attribute_not_exists(id)", Ok(false));
        check("id = :dlv", Ok(false));
        check("begins_with(id, :dlv)", Ok(true));
        check("missing = :two", Ok(false));
        check("attempt >= :two and attempt <> :three", Ok(true));
        check("size(id) = :two", Err("("));
        check("attempt = :two )", Err(")"));
        check("attempt = :four", Err(":four"));
    }

    #[test]
    fn updates_set_copy_add_and_remove() {
        let item = object(json!({"a": {"N": "1"}, "b": {"S": "x"}, "c": {"S": "y"}}));
        let values = object(json!({":one": {"N": "1"}}));
        let placeholders = Placeholders { names: None, values: Some(&values) };
        let after = apply_update("SET a = a + :one, d = b REMOVE c, e", &item, placeholders).expect("it is understood");
        assert_eq!(after, object(json!({"a": {"N": "2"}, "b": {"S": "x"}, "d": {"S": "x"}})));
        assert!(apply_update("ADD a :one", &item, placeholders).is_err());
    }
}
