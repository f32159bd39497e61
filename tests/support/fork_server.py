"""Runs commands for tests, each in a process of its own, without importing everything anew each time.

This process imports hanaper once and forks for each order, a JSON line on standard input; the answer is the line of
the exit status. What runs in the fork is what the console script runs, with its own arguments, environment, folder
and files, and the interpreter ends as it always does.
"""

import gc
import json
import os
import signal
import sys

from hanaper.cli.main import main

if __name__ == "__main__":
    gc.freeze()  # So that a fork shares this memory instead of copying it.
    # Unbuffered: a fork must not take along what is meant for this process.
    with open(0, "rb", buffering=0, closefd=False) as orders:
        for line in orders:
            order = json.loads(line)
            child = os.fork()
            if child == 0:
                os.chdir(order["folder"])
                os.environ.clear()
                os.environ.update(order["environment"])
                for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
                    os.dup2(os.open(order["files"][number], flags), number)
                sys.argv = ["hanaper", *order["arguments"]]
                signal.alarm(order["seconds"])
                main()
            _, status = os.waitpid(child, 0)
            os.write(1, b"%d\n" % os.waitstatus_to_exitcode(status))
