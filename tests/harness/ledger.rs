//! The ledger: what became of each delivery, and states that a worker which died would have left in it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use domain::alert::event::AlertEvent;
use domain::delivery::{DeliveryKey, Record, Status};
use domain::ids::DeliveryId;
use domain::integration::Integration;
use jiff::Timestamp;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, from_items};

use crate::operator::POLL_INTERVAL;
use crate::stack::Stack;

/// Reading it.
impl Stack {
    /// The delivery that an alert event becomes for an integration.
    ///
    /// # Errors
    /// When the body is not an alert event.
    pub fn delivery(&self, integration: &Integration, body: &str) -> anyhow::Result<DeliveryKey> {
        let event = AlertEvent::parse(body)?;
        let delivery_id = DeliveryId::of_alert(event.organization_id, integration.id, event.timestamp, body.as_bytes());
        Ok(DeliveryKey { integration_id: integration.id, delivery_id })
    }

    /// A delivery's record, if there is one.
    pub async fn record(&self, key: DeliveryKey) -> anyhow::Result<Option<Record>> {
        Ok(self.deliveries.find(key).await?.map(|record| *record))
    }

    /// Waits until a delivery's record fulfils a condition, which `wanted` says in words.
    ///
    /// # Errors
    /// After `within`, with the last record seen.
    pub async fn record_when(
        &self,
        key: DeliveryKey,
        within: Duration,
        wanted: &str,
        is_so: impl Fn(&Record) -> bool,
    ) -> anyhow::Result<Record> {
        let started = Instant::now();
        loop {
            let record = self.record(key).await?;
            if let Some(record) = record.as_ref().filter(|record| is_so(record)) {
                return Ok(record.clone());
            }
            if started.elapsed() > within {
                let seen = record.as_ref().map_or_else(|| "no such delivery".to_owned(), describe);
                let (seconds, id) = (within.as_secs(), key.delivery_id);
                bail!("not within {seconds} s: {wanted} ({id}). Last seen: {seen}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until a delivery has that status.
    ///
    /// # Errors
    /// After `within`, with the last record seen.
    pub async fn record_with_status(
        &self,
        key: DeliveryKey,
        status: Status,
        within: Duration,
    ) -> anyhow::Result<Record> {
        self.record_when(key, within, &format!("a delivery that is {status}"), |record| record.status == status).await
    }

    /// The records of an integration's deliveries.
    pub async fn records_of(&self, integration: &Integration) -> anyhow::Result<Vec<Record>> {
        let query = self
            .dynamodb
            .query()
            .table_name(self.output("DeliveriesTableName")?)
            .key_condition_expression("integration_id = :integration AND begins_with(delivery_id, :prefix)")
            .expression_attribute_values(":integration", AttributeValue::S(integration.id.to_string()))
            .expression_attribute_values(":prefix", AttributeValue::S("dlv_".to_owned()))
            .consistent_read(true);
        let items = query.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        Ok(from_items(items.context("Query")?)?)
    }

    /// The records of all deliveries, of every organization.
    pub async fn all_records(&self) -> anyhow::Result<Vec<Record>> {
        let scan = self.dynamodb.scan().table_name(self.output("DeliveriesTableName")?);
        let mut items = scan.into_paginator().items().send();
        let mut records = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.context("Scan")?;
            // Payloads that have an item of their own have no status.
            if item.contains_key("status") {
                records.push(from_item(item)?);
            }
        }
        Ok(records)
    }

    /// How many deliveries have each status.
    pub async fn count_by_status(&self) -> anyhow::Result<HashMap<String, usize>> {
        let scan = self.dynamodb.scan().table_name(self.output("DeliveriesTableName")?);
        let scan = scan.projection_expression("#status").expression_attribute_names("#status", "status");
        let mut items = scan.into_paginator().items().send();
        let mut counts = HashMap::new();
        while let Some(item) = items.next().await {
            if let Some(AttributeValue::S(status)) = item.context("Scan")?.remove("status") {
                *counts.entry(status).or_default() += 1;
            }
        }
        Ok(counts)
    }
}

/// Writing into it, past the functions.
impl Stack {
    /// Writes a record, as a worker that died right after it would have.
    pub async fn put_record(&self, record: Record) -> anyhow::Result<()> {
        Ok(self.deliveries.create(Box::new(record)).await.map(drop)?)
    }

    /// Sets when a waiting delivery is due. The message or execution that it waits for stays as it is.
    pub async fn set_due_at(&self, key: DeliveryKey, due_at: Timestamp) -> anyhow::Result<()> {
        let due_at = AttributeValue::N(due_at.as_millisecond().to_string());
        self.update_record(key, "SET due_at = :due_at", Some((":due_at".to_owned(), due_at))).await
    }

    /// Removes an attribute from a delivery's item that no record can be read without.
    pub async fn make_unreadable(&self, key: DeliveryKey) -> anyhow::Result<()> {
        self.update_record(key, "REMOVE attempt", None).await
    }

    /// Deletes a delivery's item.
    pub async fn delete_record(&self, key: DeliveryKey) -> anyhow::Result<()> {
        let delete = self.dynamodb.delete_item().table_name(self.output("DeliveriesTableName")?);
        delete.set_key(Some(item_key(key))).send().await.context("DeleteItem")?;
        Ok(())
    }

    async fn update_record(
        &self,
        key: DeliveryKey,
        expression: &str,
        values: Option<(String, AttributeValue)>,
    ) -> anyhow::Result<()> {
        let update = self.dynamodb.update_item().table_name(self.output("DeliveriesTableName")?);
        let update = update.set_key(Some(item_key(key))).update_expression(expression);
        let values = values.map(|value| HashMap::from([value]));
        update.set_expression_attribute_values(values).send().await.context("UpdateItem")?;
        Ok(())
    }
}

fn item_key(key: DeliveryKey) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("integration_id".to_owned(), AttributeValue::S(key.integration_id.to_string())),
        ("delivery_id".to_owned(), AttributeValue::S(key.delivery_id.to_string())),
    ])
}

/// A record in one line, for whoever reads a failed test: its status, and how each attempt ended.
pub fn describe(record: &Record) -> String {
    let attempts = record.attempts.iter().map(|attempt| {
        let status = attempt.status_code.map(|status| format!(" {status}")).unwrap_or_default();
        let error = attempt.error.as_ref().map(|error| format!(" {}", error.code)).unwrap_or_default();
        format!("{}: {}{status}{error}", attempt.number, attempt.outcome)
    });
    let attempts: Vec<_> = attempts.collect();
    let due = record.due_at.map(|due_at| format!(", due at {due_at}")).unwrap_or_default();
    format!("{} in attempt {}{due} [{}]", record.status, record.attempt, attempts.join(", "))
}
