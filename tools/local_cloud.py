"""Starts the local cloud (ministack), and corrects what it does differently from AWS, so that the template suits both.

    .tools/cloud/bin/python tools/local_cloud.py [--until-stdin-closes] [--also-at ADDRESS]

Ministack reads its settings from the environment. The functions inherit it, so start this with a clean one.
With --until-stdin-closes it ends when its standard input is closed, so that it never outlives the process that started
it, and kills the functions' processes too. It leads a process group of its own for that.
With --also-at it also listens on that address of this machine, for instance the one at which containers reach it.
"""

import argparse
import gc
import json
import os
import signal
import sys
import threading

import hypercorn.asyncio
import move_tasks
from ministack import app
from ministack.core import iam_actions
from ministack.core.responses import error_response_json, json_response
from ministack.services import cloudwatch_logs, cognito, dynamodb, lambda_svc, sqs
from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS as RESOURCES


def whole_number_concurrency(decide):
    """AWS converts a parameter's text to a number. ministack 1.5.33 fails, because it compares the text with one."""

    def decide_with_number(esm, *rest):
        scaling = esm.get("ScalingConfig") or {}
        if isinstance(scaling.get("MaximumConcurrency"), str):
            scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
        return decide(esm, *rest)

    return decide_with_number


def batches_authorized_as_single_calls(extract):
    """On AWS, a batch needs the permission for the single call: `sqs:SendMessage` covers SendMessageBatch. ministack
    1.5.33 checks an action named after the batch call, which IAM does not have."""

    def extract_as_documented(service, *rest):
        action = extract(service, *rest)
        return action.removesuffix("Batch") if action and service == "sqs" else action

    return extract_as_documented


def writable_attributes_only(update):
    """On AWS, users can only write the client's WriteAttributes. ministack 1.5.33 lets them write all attributes."""

    def update_writable(data):
        claims = cognito._token_claims(data.get("AccessToken"))
        pool, _ = cognito._pool_for_client(claims.get("client_id"))
        client = pool["_clients"][claims["client_id"]] if pool else {}
        writable = client.get("WriteAttributes")
        if writable and any(attribute.get("Name") not in writable for attribute in data.get("UserAttributes", [])):
            message = "A client attempted to write unauthorized attribute"
            return error_response_json("NotAuthorizedException", message, 400)
        return update(data)

    return update_writable


def sign_up_only_where_open(sign_up):
    """On AWS, nobody can sign up if only administrators create users. ministack 1.5.33 lets anyone sign up."""

    def sign_up_if_open(data):
        pool, _ = cognito._pool_for_client(data.get("ClientId"))
        if pool and str(pool["AdminCreateUserConfig"].get("AllowAdminCreateUserOnly")).lower() == "true":
            return error_response_json("NotAuthorizedException", "SignUp is not permitted for this user pool", 400)
        return sign_up(data)

    return sign_up_if_open


def every_log_event(filter_events):
    """AWS returns log events in pages, with a `nextToken`. ministack 1.5.33 returns the first ten thousand and no
    token. This returns all events at once: it asks again from the last millisecond on, until there are no more."""

    def filter_every_event(data):
        if "limit" in data:
            return filter_events(data)
        events, start = [], data.get("startTime")
        while True:
            response = filter_events({**data, **({} if start is None else {"startTime": start})})
            if response[0] != 200:
                return response
            page = json.loads(response[2])["events"]
            last = page[-1]["timestamp"] if page else None
            if len(page) < 10_000 or last == page[0]["timestamp"]:
                return json_response({"events": events + page, "searchedLogStreams": []})
            events += [event for event in page if event["timestamp"] < last]
            start = last

    return filter_every_event


def refused_while_protected(delete, is_protected, message):
    """On AWS, deletion protection keeps a table or user pool. ministack 1.5.33 deletes it with its stack."""

    def delete_unless_protected(physical_id, properties):
        if is_protected(physical_id):
            raise ValueError(message)
        return delete(physical_id, properties)

    return delete_unless_protected


def read_units_by_size(read):
    """On AWS, a read costs a unit for each 4 KB, or half a unit if it is eventually consistent. ministack 1.5.33 reports
    one unit for a query of any size, and nothing for a batch."""

    def units(items, request):
        return sum(items) * (1 if request.get("ConsistentRead") else 0.5)

    def blocks(size):
        return max(1, -(-size // 4096))

    def read_and_count(data):
        response = read(data)
        if response[0] != 200 or data.get("ReturnConsumedCapacity") != "TOTAL":
            return response
        answer = json.loads(response[2])
        size = dynamodb._item_size_bytes
        if "Items" in answer:
            used = units([blocks(sum(map(size, answer["Items"])))], data)
            answer["ConsumedCapacity"] = {"TableName": data["TableName"], "CapacityUnits": used}
        else:
            answer["ConsumedCapacity"] = [
                {"TableName": table, "CapacityUnits": units([blocks(size(item)) for item in found], request)}
                for table, request in data["RequestItems"].items()
                for found in [answer["Responses"].get(table, [])]
            ]
        return json_response(answer)

    return read_and_count


def issuer_has_to_be_there(create):
    """On AWS, an authorizer is only created if its issuer has a discovery document. ministack 1.5.33 accepts any
    issuer. This does not fetch documents, but refuses hosts that cannot exist (`.invalid`, RFC 6761)."""

    def create_with_issuer(logical_id, properties, stack_name):
        issuer = properties.get("JwtConfiguration", {}).get("Issuer", "")
        if issuer.rstrip("/").endswith(".invalid"):
            document = "/.well-known/openid-configuration"
            raise ValueError(
                f"Invalid issuer: {issuer}. Issuer must have a valid discovery endpoint ended with '{document}'"
            )
        return create(logical_id, properties, stack_name)

    return create_with_issuer


def serving_also_at(address, serve):
    def serve_there_too(application, config):
        port = config.bind[0].rpartition(":")[2]
        config.bind.append(f"{address}:{port}")
        return serve(application, config)

    return serve_there_too


def end_with_stdin():
    # Kills the whole group, because a function would otherwise finish the request that it is making.
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    # A full garbage collection takes up to a quarter of a second, which would count as the functions' own delay. There
    # is hardly any old garbage, so full collections can be rare.
    gc.set_threshold(2_000, 50, 100)
    lambda_svc._sqs_esm_concurrency = whole_number_concurrency(lambda_svc._sqs_esm_concurrency)
    iam_actions.extract_iam_action = batches_authorized_as_single_calls(iam_actions.extract_iam_action)
    cognito._update_user_attributes = writable_attributes_only(cognito._update_user_attributes)
    cloudwatch_logs._filter_log_events = every_log_event(cloudwatch_logs._filter_log_events)
    cognito._sign_up = sign_up_only_where_open(cognito._sign_up)
    dynamodb._query = read_units_by_size(dynamodb._query)
    dynamodb._batch_get_item = read_units_by_size(dynamodb._batch_get_item)
    sqs._HANDLERS["StartMessageMoveTask"] = move_tasks.start
    sqs._HANDLERS["ListMessageMoveTasks"] = move_tasks.list_
    tables, pools = RESOURCES["AWS::DynamoDB::Table"], RESOURCES["AWS::Cognito::UserPool"]
    tables["delete"] = refused_while_protected(
        tables["delete"],
        lambda name: dynamodb._tables.get(name, {}).get("DeletionProtectionEnabled"),
        "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
    )
    pools["delete"] = refused_while_protected(
        pools["delete"],
        lambda pool: cognito._user_pools.get(pool, {}).get("DeletionProtection") == "ACTIVE",
        "The user pool cannot be deleted because deletion protection is activated. Deactivate it first.",
    )
    authorizers = RESOURCES["AWS::ApiGatewayV2::Authorizer"]
    authorizers["create"] = issuer_has_to_be_there(authorizers["create"])
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--until-stdin-closes", action="store_true")
    arguments.add_argument("--also-at")
    chosen = arguments.parse_args()
    # Ministack would parse these too.
    del sys.argv[1:]
    if chosen.also_at:
        hypercorn.asyncio.serve = serving_also_at(chosen.also_at, hypercorn.asyncio.serve)
    if chosen.until_stdin_closes:
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        threading.Thread(target=end_with_stdin, daemon=True).start()
    app.main()
