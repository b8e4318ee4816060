"""Looks into a dead-letter queue, and moves its messages back, mended where they have to be.

    redrive.py look DEAD_LETTER_QUEUE_URL FOLDER         says what is wrong with each message, and writes its body to
                                                         FOLDER/<message id>.json, to be mended there
    redrive.py move DEAD_LETTER_QUEUE_URL QUEUE_URL FOLDER
                                                         sends each message whose file is in FOLDER to the queue, as the
                                                         file has it now, and deletes it from the dead-letter queue

Remove the file of a message that is to stay where it is. Nothing is deleted before it was sent, and sending twice does no
harm: the ledger knows what was delivered. Needs boto3, and what it finds credentials and region by; with
AWS_ENDPOINT_URL it works on a local cloud.
"""

import pathlib
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

# How long a message that was received stays hidden: from others while it is moved, from ourselves while all are looked at.
HIDDEN_SECONDS = 60


def messages(sqs, queue):
    """Every message of a queue, each hidden from then on for a while."""
    while True:
        received = sqs.receive_message(
            QueueUrl=queue,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["MessageGroupId", "ApproximateReceiveCount"],
            VisibilityTimeout=HIDDEN_SECONDS,
            # Asks all of SQS's servers, so that an empty answer means an empty queue.
            WaitTimeSeconds=1,
        )
        if not received.get("Messages"):
            return
        yield from received["Messages"]


def put_back(sqs, queue, handles):
    for handle in handles:
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)


def look(queue: str, folder: str) -> None:
    sqs = boto3.client("sqs")
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    handles = []
    try:
        for message in messages(sqs, queue):
            handles.append(message["ReceiptHandle"])
            attributes = message.get("MessageAttributes", {})
            said = {name: attributes[name]["StringValue"] for name in ("field", "error") if name in attributes}
            file = target / f"{message['MessageId']}.json"
            file.write_bytes(message["Body"].encode())
            print(file)
            print(f"    field: {said.get('field', 'none')}")
            print(f"    error: {said.get('error', 'none: its handling failed again and again by a fault of ours')}")
    finally:
        put_back(sqs, queue, handles)
    print(f"{len(handles)} messages")


def move(queue: str, to: str, folder: str) -> None:
    sqs = boto3.client("sqs")
    moved, stay = 0, []
    try:
        for message in messages(sqs, queue):
            file = pathlib.Path(folder) / f"{message['MessageId']}.json"
            if not file.exists():
                stay.append(message["ReceiptHandle"])
                continue
            body = file.read_bytes().decode()
            # What an editor adds is no part of the message.
            if body.endswith("\n") and not message["Body"].endswith("\n"):
                body = body.rstrip("\r\n")
            group = message.get("Attributes", {}).get("MessageGroupId")
            sqs.send_message(QueueUrl=to, MessageBody=body, **({"MessageGroupId": group} if group else {}))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            file.unlink()
            moved += 1
    finally:
        put_back(sqs, queue, stay)
    print(f"{moved} messages moved, {len(stay)} left where they were")


COMMANDS = {"look": (look, 2), "move": (move, 3)}

if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or ["help"]
    if command not in COMMANDS or len(arguments) != COMMANDS[command][1]:
        sys.exit(__doc__)
    try:
        COMMANDS[command][0](*arguments)
    except (OSError, ValueError, BotoCoreError, ClientError) as error:
        sys.exit(f"{command}: {error}")
