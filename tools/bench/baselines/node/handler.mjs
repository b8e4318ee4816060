// The first attempt of every delivery, the usual way: AWS SDK v3, fetch and AWS Powertools. A baseline for `make bench` only.
//
// It does what `deliver` does on the healthy path: find the integrations of the alert event's organization, sign, send, put
// the next attempt on the retry queue when the endpoint refuses, and remember the delivery so that a second copy of the
// message is not sent twice. What makes a sender safe it has not: no ledger of attempts, no address checks, no bulkhead. Nor
// does it send the headers that an integration may have of its own.

import { createHash, createHmac } from "node:crypto";

import { BatchProcessor, EventType, processPartialResponse } from "@aws-lambda-powertools/batch";
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
import { Logger } from "@aws-lambda-powertools/logger";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DecryptCommand, KMSClient } from "@aws-sdk/client-kms";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { DynamoDBDocumentClient, paginateQuery } from "@aws-sdk/lib-dynamodb";

const { INTEGRATIONS_TABLE, DELIVERIES_TABLE, RETRY_QUEUE_URL } = process.env;

const REQUEST_TIMEOUT_MS = 30_000;
const FIRST_RETRY_SECONDS = 60;
// As long as a queue keeps a message: until then a second copy may come.
const REMEMBERED_SECONDS = 14 * 24 * 60 * 60;

const logger = new Logger({ serviceName: "webhooks" });
const dynamodb = new DynamoDBClient();
const documents = DynamoDBDocumentClient.from(dynamodb);
const sqs = new SQSClient();
const kms = new KMSClient();

// Powertools' record of a delivery needs one key; in a table with two it is the sort key, and the partition key is the same
// for all. On AWS that partition would be the limit, at 1,000 writes a second.
const persistenceStore = new DynamoDBPersistenceLayer({
  tableName: DELIVERIES_TABLE,
  keyAttr: "integration_id",
  sortKeyAttr: "delivery_id",
  expiryAttr: "expires_at",
  awsSdkV3Client: dynamodb,
});
const idempotency = new IdempotencyConfig({ eventKeyJmesPath: "deliveryId", expiresAfterSeconds: REMEMBERED_SECONDS });

// Sends the records of a batch at the same time, as Powertools for TypeScript does unless told otherwise.
const processor = new BatchProcessor(EventType.SQS);

export async function handler(event, context) {
  logger.addContext(context);
  idempotency.registerLambdaContext(context);
  return processPartialResponse(event, handleAlert, processor, { context });
}

async function handleAlert({ body }) {
  const alert = JSON.parse(body);
  const integrations = await integrationsOf(alert.organization.id);
  const deliveries = integrations
    .filter((integration) => wants(integration, alert))
    .map((integration) => {
      const deliveryId = deliveryIdOf(integration.integration_id, body);
      return deliver({ deliveryId }, integration, alert.event_type, body);
    });
  // All of them come to their end before the message is given back: what was sent stays remembered.
  const failed = (await Promise.allSettled(deliveries)).find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
}

async function integrationsOf(organizationId) {
  const pages = paginateQuery(
    { client: documents },
    {
      TableName: INTEGRATIONS_TABLE,
      KeyConditionExpression: "organization_id = :organization AND begins_with(integration_id, :prefix)",
      ExpressionAttributeValues: { ":organization": organizationId, ":prefix": "int_" },
      ConsistentRead: true,
    },
  );
  const integrations = [];
  for await (const page of pages) integrations.push(...page.Items);
  return integrations;
}

function wants(integration, alert) {
  // An empty filter lets everything through.
  const allows = (list, value) => !list?.length || list.includes(value);
  return (
    integration.enabled &&
    integration.deleted_at === undefined &&
    allows(integration.event_types, alert.event_type) &&
    allows(integration.severities, alert.alert.severity) &&
    allows(integration.project_ids, alert.project.id)
  );
}

/** The same for every copy of the message. */
function deliveryIdOf(integrationId, body) {
  return `dlv_${createHash("sha256").update(integrationId).update(body).digest("hex").slice(0, 32)}`;
}

// The name in the key is given, because a bundle's functions lose theirs.
const deliver = makeIdempotent(attempt, { persistenceStore, config: idempotency, keyPrefix: "deliver" });

async function attempt({ deliveryId }, integration, eventType, body) {
  const ids = {
    organization_id: integration.organization_id,
    integration_id: integration.integration_id,
    delivery_id: deliveryId,
  };
  const headers = {
    "Content-Type": "application/json",
    "User-Agent": "Roboticks-Webhooks/node",
    "X-Roboticks-Event": eventType,
    "X-Roboticks-Delivery": deliveryId,
    "X-Roboticks-Attempt": "1",
  };
  if (integration.secrets) {
    const secret = await signingSecret(integration);
    headers["X-Roboticks-Signature"] = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
  }

  const started = performance.now();
  const outcome = await send(integration.method, integration.url, headers, body);
  const line = { attempt: 1, duration_ms: Math.round(performance.now() - started), ...ids, ...outcome };
  if (outcome.status_code >= 200 && outcome.status_code < 300) {
    logger.info("delivered", line);
  } else {
    // Ids only: a payload does not travel through a second queue.
    const message = JSON.stringify({ ...ids, attempt: 2 });
    await sqs.send(
      new SendMessageCommand({ QueueUrl: RETRY_QUEUE_URL, MessageBody: message, DelaySeconds: FIRST_RETRY_SECONDS }),
    );
    logger.warn("not delivered, will retry", line);
  }
  return outcome;
}

async function send(method, url, headers, body) {
  try {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const response = await fetch(url, { method, headers, body, redirect: "manual", signal });
    // Only a response that was read gives its connection back to the pool.
    await response.arrayBuffer();
    return { status_code: response.status, error: null };
  } catch (error) {
    return { status_code: null, error: error.cause?.code ?? error.name };
  }
}

// The usual sender has its secret encrypted by KMS itself, not by a data key. So here what `data_key` opens to is used as the
// signing secret; the call is the same, and so is how often it is made: once for each version of an integration. Promises are
// kept, not secrets, so that the records of one batch wait for the same call.
const secrets = new Map();

function signingSecret(integration) {
  const name = `${integration.integration_id}/${integration.version}`;
  if (!secrets.has(name)) {
    const opened = decrypt(integration);
    opened.catch(() => secrets.delete(name));
    secrets.set(name, opened);
  }
  return secrets.get(name);
}

async function decrypt({ organization_id, integration_id, secrets: { data_key } }) {
  const context = { organization_id: String(organization_id), integration_id };
  const answer = await kms.send(new DecryptCommand({ CiphertextBlob: data_key, EncryptionContext: context }));
  return answer.Plaintext;
}
