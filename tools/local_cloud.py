"""Starts the local cloud (ministack) so that it runs the template as it is and never outlives its starter.

    .tools/cloud/bin/python tools/local_cloud.py [--until-stdin-closes]

Ministack reads its settings from the environment; the functions inherit all of it, so start this with a clean one.
With --until-stdin-closes it ends when the other end of its standard input is gone, however that came about, and takes
the functions' processes with it. It then leads a process group of its own, so that nothing else is ended with them.
"""

import os
import signal
import sys
import threading

from ministack import app
from ministack.services import lambda_svc


def whole_number_concurrency(decide):
    """A parameter's value arrives as text; AWS makes a number of it, ministack 1.5.33 compares it with one and fails."""

    def decide_with_number(esm, *rest):
        scaling = esm.get("ScalingConfig") or {}
        if isinstance(scaling.get("MaximumConcurrency"), str):
            scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
        return decide(esm, *rest)

    return decide_with_number


def end_with_stdin():
    # The whole group at once: a function in the middle of a request would otherwise finish it first.
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    lambda_svc._sqs_esm_concurrency = whole_number_concurrency(lambda_svc._sqs_esm_concurrency)
    if "--until-stdin-closes" in sys.argv[1:]:
        sys.argv.remove("--until-stdin-closes")
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        threading.Thread(target=end_with_stdin, daemon=True).start()
    app.main()
