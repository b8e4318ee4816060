//! Each function reads exactly the variables that the template gives it, and starts with their defaults.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use aws::config;
use aws::environment::{Environment, InvalidSetting};
use serde_json::Value;

use support::template::Template;

/// The only variable that functions read and Lambda sets.
const SET_BY_LAMBDA: (&str, &str) = ("AWS_REGION", "eu-central-1");

/// The variables that the template gives a function, with the values that follow from the parameters' defaults.
fn given(template: &Template, function: &str) -> BTreeMap<String, String> {
    let variables = template.variables(function);
    variables.into_iter().map(|(name, value)| (name.to_owned(), resolved(template, value))).collect()
}

/// A value of the template, as it follows from the parameters' defaults.
fn resolved(template: &Template, value: &Value) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    if let Some(text) = value["Fn::Sub"].as_str() {
        return substituted(template, text);
    }
    if let Some([condition, then, otherwise]) = value["Fn::If"].as_array().map(Vec::as_slice) {
        let name = condition.as_str().expect("a condition has a name");
        let equals = &template.section("Conditions")[name]["Fn::Equals"];
        let holds = resolved(template, &equals[0]) == resolved(template, &equals[1]);
        return resolved(template, if holds { then } else { otherwise });
    }
    if let Some([mapping, key, name]) = value["Fn::FindInMap"].as_array().map(Vec::as_slice) {
        let [mapping, key, name] = [mapping, key, name].map(|part| resolved(template, part));
        return resolved(template, &template.section("Mappings")[&mapping][key][name]);
    }
    let name = value["Ref"].as_str().or(value["Fn::GetAtt"][0].as_str());
    named(template, name.unwrap_or_else(|| panic!("{value} is not supported here")))
}

fn substituted(template: &Template, text: &str) -> String {
    let mut parts = text.split("${");
    let start = parts.next().unwrap_or_default().to_owned();
    parts.fold(start, |before, part| {
        let (name, after) = part.split_once('}').expect("every reference is closed");
        before + &named(template, name) + after
    })
}

fn named(template: &Template, name: &str) -> String {
    match template.section("Parameters").contains_key(name) {
        true => template.default_of(name),
        // Only AWS knows it; any name will do.
        false => format!("the-physical-id-of-{}", name.replace("::", "-")),
    }
}

#[track_caller]
fn check<T>(function: &str, read: impl Fn(&Environment<'_>) -> Result<T, InvalidSetting>) {
    let template = Template::read();
    let given = given(&template, function);
    let asked_for = RefCell::new(BTreeSet::new());
    let look_up = |name: &str| {
        if name == SET_BY_LAMBDA.0 {
            return Some(SET_BY_LAMBDA.1.to_owned());
        }
        asked_for.borrow_mut().insert(name.to_owned());
        given.get(name).cloned()
    };
    let environment = Environment::new(&look_up);
    match (read(&environment), config::sdk_config(&environment)) {
        (Ok(_), Ok(config)) => assert_eq!(config.endpoint_url(), None, "{function} calls AWS itself"),
        (Err(bad), _) | (_, Err(bad)) => panic!("{function} does not start with the template's defaults: {bad}"),
    }
    let given: BTreeSet<String> = given.keys().cloned().collect();
    assert_eq!(asked_for.into_inner(), given, "{function}: what it reads, and what the template gives it");
}

#[test]
fn functions_read_exactly_what_the_template_gives_them() {
    check("DeliverFunction", deliver::Settings::read);
    check("RetryFunction", retry::Settings::read);
    check("SweepFunction", sweep::Settings::read);
    check("ApiFunction", api::Settings::read);
}
