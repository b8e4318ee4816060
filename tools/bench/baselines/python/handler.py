"""The first attempt of every delivery, the usual way: boto3, requests and AWS Powertools. A baseline for `make bench` only.

It does what `deliver` does on the healthy path: find the integrations of the alert event's organization, sign, send, put
the next attempt on the retry queue when the endpoint refuses, and remember the delivery so that a second copy of the
message is not sent twice. What makes a sender safe it has not: no ledger of attempts, no address checks, no bulkhead. Nor
does it send the headers that an integration may have of its own.

Where there is a choice that costs nothing in readability, it is the one that makes this baseline faster: one DynamoDB
client for everything, plain clients instead of boto3's resources, one keep-alive session.
"""

import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import boto3
import requests
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.dynamodb.types import TypeDeserializer

INTEGRATIONS_TABLE = os.environ["INTEGRATIONS_TABLE"]
DELIVERIES_TABLE = os.environ["DELIVERIES_TABLE"]
RETRY_QUEUE_URL = os.environ["RETRY_QUEUE_URL"]

REQUEST_TIMEOUT_SECONDS = 30
FIRST_RETRY_SECONDS = 60
# As long as a queue keeps a message: until then a second copy may come.
REMEMBERED_SECONDS = 14 * 24 * 60 * 60

logger = Logger(service="webhooks")
dynamodb = boto3.client("dynamodb")
sqs = boto3.client("sqs")
kms = boto3.client("kms")
session = requests.Session()
deserialize = TypeDeserializer().deserialize

# Powertools' record of a delivery needs one key; in a table with two it is the sort key, and the partition key is the same
# for all. On AWS that partition would be the limit, at 1,000 writes a second.
persistence = DynamoDBPersistenceLayer(
    table_name=DELIVERIES_TABLE,
    key_attr="integration_id",
    sort_key_attr="delivery_id",
    expiry_attr="expires_at",
    boto3_client=dynamodb,
)
idempotency = IdempotencyConfig(event_key_jmespath="delivery_id", expires_after_seconds=REMEMBERED_SECONDS)

# Sends the records of a batch one after another: that is what Powertools' guide starts with and what most functions use.
# Ten slow endpoints in one batch add up.
processor = BatchProcessor(event_type=EventType.SQS)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    idempotency.register_lambda_context(context)
    return process_partial_response(event=event, record_handler=handle_alert, processor=processor, context=context)


def handle_alert(record: SQSRecord) -> None:
    body = record.body.encode()
    alert = json.loads(body)
    for integration in integrations_of(alert["organization"]["id"]):
        if wants(integration, alert):
            delivery = {
                "organization_id": int(integration["organization_id"]),
                "integration_id": integration["integration_id"],
                "delivery_id": delivery_id(integration["integration_id"], body),
            }
            deliver(delivery=delivery, integration=integration, event_type=alert["event_type"], body=body)


def integrations_of(organization_id: int) -> Iterator[dict[str, Any]]:
    pages = dynamodb.get_paginator("query").paginate(
        TableName=INTEGRATIONS_TABLE,
        KeyConditionExpression="organization_id = :organization AND begins_with(integration_id, :prefix)",
        ExpressionAttributeValues={":organization": {"N": str(organization_id)}, ":prefix": {"S": "int_"}},
        ConsistentRead=True,
    )
    for page in pages:
        for item in page["Items"]:
            yield {name: deserialize(value) for name, value in item.items()}


def wants(integration: dict[str, Any], alert: dict[str, Any]) -> bool:
    """An empty filter lets everything through."""

    def allows(name: str, value: Any) -> bool:
        return not integration.get(name) or value in integration[name]

    return (
        integration["enabled"]
        and "deleted_at" not in integration
        and allows("event_types", alert["event_type"])
        and allows("severities", alert["alert"]["severity"])
        and allows("project_ids", alert["project"]["id"])
    )


def delivery_id(integration_id: str, body: bytes) -> str:
    """The same for every copy of the message."""
    return "dlv_" + hashlib.sha256(integration_id.encode() + body).hexdigest()[:32]


@idempotent_function(
    data_keyword_argument="delivery", config=idempotency, persistence_store=persistence, key_prefix="deliver"
)
def deliver(delivery: dict[str, Any], integration: dict[str, Any], event_type: str, body: bytes) -> dict[str, Any]:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Roboticks-Webhooks/python",
        "X-Roboticks-Event": event_type,
        "X-Roboticks-Delivery": delivery["delivery_id"],
        "X-Roboticks-Attempt": "1",
    }
    if "secrets" in integration:
        secret = signing_secret(
            delivery["organization_id"],
            delivery["integration_id"],
            int(integration["version"]),
            bytes(integration["secrets"]["data_key"]),
        )
        headers["X-Roboticks-Signature"] = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()

    started = time.monotonic()
    status, error = send(integration["method"], integration["url"], headers, body)
    outcome = {"status_code": status, "error": error}
    duration_ms = round((time.monotonic() - started) * 1000)
    if status is not None and 200 <= status < 300:
        logger.info("delivered", attempt=1, duration_ms=duration_ms, **delivery, **outcome)
    else:
        # Ids only: a payload does not travel through a second queue.
        message = json.dumps({**delivery, "attempt": 2})
        sqs.send_message(QueueUrl=RETRY_QUEUE_URL, MessageBody=message, DelaySeconds=FIRST_RETRY_SECONDS)
        logger.warning("not delivered, will retry", attempt=1, duration_ms=duration_ms, **delivery, **outcome)
    return outcome


def send(method: str, url: str, headers: dict[str, str], body: bytes) -> tuple[int | None, str | None]:
    try:
        response = session.request(
            method, url, data=body, headers=headers, timeout=REQUEST_TIMEOUT_SECONDS, allow_redirects=False
        )
    except requests.RequestException as error:
        return None, type(error).__name__
    return response.status_code, None


# The usual sender has its secret encrypted by KMS itself, not by a data key. So here what `data_key` opens to is used as the
# signing secret; the call is the same, and so is how often it is made: once for each version of an integration.
@lru_cache(maxsize=1_000)
def signing_secret(organization_id: int, integration_id: str, version: int, encrypted: bytes) -> bytes:
    context = {"organization_id": str(organization_id), "integration_id": integration_id}
    return kms.decrypt(CiphertextBlob=encrypted, EncryptionContext=context)["Plaintext"]
