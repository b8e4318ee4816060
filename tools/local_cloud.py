"""Starts the local cloud (ministack) so that it runs the template as it is and never outlives its starter.

    .tools/cloud/bin/python tools/local_cloud.py [--until-stdin-closes] [--also-at ADDRESS]

Ministack reads its settings from the environment; the functions inherit all of it, so start this with a clean one.
With --until-stdin-closes it ends when the other end of its standard input is gone, however that came about, and takes
the functions' processes with it. It then leads a process group of its own, so that nothing else is ended with them.
With --also-at it listens on that address of this machine too, such as the one at which containers reach it.
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
from ministack.core.responses import error_response_json, json_response
from ministack.services import cloudwatch_logs, cognito, dynamodb, lambda_svc, sqs
from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS as RESOURCES


def whole_number_concurrency(decide):
    """A parameter's value arrives as text; AWS makes a number of it, ministack 1.5.33 compares it with one and fails."""

    def decide_with_number(esm, *rest):
        scaling = esm.get("ScalingConfig") or {}
        if isinstance(scaling.get("MaximumConcurrency"), str):
            scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
        return decide(esm, *rest)

    return decide_with_number


def writable_attributes_only(update):
    """A user may write what the client's WriteAttributes name; ministack 1.5.33 lets a user write everything."""

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
    """Nobody signs up to a pool whose users only administrators create; ministack 1.5.33 lets anyone."""

    def sign_up_if_open(data):
        pool, _ = cognito._pool_for_client(data.get("ClientId"))
        if pool and str(pool["AdminCreateUserConfig"].get("AllowAdminCreateUserOnly")).lower() == "true":
            return error_response_json("NotAuthorizedException", "SignUp is not permitted for this user pool", 400)
        return sign_up(data)

    return sign_up_if_open


def every_log_event(filter_events):
    """AWS gives the rest of many events by `nextToken`; ministack 1.5.33 gives ten thousand, and no token. Here all come at
    once: asked for again from the last millisecond on, until there are no more."""

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


def refused_while_protected(delete, is_protected, sentence):
    """A table or a user pool under deletion protection is not deleted; ministack 1.5.33 deletes it with its stack."""

    def delete_unless_protected(physical_id, properties):
        if is_protected(physical_id):
            raise ValueError(sentence)
        return delete(physical_id, properties)

    return delete_unless_protected


def issuer_has_to_be_there(create):
    """API Gateway reads an issuer's discovery document when an authorizer is made; ministack 1.5.33 takes any. Here none is
    looked up, but for names that cannot exist (RFC 6761)."""

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
    # The whole group at once: a function in the middle of a request would otherwise finish it first.
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    # Searching the whole heap for garbage stops everybody for up to a quarter of a second, which `make isolation` saw as
    # the functions' own delay. There is next to none: young objects are searched often, the whole heap hardly ever.
    gc.set_threshold(2_000, 50, 100)
    lambda_svc._sqs_esm_concurrency = whole_number_concurrency(lambda_svc._sqs_esm_concurrency)
    cognito._update_user_attributes = writable_attributes_only(cognito._update_user_attributes)
    cloudwatch_logs._filter_log_events = every_log_event(cloudwatch_logs._filter_log_events)
    cognito._sign_up = sign_up_only_where_open(cognito._sign_up)
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
    # Ministack's own arguments, of which there are none.
    del sys.argv[1:]
    if chosen.also_at:
        hypercorn.asyncio.serve = serving_also_at(chosen.also_at, hypercorn.asyncio.serve)
    if chosen.until_stdin_closes:
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        threading.Thread(target=end_with_stdin, daemon=True).start()
    app.main()
