//! What the ledger, the queues and the log hold, all of it.

use std::collections::{HashMap, HashSet};

use aws::fault::Fault;
use aws_sdk_sqs::types::QueueAttributeName;
use domain::delivery::{DeliveryKey, Record, Status};
use harness::stack::StackError;
use serde_dynamo::aws_sdk_dynamodb_1::from_item;
use serde_json::Value;
use support::function::Function;

use crate::stage::{QUEUES, Stage, Trouble, aws};

/// How far the run has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) ended: usize,
    /// Deliveries that have not ended.
    pub(crate) under_way: usize,
    /// Messages in the queues that work comes by: visible, in a worker's hands, or held back.
    pub(crate) messages: usize,
}

impl Standing {
    /// Whether nothing is left that could lead to anything.
    pub(crate) fn is_settled(&self) -> bool {
        self.under_way == 0 && self.messages == 0
    }
}

impl Stage {
    /// # Errors
    /// [`Trouble`] when the local cloud does not answer.
    pub(crate) async fn standing(&self) -> Result<Standing, Trouble> {
        let mut standing = Standing { messages: self.messages().await?, ..Standing::default() };
        let scan = self
            .dynamodb
            .scan()
            .table_name(self.stack.output("DeliveriesTableName")?)
            .projection_expression("#status")
            .expression_attribute_names("#status", "status");
        let mut items = scan.into_paginator().items().send();
        while let Some(item) = items.next().await {
            let item = item.map_err(aws("Scan"))?;
            // A payload's own item has none.
            let Some(status) = item.get("status").and_then(|status| status.as_s().ok()) else { continue };
            if [Status::Sending.as_str(), Status::Waiting.as_str()].contains(&status.as_str()) {
                standing.under_way += 1;
            } else {
                standing.ended += 1;
            }
        }
        Ok(standing)
    }

    async fn messages(&self) -> Result<usize, Trouble> {
        let counts = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let mut messages = 0;
        for queue in QUEUES {
            let asked = self.sqs.get_queue_attributes().queue_url(self.stack.output(queue)?);
            let answer = asked.set_attribute_names(Some(counts.to_vec())).send().await;
            let attributes = answer.map_err(aws("GetQueueAttributes"))?.attributes.unwrap_or_default();
            messages += attributes.values().filter_map(|count| count.parse::<usize>().ok()).sum::<usize>();
        }
        Ok(messages)
    }

    /// Every delivery in the ledger.
    ///
    /// # Errors
    /// [`Trouble`] when the local cloud does not answer, or an item is broken.
    pub(crate) async fn records(&self) -> Result<HashMap<DeliveryKey, Record>, Trouble> {
        let scan = self.dynamodb.scan().table_name(self.stack.output("DeliveriesTableName")?);
        let mut items = scan.into_paginator().items().send();
        let mut records = HashMap::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(aws("Scan"))?;
            if item.contains_key("status") {
                let unreadable = |_| StackError::Fault(Fault::UnreadableItem { table: "deliveries" });
                let record: Record = from_item(item).map_err(unreadable)?;
                records.insert(record.identity.key(), record);
            }
        }
        Ok(records)
    }

    /// How many deliveries the log says have failed.
    ///
    /// # Errors
    /// [`Trouble`] when the local cloud does not answer.
    pub(crate) async fn announced(&self) -> Result<usize, Trouble> {
        let mut failed = HashSet::new();
        for function in [Function::Deliver, Function::Retry] {
            let lines = self.stack.log_lines(function).await?;
            let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let announced = lines.filter(|line| line["level"] == "ERROR" && line["status"] == "failed");
            failed.extend(announced.filter_map(|line| line["delivery_id"].as_str().map(str::to_owned)));
        }
        Ok(failed.len())
    }
}
