"""Looks into a dead-letter queue, and moves its messages back, mended where they have to be.

    redrive.py look DEAD_LETTER_QUEUE_URL FOLDER         says what is wrong with each message, and writes its body to
                                                         FOLDER/<message id>.json, to be mended there
    redrive.py move DEAD_LETTER_QUEUE_URL QUEUE_URL FOLDER
                                                         sends each message whose file is in FOLDER to the queue, as the
                                                         file has it now, and deletes it from the dead-letter queue

Remove the file of a message that is to stay where it is. Nothing is deleted before it was sent, and sending twice does no
harm: the ledger knows what was delivered. A very large queue is worked through in parts, and the last line says so. Needs
boto3, and what it finds credentials and region by; with AWS_ENDPOINT_URL it works on a local cloud.
"""

import json
import pathlib
import sys
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

# How long a message that was received stays hidden: from others while it is moved, from ourselves while all are looked at.
HIDDEN_SECONDS = 900

# Taking messages out ends before the first of them reappears: none is then met twice, and every receipt is good.
TAKING_SECONDS = HIDDEN_SECONDS - 120

# The most that SQS takes or gives at a time.
BATCH = 10


class Taken:
    """The messages of a queue, each once, and hidden from then on for a while."""

    def __init__(self, sqs, queue):
        self.sqs, self.queue = sqs, queue
        self.receipts = {}
        self.is_all = False

    def __iter__(self):
        started = time.monotonic()
        while time.monotonic() - started < TAKING_SECONDS:
            received = self.sqs.receive_message(
                QueueUrl=self.queue,
                MaxNumberOfMessages=BATCH,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["MessageGroupId"],
                VisibilityTimeout=HIDDEN_SECONDS,
                # Asks all of SQS's servers, so that an empty answer means an empty queue.
                WaitTimeSeconds=1,
            )
            if not received.get("Messages"):
                self.is_all = True
                return
            for message in received["Messages"]:
                # SQS may give a message twice; the newer receipt counts.
                is_known = message["MessageId"] in self.receipts
                self.receipts[message["MessageId"]] = message["ReceiptHandle"]
                if not is_known:
                    yield message

    def delete(self, message_id):
        self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=self.receipts.pop(message_id))

    def put_back(self):
        """Lets everybody see what was not deleted. A receipt that is no longer good is of a message that they see already."""
        receipts = list(self.receipts.values())
        for start in range(0, len(receipts), BATCH):
            entries = [
                {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for index, receipt in enumerate(receipts[start : start + BATCH])
            ]
            # Says in its answer which could not be changed, and does not fail for them.
            self.sqs.change_message_visibility_batch(QueueUrl=self.queue, Entries=entries)


def counted(count):
    return f"{count} message{'' if count == 1 else 's'}"


def group_of(message, body):
    """The message's group, so that one customer's messages go on taking turns with the others'. What a function has put
    here has none: then it is the organization, as its sender gives it."""
    group = message.get("Attributes", {}).get("MessageGroupId")
    if group:
        return group
    try:
        content = json.loads(body)
        return str(content.get("organization_id") or content["organization"]["id"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def look(queue: str, folder: str) -> int:
    taken = Taken(boto3.client("sqs"), queue)
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    try:
        for message in taken:
            attributes = message.get("MessageAttributes", {})
            said = {name: attributes[name]["StringValue"] for name in ("field", "error") if name in attributes}
            file = target / f"{message['MessageId']}.json"
            file.write_bytes(message["Body"].encode())
            print(file)
            print(f"    field: {said.get('field', 'none')}")
            print(f"    error: {said.get('error', 'none: its handling failed again and again by a fault of ours')}")
    finally:
        taken.put_back()
    print(counted(len(taken.receipts)) + ("" if taken.is_all else ", and there are more: move these first"))
    return 0


def move(queue: str, to: str, folder: str) -> int:
    sqs = boto3.client("sqs")
    taken = Taken(sqs, queue)
    moved, failed = 0, 0
    files = {file.stem: file for file in pathlib.Path(folder).glob("*.json")}
    try:
        for message in taken:
            file = files.pop(message["MessageId"], None)
            if file is None:
                continue
            try:
                body = file.read_bytes().decode()
                # What an editor adds is no part of the message.
                if body.endswith("\n") and not message["Body"].endswith("\n"):
                    body = body.rstrip("\r\n")
                group = group_of(message, body)
                sqs.send_message(QueueUrl=to, MessageBody=body, **({"MessageGroupId": group} if group else {}))
                taken.delete(message["MessageId"])
            except (OSError, ValueError, ClientError) as error:
                print(f"{file}: {error}", file=sys.stderr)
                failed += 1
                continue
            file.unlink()
            moved += 1
    finally:
        taken.put_back()
    rest = "" if taken.is_all else ", and there are more: do this again"
    print(f"{counted(moved)} moved, {len(taken.receipts)} left where they were{rest}")
    for name in sorted(files) if taken.is_all else []:
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
