"""SQS's StartMessageMoveTask and ListMessageMoveTasks, which ministack 1.5.33 lacks. They redrive a dead-letter queue.

They behave as AWS documents, with three exceptions: a task has already completed when the call returns, it cannot be
cancelled, and the caller needs no permissions on the two queues beyond those for the call itself.
"""

import base64
import json
import time

from ministack.services import sqs

# All tasks, oldest first.
TASKS = []
# AWS lists at most the last ten.
MAX_RESULTS = 10


def start(data, _url):
    source_arn, destination_arn = data.get("SourceArn", ""), data.get("DestinationArn")
    source = existing(source_arn, "SourceArn")
    if not is_dead_letter_queue(source_arn):
        raise sqs._Err("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
    destination = existing(destination_arn, "DestinationArn") if destination_arn else None
    task = {
        "Status": "COMPLETED",
        "SourceArn": source_arn,
        "StartedTimestamp": int(time.time() * 1000),
        "ApproximateNumberOfMessagesMoved": 0,
        **({"DestinationArn": destination_arn} if destination_arn else {}),
    }
    with sqs._queues_lock:
        due = [message for message in source["messages"] if message["visible_at"] <= time.time()]
        task["ApproximateNumberOfMessagesToMove"] = len(due)
        for message in due:
            target = destination or sqs._queue_by_arn(message["sys"].get("DeadLetterQueueSourceArn", ""))
            if target is None:
                # It was sent to the dead-letter queue directly, so there is no source to return it to.
                task |= {"Status": "FAILED", "FailureReason": "CouldNotDetermineMessageSource"}
                break
            move(message, source, target)
            task["ApproximateNumberOfMessagesMoved"] += 1
    sqs.esm_wake.set()
    TASKS.append(task)
    handle = json.dumps({"taskId": sqs.new_uuid(), "sourceArn": source_arn})
    return {"TaskHandle": base64.b64encode(handle.encode()).decode()}


def list_(data, _url):
    existing(data.get("SourceArn", ""), "SourceArn")
    tasks = [task for task in reversed(TASKS) if task["SourceArn"] == data["SourceArn"]]
    return {"Results": tasks[: min(int(data.get("MaxResults", 1)), MAX_RESULTS)]}


def existing(arn, parameter):
    queue = sqs._queue_by_arn(arn)
    if queue is None:
        message = f"The resource that you specified for the {parameter} parameter doesn't exist."
        raise sqs._Err("ResourceNotFoundException", message, 404)
    return queue


def is_dead_letter_queue(arn):
    policies = (queue["attributes"].get("RedrivePolicy") for _, queue in sqs._queues.all_items())
    return any(json.loads(policy)["deadLetterTargetArn"] == arn for policy in policies if policy)


def move(message, source, target):
    """Moving creates a new message with the old one's body, attributes and group."""
    now = time.time()
    new = {
        **message,
        "id": sqs.new_uuid(),
        "receipt_handle": None,
        "sent_at": now,
        "visible_at": now,
        "receive_count": 0,
        "first_receive_at": None,
        "sys": sqs._build_send_sys_attrs(now, {}),
    }
    target["messages"].append(new)
    source["messages"] = [other for other in source["messages"] if other is not message]
