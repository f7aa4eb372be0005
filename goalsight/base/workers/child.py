"""What runs in a job's own process; see `process`."""

import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

from goalsight.base.errors import UserError, in_one_line
from goalsight.base.interruption import interrupting
from goalsight.base.workers.job import call


def main() -> None:
    """Read a job from standard input, do it, and write what came of it to what was standard output."""
    asked = json.loads(_first_line(0))
    sys.argv = asked["argv"]  # the command that results are put down to
    answer = os.dup(1)
    os.dup2(2, 1)  # what the job prints is not the answer
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    with interrupting():
        came = _do(asked)
    os.write(answer, json.dumps(came).encode())


def _first_line(handle: int) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (part := os.read(handle, 1 << 16)):
        line += part
    return line


def _leave_with_the_parent() -> None:
    os.read(0, 1)  # ends when the parent does, and nothing more is written
    os.kill(os.getpid(), signal.SIGTERM)


def _do(asked: dict[str, Any]) -> dict[str, Any]:
    """The result of a job, or one line that says why there is none; the whole story goes to its log."""
    job = asked["job"]
    try:
        if job["log"] is not None:
            log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(log, 1)
            os.dup2(log, 2)
        for function, arguments in asked["first"]:
            call(function, arguments)
        return {"result": call(job["function"], job["arguments"])}
    except KeyboardInterrupt:
        return {"error": "interrupted"}
    except UserError as error:
        print(error)
        return {"error": " ".join(str(error).split())}
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        return {"error": in_one_line(error)}


if __name__ == "__main__":
    main()
