"""A process that has read everything once and runs the command in copies of itself.

It takes orders as lines of JSON and answers each with one: a copy costs milliseconds, a new process
seconds.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np

import facility_coverage as fc
from facility_coverage.__main__ import main

warnings.simplefilter("ignore")


def run(arguments, log, *, most_bytes=None, end=None, after=0.0):
    """Run the command in a copy, ended by a signal after some seconds; give how it ended."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        code = 99
        try:
            code = main(arguments)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if end is not None:
        timer = threading.Timer(after, os.kill, (child, end))
        timer.start()
    _, status = os.waitpid(child, 0)
    if end is not None:
        timer.cancel()
    return {"code": os.waitstatus_to_exitcode(status), "said": Path(log).read_text("utf-8")}


def warm(arguments, log):
    """Run the command here, so that copies have all its modules; give how it ended."""
    with Path(log).open("w") as said, redirect_stdout(said), redirect_stderr(said):
        code = main(arguments)
    return {"code": code, "said": Path(log).read_text("utf-8")}


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def assessed(folder):
    county = fc.read_county(Path(folder) / "county.toml")
    plan = fc.load_plan(county.plan)
    units = fc.read_units(county.units)
    facilities = fc.read_facilities(county.facilities, units=units)
    roads = fc.read_roads(county.roads)
    return units, facilities, roads, plan


def soak(folder, times):
    """Assess again and again; give the memory in use before and after, and the seconds."""
    units, facilities, roads, plan = assessed(folder)
    access = fc.travel_times(units, facilities, roads, plan)
    for _ in range(10):
        fc.assess(units, facilities, access, plan)
    start, clock = resident(), time.perf_counter()
    for _ in range(times):
        fc.assess(units, facilities, access, plan)
    return {"before": start, "after": resident(), "seconds": time.perf_counter() - clock}


def together(folder, threads):
    """Search one network that nobody has searched from many threads at once, and alone."""
    units, facilities, roads, plan = assessed(folder)
    fresh = fc.read_roads(fc.read_county(Path(folder) / "county.toml").roads)

    def minutes(network):
        table = fc.travel_times(units, facilities, network, plan).table
        return table.select_dtypes("number").to_numpy(dtype=float)

    gate = threading.Barrier(threads)

    def at_once(_):
        gate.wait()
        return minutes(fresh)

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(at_once, range(threads)))
    alone = minutes(roads)
    return {"same": [bool(np.array_equal(alone, one, equal_nan=True)) for one in found]}


def serve():
    orders = {"run": run, "warm": warm, "soak": soak, "together": together}
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(orders[order.pop("what")](**order)), flush=True)


if __name__ == "__main__":
    serve()
