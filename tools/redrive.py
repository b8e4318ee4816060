"""Lists the messages of a dead-letter queue, and moves them back, after you have edited those that need it.

    redrive.py look DEAD_LETTER_QUEUE_URL FOLDER         prints what is wrong with each message, and writes its body to
                                                         FOLDER/<message id>.json, where you can edit it
    redrive.py move DEAD_LETTER_QUEUE_URL QUEUE_URL FOLDER
                                                         sends the contents of each message's file in FOLDER to the
                                                         queue, and deletes the message from the dead-letter queue

To leave a message in the dead-letter queue, remove its file. A message is deleted only once it was sent, and sending it
twice does no harm, because the ledger knows what was delivered. A very large queue takes several runs; the last line
then says so. Needs boto3, with credentials and a region. With AWS_ENDPOINT_URL it works on a local cloud.
"""

import json
import pathlib
import sys
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

# How long a received message stays hidden: from other consumers, and from this program while it receives the rest.
HIDDEN_SECONDS = 900

# Receiving ends before the first message reappears, so that none is seen twice and every receipt handle is still valid.
RECEIVING_SECONDS = HIDDEN_SECONDS - 120

# The most messages in one SQS request.
BATCH = 10


class Received:
    """The messages of a queue, each once. They stay hidden for HIDDEN_SECONDS after they were received."""

    def __init__(self, sqs, queue):
        self.sqs, self.queue = sqs, queue
        self.receipts = {}
        self.is_all = False

    def __iter__(self):
        started = time.monotonic()
        while time.monotonic() - started < RECEIVING_SECONDS:
            response = self.sqs.receive_message(
                QueueUrl=self.queue,
                MaxNumberOfMessages=BATCH,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["MessageGroupId"],
                VisibilityTimeout=HIDDEN_SECONDS,
                # Long polling asks all of SQS's servers, so an empty response means an empty queue.
                WaitTimeSeconds=1,
            )
            if not response.get("Messages"):
                self.is_all = True
                return
            for message in response["Messages"]:
                # SQS may deliver a message twice; only the newer receipt handle is valid.
                is_known = message["MessageId"] in self.receipts
                self.receipts[message["MessageId"]] = message["ReceiptHandle"]
                if not is_known:
                    yield message

    def delete(self, message_id):
        self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=self.receipts.pop(message_id))

    def put_back(self):
        """Makes every message visible again that was not deleted. Where a receipt handle has expired, it already is."""
        receipts = list(self.receipts.values())
        for start in range(0, len(receipts), BATCH):
            entries = [
                {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for index, receipt in enumerate(receipts[start : start + BATCH])
            ]
            # Entries that could not be changed are listed in the response; they do not make the call fail.
            self.sqs.change_message_visibility_batch(QueueUrl=self.queue, Entries=entries)


def count_messages(count):
    return f"{count} message{'' if count == 1 else 's'}"


def group_of(message, body):
    """The group to send a message in, so that the queue stays fair between customers. A message without one gets the
    organization's id, as its sender would have set it."""
    group = message.get("Attributes", {}).get("MessageGroupId")
    if group:
        return group
    try:
        content = json.loads(body)
        return str(content.get("organization_id") or content["organization"]["id"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def look(queue: str, folder: str) -> int:
    received = Received(boto3.client("sqs"), queue)
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    try:
        for message in received:
            attributes = message.get("MessageAttributes", {})
            reasons = {name: attributes[name]["StringValue"] for name in ("field", "error") if name in attributes}
            file = target / f"{message['MessageId']}.json"
            file.write_bytes(message["Body"].encode())
            print(file)
            print(f"    field: {reasons.get('field', 'none')}")
            print(f"    error: {reasons.get('error', 'none: processing it kept failing because of our own failures')}")
    finally:
        received.put_back()
    rest = "" if received.is_all else ", and there are more: move these first"
    print(count_messages(len(received.receipts)) + rest)
    return 0


def move(queue: str, to: str, folder: str) -> int:
    sqs = boto3.client("sqs")
    received = Received(sqs, queue)
    moved, failed = 0, 0
    files = {file.stem: file for file in pathlib.Path(folder).glob("*.json")}
    try:
        for message in received:
            file = files.pop(message["MessageId"], None)
            if file is None:
                continue
            try:
                body = file.read_bytes().decode()
                # A newline that an editor added at the end is not part of the message.
                if body.endswith("\n") and not message["Body"].endswith("\n"):
                    body = body.rstrip("\r\n")
                group = group_of(message, body)
                sqs.send_message(QueueUrl=to, MessageBody=body, **({"MessageGroupId": group} if group else {}))
                received.delete(message["MessageId"])
            except (OSError, ValueError, ClientError) as error:
                print(f"{file}: {error}", file=sys.stderr)
                failed += 1
                continue
            file.unlink()
            moved += 1
    finally:
        received.put_back()
    rest = "" if received.is_all else ", and there are more: run this again"
    print(f"{count_messages(moved)} moved, {len(received.receipts)} left where they were{rest}")
    for name in sorted(files) if received.is_all else []:
        print(f"{files[name]}: there is no such message in the queue", file=sys.stderr)
    return 1 if failed else 0


COMMANDS = {"look": (look, 2), "move": (move, 3)}

if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or ["help"]
    if command not in COMMANDS or len(arguments) != COMMANDS[command][1]:
        sys.exit(__doc__)
    try:
        sys.exit(COMMANDS[command][0](*arguments))
    except (OSError, ValueError, BotoCoreError, ClientError) as error:
        sys.exit(f"{command}: {error}")
