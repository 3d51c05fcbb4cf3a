"""`python -m stockcast_assets.web.follower MODULE ARGUMENT…`: run a module until the process that started it is gone.

Its standard input is a pipe that nobody writes to: that it ends tells that whoever held the other end has ended, even
if it was killed and could tell nobody.
"""

import os
import runpy
import signal
import sys
import threading


def _follow() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_follow, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
