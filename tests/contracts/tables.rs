//! The tables: the keys and indexes that the code expects, and what protects their content.

use aws::dynamodb::deliveries_table::{FAILED_INDEX, WAITING_INDEX};
use serde_json::{Value, json};

use support::template::Template;

/// Names and types of the key attributes of a table or an index.
fn keys(value: &Value) -> Vec<(&str, &str)> {
    let schema = value["KeySchema"].as_array().expect("a table has a key");
    schema.iter().map(|key| (text(&key["AttributeName"]), text(&key["KeyType"]))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn tables_have_the_documented_keys() {
    let template = Template::read();
    let integrations = template.properties("IntegrationsTable");
    assert_eq!(keys(integrations), [("organization_id", "HASH"), ("integration_id", "RANGE")]);
    let deliveries = template.properties("DeliveriesTable");
    assert_eq!(keys(deliveries), [("integration_id", "HASH"), ("delivery_id", "RANGE")]);

    let indexes = deliveries["GlobalSecondaryIndexes"].as_array().expect("the ledger has indexes");
    let index = |name: &str| {
        indexes.iter().find(|index| index["IndexName"] == name).unwrap_or_else(|| panic!("there is no index {name}"))
    };
    assert_eq!(indexes.len(), 2, "neither costs a write when the first attempt succeeds");
    let waiting = index(WAITING_INDEX);
    assert_eq!(keys(waiting), [("due_shard", "HASH"), ("due_at", "RANGE")]);
    let projection = json!({ "ProjectionType": "INCLUDE", "NonKeyAttributes": ["organization_id", "attempt"] });
    assert_eq!(waiting["Projection"], projection, "what a retry message consists of");
    let failed = index(FAILED_INDEX);
    assert_eq!(keys(failed), [("integration_id", "HASH"), ("failed_created_at", "RANGE")]);
    let projection = json!({ "ProjectionType": "INCLUDE", "NonKeyAttributes": ["test"] });
    assert_eq!(failed["Projection"], projection, "what distinguishes tests");
}

#[test]
fn tables_are_protected_and_items_expire() {
    let template = Template::read();
    let tables = template.of_type("AWS::DynamoDB::Table");
    assert_eq!(tables.len(), 2);
    for (table, resource) in tables {
        let properties = &resource["Properties"];
        assert_eq!(properties["BillingMode"], "PAY_PER_REQUEST", "{table}");
        assert_eq!(properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true, "{table}");
        let expiry = json!({ "AttributeName": "expires_at", "Enabled": true });
        assert_eq!(properties["TimeToLiveSpecification"], expiry, "{table}");
        let protected = json!({ "Fn::If": ["DataProtected", true, false] });
        assert_eq!(properties["DeletionProtectionEnabled"], protected, "{table}");
        assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{table}");
    }
    assert_eq!(template.default_of("DeletionProtection"), "true");
    let is_asked_for = json!({ "Fn::Equals": [{ "Ref": "DeletionProtection" }, "true"] });
    assert_eq!(template.section("Conditions")["DataProtected"], is_asked_for);
}

#[test]
fn secrets_key_rotates_and_is_not_deleted_by_mistake() {
    let template = Template::read();
    assert_eq!(template.properties("SecretsKey")["EnableKeyRotation"], true);
    assert_eq!(template.properties("SecretsKey")["PendingWindowInDays"], 30, "the longest time to change one's mind");
    assert_eq!(template.resource("SecretsKey")["UpdateReplacePolicy"], "Retain", "nothing else decrypts the secrets");
    // An alias could be pointed at another key, so the roles name the key itself.
    assert!(template.of_type("AWS::KMS::Alias").is_empty());
}
