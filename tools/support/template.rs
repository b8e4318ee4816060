//! The template as data. CloudFormation's short forms (`!Ref`) become long ones (`{"Ref": …}`), so that checks have to
//! know one form only.

use std::collections::BTreeMap;

use crate::project::Project;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// The project's template.
pub struct Template(Value);

impl Template {
    pub fn read() -> Self {
        let path = Project::source().template();
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let documents = Yaml::load_from_str(&text).expect("the template is YAML");
        let [document] = documents.as_slice() else { panic!("the template is one document") };
        Self(plain(document))
    }

    /// A section of the template, such as `Outputs`.
    pub fn section(&self, name: &str) -> &Map<String, Value> {
        self.0[name].as_object().unwrap_or_else(|| panic!("the template has no section {name}"))
    }

    /// A resource's `Properties`.
    pub fn properties(&self, logical_id: &str) -> &Value {
        &self.resource(logical_id)["Properties"]
    }

    pub fn resource(&self, logical_id: &str) -> &Value {
        self.section("Resources").get(logical_id).unwrap_or_else(|| panic!("the template has no resource {logical_id}"))
    }

    /// The environment variables of a function, including those of all functions.
    pub fn variables(&self, function: &str) -> BTreeMap<&str, &Value> {
        let of_all = &self.section("Globals")["Function"];
        let declared = [of_all, self.properties(function)].map(|place| place["Environment"]["Variables"].as_object());
        let declared = declared.into_iter().flatten().flatten();
        declared.map(|(name, value)| (name.as_str(), value)).collect()
    }

    /// The resources of a type, by logical id.
    pub fn of_type(&self, kind: &str) -> BTreeMap<&str, &Value> {
        let resources = self.section("Resources").iter();
        resources
            .filter(|(_, resource)| resource["Type"] == kind)
            .map(|(id, resource)| (id.as_str(), resource))
            .collect()
    }

    /// A parameter's default, as text, which it is for CloudFormation.
    pub fn default_of(&self, parameter: &str) -> String {
        let default = &self.section("Parameters")[parameter]["Default"];
        default.as_str().map_or_else(|| default.to_string(), str::to_owned)
    }

    /// A parameter's default, as a number.
    pub fn number(&self, parameter: &str) -> u64 {
        self.default_of(parameter).parse().unwrap_or_else(|_| panic!("the default of {parameter} is no whole number"))
    }

    /// Every value in the template, at any depth, with its path.
    pub fn all_values(&self) -> Vec<(String, &Value)> {
        let mut found = Vec::new();
        collect(&self.0, String::new(), &mut found);
        found
    }
}

fn collect<'a>(value: &'a Value, path: String, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| collect(field, format!("{path}/{name}"), found))
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, format!("{path}/-"), found)),
        _ => {}
    }
    found.push((path, value));
}

fn plain(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Sequence(items) => items.iter().map(plain).collect(),
        Yaml::Mapping(fields) => fields.iter().map(|(name, field)| (key(name), plain(field))).collect(),
        Yaml::Tagged(tag, value) => long_form(&tag.suffix, plain(value)),
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => {
            panic!("the template uses YAML beyond values and tags")
        }
    }
}

fn key(yaml: &Yaml<'_>) -> String {
    yaml.as_str().expect("the template's keys are text").to_owned()
}

fn long_form(tag: &str, value: Value) -> Value {
    match (tag, &value) {
        ("Ref" | "Condition", _) => json!({ tag: value }),
        ("GetAtt", Value::String(path)) => json!({ "Fn::GetAtt": path.split('.').collect::<Vec<_>>() }),
        _ => json!({ format!("Fn::{tag}"): value }),
    }
}

/// `!Ref`, in the long form.
pub fn reference(logical_id: &str) -> Value {
    json!({ "Ref": logical_id })
}

/// `!GetAtt`, in the long form.
pub fn attribute(logical_id: &str, name: &str) -> Value {
    json!({ "Fn::GetAtt": [logical_id, name] })
}

/// The items of a list, or the single value that the template has in place of a list.
pub fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}

#[test]
fn short_forms_are_read_as_long_ones() {
    let template = Template::read();
    assert_eq!(template.section("Outputs")["AlertsQueueUrl"]["Value"], reference("AlertsQueue"));
    assert_eq!(
        template.properties("AlertsQueue")["RedrivePolicy"]["deadLetterTargetArn"],
        attribute("AlertsDeadLetterQueue", "Arn")
    );
    assert_eq!(template.default_of("DeletionProtection"), "true", "a string stays a string");
}
