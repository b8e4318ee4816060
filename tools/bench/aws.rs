//! AWS on loopback, as far as the functions call it: answers at once or after a set latency, keeps the ledger, and
//! counts every call with its capacity units. It decides nothing that AWS would not; an unknown call or expression
//! fails the run.

mod capacity;
mod expression;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::ids::DeliveryId;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use md5::{Digest, Md5};
use serde::Serialize;
use serde_json::{Value, json};
use support::template::Template;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::server::serve;
use capacity::{Consistency, Index, read_units, write_units};
use expression::{Placeholders, apply_update, evaluate};

pub use capacity::{Item, size_of};

/// The calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Calls {
    pub count: u64,
    pub write_units: u64,
    pub read_units: f64,
}

/// The calls since they were last taken, by operation; DynamoDB's with the table, as in `PutItem DeliveriesTable`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tally(pub BTreeMap<String, Calls>);

impl Tally {
    /// The calls of an operation.
    pub fn of(&self, operation: &str) -> Calls {
        self.0.get(operation).copied().unwrap_or_default()
    }

    pub fn write_units(&self) -> u64 {
        self.0.values().map(|calls| calls.write_units).sum()
    }

    pub fn read_units(&self) -> f64 {
        self.0.values().map(|calls| calls.read_units).sum()
    }

    /// Adds what another tally counted.
    pub fn add(&mut self, other: &Self) {
        for (operation, calls) in &other.0 {
            let sum = self.0.entry(operation.clone()).or_default();
            sum.count += calls.count;
            sum.write_units += calls.write_units;
            sum.read_units += calls.read_units;
        }
    }

    fn count(&mut self, operation: &str) -> &mut Calls {
        let calls = self.0.entry(operation.to_owned()).or_default();
        calls.count += 1;
        calls
    }
}

/// Where a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// With `SendMessage` or `SendMessageBatch`, to the queue whose URL ends with that logical id.
    Queue(Queue),
    /// By an execution of the state machine, which sends it to the retry queue in the end.
    LongWait,
}

/// A queue that the functions send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Retry,
    SlowLane,
    DeadLetters,
}

/// A message that a function sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub to: Destination,
    pub body: String,
    /// Its `MessageGroupId`, or what the execution sends it with.
    pub group: Option<String>,
    /// How long its queue holds it back. What waits says its time itself, and it is not looked at here.
    pub delay: Duration,
}

struct Table {
    partition_key: String,
    sort_key: String,
    indexes: Vec<Index>,
    items: BTreeMap<(String, String), Item>,
}

/// What of AWS fails: by answering 500, unless it says otherwise. SQS and Step Functions always work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    None,
    /// All of DynamoDB and KMS.
    Tables,
    /// The same, by throttling.
    Throttles,
    /// Reading the payloads that have items of their own.
    Payloads,
}

struct State {
    /// Of every call.
    latency: Duration,
    outage: Outage,
    tables: BTreeMap<String, Table>,
    data_key: Vec<u8>,
    tally: Tally,
    sent: Vec<Sent>,
    /// What the visibility of messages that were given back was changed to.
    visibility_timeouts: Vec<Duration>,
    /// The first call that this module does not implement.
    unsupported: Option<String>,
}

/// What the endpoint's connections share.
struct Shared {
    state: Mutex<State>,
    /// A message was sent.
    sent: Notify,
}

impl Shared {
    fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The endpoint. Stops when dropped.
pub struct Aws {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// Why a call was refused.
enum CallError {
    Failed,
    ConditionFailed(Option<Item>),
    /// Of a transaction, with which of its writes were refused.
    Cancelled(Vec<bool>),
    Unknown(String),
}

impl From<anyhow::Error> for CallError {
    fn from(error: anyhow::Error) -> Self {
        Self::Unknown(error.to_string())
    }
}

impl Aws {
    /// Listens on a free port, with the template's tables, which are named by their logical ids. `data_key` is what KMS
    /// decrypts everything to.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(template: &Template, data_key: &[u8]) -> io::Result<Self> {
        let tables = template.of_type("AWS::DynamoDB::Table");
        let tables =
            tables.iter().map(|(name, resource)| ((*name).to_owned(), table(&resource["Properties"]))).collect();
        let state = State {
            latency: Duration::ZERO,
            outage: Outage::None,
            tables,
            data_key: data_key.to_vec(),
            tally: Tally::default(),
            sent: Vec::new(),
            visibility_timeouts: Vec::new(),
            unsupported: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), sent: Notify::new() });
        let served = Arc::clone(&shared);
        let (address, server) = serve(move |request| answer(Arc::clone(&served), request)).await?;
        Ok(Self { address, shared, server })
    }

    /// The URL that `AWS_ENDPOINT_URL` is set to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets how long every call takes from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.with(|state| state.latency = latency);
    }

    /// Sets what fails from now on.
    pub fn set_outage(&self, outage: Outage) {
        self.shared.with(|state| state.outage = outage);
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts an item into a table, uncounted.
    pub fn put(&self, table: &str, item: Item) {
        self.shared.with(|state| {
            let table = state.tables.get_mut(table).expect("the template has the table");
            let key = table.key(&item);
            table.items.insert(key, item);
        });
    }

    /// Removes all items of a table, uncounted.
    pub fn clear(&self, table: &str) {
        self.shared.with(|state| state.tables.get_mut(table).expect("the template has the table").items.clear());
    }

    /// A table's items.
    pub fn items(&self, table: &str) -> Vec<Item> {
        self.shared.with(|state| state.tables[table].items.values().cloned().collect())
    }

    /// The calls since they were last taken.
    ///
    /// # Errors
    /// For a call that is not implemented here.
    pub fn take_tally(&self) -> Result<Tally> {
        self.shared.with(|state| match state.unsupported.take() {
            Some(call) => bail!("an AWS call that the benchmark does not implement: {call}"),
            None => Ok(std::mem::take(&mut state.tally)),
        })
    }

    /// The messages that were sent since they were last taken.
    pub fn take_sent(&self) -> Vec<Sent> {
        self.shared.with(|state| std::mem::take(&mut state.sent))
    }

    /// The same, once there are some.
    pub async fn next_sent(&self) -> Vec<Sent> {
        loop {
            let sent = self.take_sent();
            if !sent.is_empty() {
                return sent;
            }
            self.shared.sent.notified().await;
        }
    }

    /// For how long each message that was given back is hidden, since they were last taken.
    pub fn take_visibility_timeouts(&self) -> Vec<Duration> {
        self.shared.with(|state| std::mem::take(&mut state.visibility_timeouts))
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn table(properties: &Value) -> Table {
    let [partition_key, sort_key] = keys(properties);
    let indexes = properties["GlobalSecondaryIndexes"].as_array().into_iter().flatten();
    let indexes = indexes
        .map(|index| {
            let extra = index["Projection"]["NonKeyAttributes"].as_array().into_iter().flatten();
            let extra = extra.filter_map(Value::as_str).map(str::to_owned);
            let projected = [partition_key.clone(), sort_key.clone()].into_iter().chain(extra).collect();
            Index { keys: keys(index).to_vec(), projected }
        })
        .collect();
    Table { partition_key, sort_key, indexes, items: BTreeMap::new() }
}

fn keys(schema: &Value) -> [String; 2] {
    let key = |index: usize| schema["KeySchema"][index]["AttributeName"].as_str().unwrap_or_default().to_owned();
    [key(0), key(1)]
}

impl Table {
    fn key(&self, item: &Item) -> (String, String) {
        let text = |name: &str| item.get(name).map(Value::to_string).unwrap_or_default();
        (text(&self.partition_key), text(&self.sort_key))
    }

    fn write(&mut self, key: (String, String), after: Item) -> u64 {
        let units = write_units(self.items.get(&key), Some(&after), &self.indexes);
        self.items.insert(key, after);
        units
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let latency = shared.with(|state| state.latency);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let (status, answer) = shared.with(|state| state.answer(operation, &input));
    shared.sent.notify_one();
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    response.body(Full::from(answer.to_string())).expect("a status and a header make a response")
}

impl State {
    fn answer(&mut self, operation: &str, input: &Value) -> (u16, Value) {
        match self.call(operation, input) {
            Ok(answer) => (200, answer),
            Err(CallError::ConditionFailed(item)) => {
                let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
                let wanted = input["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
                let item = item.filter(|_| wanted);
                (400, json!({ "__type": kind, "message": "The conditional request failed", "Item": item }))
            }
            Err(CallError::Cancelled(refused)) => {
                let code = |refused| if refused { "ConditionalCheckFailed" } else { "None" };
                let reasons: Vec<_> = refused.into_iter().map(|refused| json!({ "Code": code(refused) })).collect();
                let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
                (400, json!({ "__type": kind, "message": "cancelled", "CancellationReasons": reasons }))
            }
            Err(CallError::Failed) if self.outage == Outage::Throttles => {
                (400, json!({ "__type": "ThrottlingException", "message": "on purpose" }))
            }
            Err(CallError::Failed) => (500, json!({ "__type": "InternalServerError", "message": "on purpose" })),
            Err(CallError::Unknown(what)) => {
                self.unsupported.get_or_insert(format!("{operation}: {what}"));
                (400, json!({ "__type": "UnknownOperationException", "message": what }))
            }
        }
    }

    fn call(&mut self, operation: &str, input: &Value) -> Result<Value, CallError> {
        if self.fails(operation, input) {
            self.tally.count(operation);
            return Err(CallError::Failed);
        }
        match operation {
            "Query" => self.query(input),
            "GetItem" => self.get(input),
            "PutItem" | "UpdateItem" => self.write(operation, input),
            "TransactWriteItems" => self.transact(input),
            "SendMessage" => {
                self.tally.count(operation);
                self.send(input, &input["QueueUrl"])?;
                Ok(json!({ "MessageId": "message", "MD5OfMessageBody": md5_of(input) }))
            }
            "SendMessageBatch" => {
                self.tally.count(operation);
                let entries = input["Entries"].as_array().cloned().unwrap_or_default();
                entries.iter().try_for_each(|entry| self.send(entry, &input["QueueUrl"]))?;
                let sent: Vec<_> = entries
                    .iter()
                    .map(
                        |entry| json!({ "Id": entry["Id"], "MessageId": "message", "MD5OfMessageBody": md5_of(entry) }),
                    )
                    .collect();
                Ok(json!({ "Successful": sent, "Failed": [] }))
            }
            "ChangeMessageVisibility" => {
                self.tally.count(operation);
                self.visibility_timeouts
                    .push(Duration::from_secs(input["VisibilityTimeout"].as_u64().unwrap_or_default()));
                Ok(json!({}))
            }
            "StartExecution" => {
                self.tally.count(operation);
                let input: Value =
                    input["input"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
                let message = input["message"].as_str().ok_or_else(|| CallError::Unknown("no message".to_owned()))?;
                let group = input["organization_id"].as_str().map(str::to_owned);
                self.sent.push(Sent {
                    to: Destination::LongWait,
                    body: message.to_owned(),
                    group,
                    delay: Duration::ZERO,
                });
                let arn = "arn:aws:states:us-east-1:000000000000:execution:LongWait:1";
                Ok(json!({ "executionArn": arn, "startDate": 1.0 }))
            }
            "Decrypt" => {
                self.tally.count(operation);
                Ok(json!({ "KeyId": "SecretsKey", "Plaintext": BASE64.encode(&self.data_key) }))
            }
            "GenerateDataKey" => {
                self.tally.count(operation);
                // As long as what KMS makes of a data key.
                let sealed = BASE64.encode([7; 184]);
                Ok(
                    json!({ "KeyId": "SecretsKey", "Plaintext": BASE64.encode(&self.data_key), "CiphertextBlob": sealed }),
                )
            }
            _ => Err(CallError::Unknown("the operation is not implemented".to_owned())),
        }
    }

    fn fails(&self, operation: &str, input: &Value) -> bool {
        match self.outage {
            Outage::None => false,
            Outage::Tables | Outage::Throttles => {
                ["Query", "GetItem", "PutItem", "UpdateItem", "Decrypt"].contains(&operation)
            }
            Outage::Payloads => {
                let sort_key = input["Key"]["delivery_id"]["S"].as_str();
                operation == "GetItem" && sort_key.is_some_and(|key| !key.starts_with(DeliveryId::PREFIX))
            }
        }
    }

    fn table(&mut self, input: &Value) -> Result<&mut Table, CallError> {
        let name = input["TableName"].as_str().unwrap_or_default();
        self.tables.get_mut(name).ok_or_else(|| CallError::Unknown(format!("no table {name}")))
    }

    fn query(&mut self, input: &Value) -> Result<Value, CallError> {
        let condition = input["KeyConditionExpression"].as_str().unwrap_or_default();
        let placeholders = placeholders(input);
        let table = self.table(input)?;
        let mut found = Vec::new();
        for item in table.items.values() {
            if evaluate(condition, item, placeholders)? {
                found.push(item.clone());
            }
        }
        let units = read_units(found.iter().map(size_of).sum(), consistency(input));
        self.tally.count(&of_table("Query", input)).read_units += units;
        Ok(json!({ "Count": found.len(), "ScannedCount": found.len(), "Items": found }))
    }

    fn get(&mut self, input: &Value) -> Result<Value, CallError> {
        let key = input["Key"].as_object().cloned().unwrap_or_default();
        let table = self.table(input)?;
        let item = table.items.get(&table.key(&key)).cloned();
        let units = read_units(item.as_ref().map_or(0, size_of), consistency(input));
        self.tally.count(&of_table("GetItem", input)).read_units += units;
        Ok(item.map_or(json!({}), |item| json!({ "Item": item })))
    }

    fn write(&mut self, operation: &str, input: &Value) -> Result<Value, CallError> {
        let placeholders = placeholders(input);
        let given = input["Item"].as_object().or(input["Key"].as_object()).cloned().unwrap_or_default();
        let table = self.table(input)?;
        let key = table.key(&given);
        let before = table.items.get(&key).cloned();
        let empty = Item::new();
        let met = match input["ConditionExpression"].as_str() {
            Some(condition) => evaluate(condition, before.as_ref().unwrap_or(&empty), placeholders)?,
            None => true,
        };
        if !met {
            // A refused write costs what the item that it found would cost to write.
            let units = write_units(before.as_ref(), before.as_ref(), &[]);
            self.tally.count(&of_table(operation, input)).write_units += units;
            return Err(CallError::ConditionFailed(before));
        }
        let after = match input["UpdateExpression"].as_str() {
            Some(update) => {
                let mut from = before.clone().unwrap_or_default();
                from.extend(given);
                apply_update(update, &from, placeholders)?
            }
            None => given,
        };
        let units = table.write(key, after.clone());
        self.tally.count(&of_table(operation, input)).write_units += units;
        Ok(match input["ReturnValues"].as_str() {
            Some("ALL_NEW") => json!({ "Attributes": after }),
            Some("ALL_OLD") => json!({ "Attributes": before }),
            _ => json!({}),
        })
    }

    /// All writes or none, at twice the units.
    fn transact(&mut self, input: &Value) -> Result<Value, CallError> {
        let writes = input["TransactItems"].as_array().cloned().unwrap_or_default();
        let writes: Vec<_> = writes.iter().filter_map(|write| write.as_object()?.values().next().cloned()).collect();
        let mut refused = Vec::new();
        for write in &writes {
            let given = write["Item"].as_object().or(write["Key"].as_object()).cloned().unwrap_or_default();
            let table = self.table(write)?;
            let before = table.items.get(&table.key(&given)).cloned().unwrap_or_default();
            let condition = write["ConditionExpression"].as_str();
            let met = condition.map(|condition| evaluate(condition, &before, placeholders(write))).transpose()?;
            refused.push(met == Some(false));
        }
        if refused.contains(&true) {
            self.tally.count("TransactWriteItems");
            return Err(CallError::Cancelled(refused));
        }
        for write in &writes {
            let name = of_table("TransactWriteItems", write);
            let units = self.tally.of(&name).write_units;
            self.write("TransactWriteItems", write)?;
            let calls = self.tally.0.entry(name).or_default();
            calls.write_units += calls.write_units - units;
        }
        Ok(json!({}))
    }

    fn send(&mut self, message: &Value, url: &Value) -> Result<(), CallError> {
        let queue = match url.as_str().and_then(|url| url.rsplit('/').next()) {
            Some("RetryQueue") => Queue::Retry,
            Some("SlowLaneQueue") => Queue::SlowLane,
            Some("AlertsDeadLetterQueue" | "RetryDeadLetterQueue") => Queue::DeadLetters,
            other => return Err(CallError::Unknown(format!("no queue {}", other.unwrap_or_default()))),
        };
        let body = message["MessageBody"].as_str().unwrap_or_default().to_owned();
        let delay = Duration::from_secs(message["DelaySeconds"].as_u64().unwrap_or_default());
        let group = message["MessageGroupId"].as_str().map(str::to_owned);
        self.sent.push(Sent { to: Destination::Queue(queue), body, group, delay });
        Ok(())
    }
}

/// Some SDKs compare it with their own.
fn md5_of(message: &Value) -> String {
    hex::encode(Md5::digest(message["MessageBody"].as_str().unwrap_or_default()))
}

fn placeholders(input: &Value) -> Placeholders<'_> {
    Placeholders {
        names: input["ExpressionAttributeNames"].as_object(),
        values: input["ExpressionAttributeValues"].as_object(),
    }
}

fn of_table(operation: &str, input: &Value) -> String {
    format!("{operation} {}", input["TableName"].as_str().unwrap_or_default())
}

fn consistency(input: &Value) -> Consistency {
    if input["ConsistentRead"] == true { Consistency::Strong } else { Consistency::Eventual }
}
