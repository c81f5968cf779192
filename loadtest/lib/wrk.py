"""Runs wrk with one of loadtest/wrk's scripts against a server, and reads what it says."""
import os
import re
import subprocess
import sys

from lib.processes import LOAD_CORE, ROOT

SOCKET_ERRORS = r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)"
UNITS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}


def environment(options, range_bytes, seed, **more):
    """What the scripts read (loadtest/README.md), from a benchmark's options; `more` goes before them."""
    known = {name.upper(): getattr(options, name) for name in ("tracks", "track_bytes") if hasattr(options, name)}
    return known | {"RANGE_BYTES": range_bytes, "SEED": seed} | more


def run(
    port,
    script,
    seconds,
    connections,
    variables,
    core=LOAD_CORE,
    threads=1,
    errors_allowed=False,
    scheme="http",
):
    """{requests, rps, refused, socket_errors, p50_us, p99_us}; stops the program on errors, whose figures would be
    wrong, but where they are looked for."""
    command = ["taskset", "-c", str(core), "wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-s", ROOT / f"loadtest/wrk/{script}.lua", f"{scheme}://127.0.0.1:{port}"]
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    if not errors_allowed and re.search(r"Non-2xx|Socket errors", done.stdout):
        sys.exit(f"errors in a run of wrk:\n{done.stdout}")
    refused, cut = (re.search(found, done.stdout) for found in (r"Non-2xx or 3xx responses: (\d+)", SOCKET_ERRORS))
    requests, elapsed = re.search(r"(\d+) requests in ([\d.]+)s", done.stdout).groups()
    latency = {
        name: float(value) * UNITS[unit]
        for name, value, unit in re.findall(r"(50|99)% +([\d.]+)(us|ms|s|m)\b", done.stdout)
    }
    return {
        "requests": int(requests),
        "rps": int(requests) / float(elapsed),
        "refused": int(refused[1]) if refused else 0,
        "socket_errors": sum(map(int, cut.groups())) if cut else 0,
        "p50_us": latency["50"],
        "p99_us": latency["99"],
        "text": done.stdout,
    }


def measure(server, script, seconds, connections, variables, **more):
    """The same, with the server's CPU per request in microseconds."""
    before = server.cpu_seconds()
    figures = run(server.port, script, seconds, connections, variables, **more)
    figures["cpu_us"] = (server.cpu_seconds() - before) / max(figures["requests"], 1) * 1e6
    return figures


def ranges(server, size, seed, options, scheme="http", errors_allowed=False, **more):
    """One round of bounded ranges of `size`."""
    variables = environment(options, size, seed, **more)
    return measure(
        server, "ranges", options.seconds, options.connections, variables, scheme=scheme, errors_allowed=errors_allowed
    )
