#!/usr/bin/python3
"""loadtest/bench/players.py - thousands of realistic listeners (loadtest/players) in front of Segue.

They ask as real clients do, compare every byte, and count stalls and errors; prints the table of the personas, the
server's CPU per request and how much of what was heard the origin had to send. `--server HOST:PORT` takes a server
that runs already (in front of loadtest/origin). `--record` writes JSON and plot to loadtest/results/.
"""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, processes, report  # noqa: E402


def command(options, server, found):
    words = [options.build / "loadtest/players", server, "--listeners", options.listeners, "--json", found]
    words += ["--seconds", options.seconds, "--accelerate", options.accelerate, "--tracks", options.tracks]
    words += ["--seed", options.seed]
    if options.persona:
        words += ["--persona", options.persona]
    return ["taskset", "-c", str(processes.LOAD_CORE), *map(str, words)]


def run_in_front_of_segue(run, found):
    """The exit code of the listeners."""
    options = run.options
    more = ["--cache", run.subfolder("cache"), "--cache-size", options.drive, "--sparse"] if options.drive else []
    origin = run.origin(delay_us=options.origin_delay_us)
    segue = run.segue(origin, options.ram, more=more)
    before = segue.cpu_seconds()
    code = subprocess.run(command(options, f"127.0.0.1:{segue.port}", found), check=False).returncode
    cpu = segue.cpu_seconds() - before
    asked = http.counts(origin.port)
    heard = json.loads(found.read_text())["all"]
    print(
        f"Segue: {cpu:.1f} s of CPU, {cpu / max(heard['requests'], 1) * 1e6:.0f} us per request; the origin sent "
        f"{asked['bytes'] / 1e6:.0f} MB in {asked['requests']} requests for {heard['bytes'] / 1e6:.0f} MB heard"
    )
    refused = http.total(segue.admin_port, "segue_origin_fetches_refused_total")
    if refused:
        print(f"note: {refused:.0f} fetches were refused, because so many ran at once")
    return code


def plot_script(result):
    """Share of requests (and of plays) whose wait was at most so long."""
    text, curves = "", []
    for name, title in (("first_byte", "first byte of a request"), ("first_64k", "first 64 KiB of a track")):
        histogram, seen = result["all"][name], 0
        text += f"${name} << END\n"
        for lower, count in histogram["buckets"]:
            seen += count
            text += f"{max(lower, 1) / 1000} {100 * seen / histogram['count']:.4f}\n"
        text += "END\n"
        curves.append(f"${name} using 1:2 with steps lw 2 title '{title}'")
    return text + (
        "set title 'What listeners wait for'\nset logscale x\nset xlabel 'milliseconds'\nset ylabel '% within'\n"
        "set yrange [0:100]\nset grid\nset key bottom right\nplot " + ", ".join(curves) + "\n"
    )


def main():
    options = bench.options(
        __doc__,
        listeners=2000,
        seconds=30,
        accelerate=(2.0, "media seconds in one second"),
        tracks=1000,
        persona=(None, "only this one"),
        seed=1,
        ram="2GiB",
        drive=("8GiB", "size of the cache on disk; '' for none"),
        origin_delay_us=30_000,
        server=(None, "HOST:PORT of a server that runs already"),
        record=(False, "write loadtest/results/"),
    )
    with bench.Bench(options, on_disk=True) as run:
        found = run.folder / "players.json"
        if options.server:
            code = subprocess.run(command(options, options.server, found), check=False).returncode
        else:
            code = run_in_front_of_segue(run, found)
        result = json.loads(found.read_text())
    if options.record:
        base = report.RESULTS / f"players-{run.facts['date'].split()[0]}"
        chosen = {key: value for key, value in vars(options).items() if isinstance(value, (int, float, str))}
        report.write_json(base.with_suffix(".json"), run.facts, {"options": chosen, "result": result})
        report.plot(plot_script(result), base.with_suffix(".svg"))
    sys.exit(code)


if __name__ == "__main__":
    main()
