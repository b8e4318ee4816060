"""Uses the stack that `make local` runs: sends alerts, shows the ledger, dead letters and logs.

    by_hand.py send FILE      sends an alert event, such as events/alert-triggered.json, with the current time
    by_hand.py ledger         prints every delivery with its attempts
    by_hand.py dead-letters   prints the messages in the dead-letter queues, with what is wrong with each
    by_hand.py logs           prints what the functions logged
    by_hand.py token          prints a bearer token for the API, for organization 1

It finds the stack by the environment variables that `make local` prints.
"""

import json
import os
import re
import sys
from datetime import datetime, timezone

import boto3
from botocore.exceptions import BotoCoreError

STACK = "local"

# A user of the local stack's own user pool, so these are no secrets.
USER = "user-of-1@example.com"
PASSWORD = "Correct-Horse-9-Battery"


def output(name: str) -> str:
    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return next(it["OutputValue"] for it in stack["Outputs"] if it["OutputKey"] == name)


def send(file: str) -> None:
    """Sets the timestamp, without which the same file sent twice would be one delivery."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with open(file, encoding="utf-8") as alert:
        body = re.sub(r'("timestamp"\s*:\s*)"[^"]*"', rf'\g<1>"{now}"', alert.read(), count=1)
    boto3.client("sqs").send_message(QueueUrl=output("AlertsQueueUrl"), MessageBody=body)
    print(f"sent to AlertsQueue with the timestamp {now}")


def ledger() -> None:
    table = boto3.resource("dynamodb").Table(output("DeliveriesTableName"))
    for item in sorted(table.scan()["Items"], key=lambda it: it["delivery_id"]):
        if "status" not in item:
            continue  # the item of a large payload
        print(f"{item['delivery_id']}  {item['integration_id']}  {item['event_type']:<18}  {item['status']}")
        for attempt in item.get("attempts", []):
            answer = attempt.get("status_code") or attempt["outcome"]
            print(f"    attempt {attempt['number']}: {answer}  {attempt.get('error', {}).get('message', '')}")


def dead_letters() -> None:
    sqs = boto3.client("sqs")
    for queue in ("AlertsDeadLetterQueueUrl", "RetryDeadLetterQueueUrl"):
        # They stay in the queue, visible to everybody else.
        received = sqs.receive_message(
            QueueUrl=output(queue), MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
        )
        for message in received.get("Messages", []):
            attributes = {name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()}
            print(f"{queue.removesuffix('Url')}: {json.dumps(attributes)}\n    {message['Body']}")


def logs() -> None:
    client = boto3.client("logs")
    for function in ("deliver", "retry", "sweep", "api"):
        for page in client.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{STACK}-{function}"):
            lines = [line for event in page["events"] for line in event["message"].splitlines()]
            for line in lines:
                if line.startswith("{"):  # the function's; the others are the platform's
                    print(f"{function}: {line}")


def token() -> None:
    """Signs in the user whom `make local` creates; the token is valid for 15 minutes."""
    signed_in = boto3.client("cognito-idp").admin_initiate_auth(
        UserPoolId=output("UserPoolId"),
        ClientId=output("UserPoolClientId"),
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": USER, "PASSWORD": PASSWORD},
    )
    print(signed_in["AuthenticationResult"]["IdToken"])


COMMANDS = {"send": send, "ledger": ledger, "dead-letters": dead_letters, "logs": logs, "token": token}

if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or ["help"]
    if command not in COMMANDS or len(arguments) != (command == "send"):
        sys.exit(__doc__)
    if "AWS_ENDPOINT_URL" not in os.environ:
        sys.exit("AWS_ENDPOINT_URL is not set: start `make local` and run the `export` command that it prints.")
    try:
        COMMANDS[command](*arguments)
    except (OSError, BotoCoreError) as error:
        sys.exit(f"{command}: {error}")
