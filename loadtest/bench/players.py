#!/usr/bin/python3
"""loadtest/bench/players.py - thousands of realistic listeners (loadtest/players) in front of Segue.

They ask as real clients do, compare every byte, and count stalls and errors; prints the table of the personas, the
server's CPU per request and how much of what was heard the origin had to send. `--server HOST:PORT` takes a server
that runs already (in front of loadtest/origin). `--record` writes JSON and plot to loadtest/results/.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report  # noqa: E402


def command(options, server, found):
    words = [options.build / "loadtest/players", server, "--listeners", options.listeners, "--json", found]
    words += ["--seconds", options.seconds, "--accelerate", options.accelerate, "--tracks", options.tracks]
    words += ["--seed", options.seed]
    if options.persona:
        words += ["--persona", options.persona]
    return ["taskset", "-c", str(processes.LOAD_CORE), *map(str, words)]


def run_in_front_of_segue(options, folder, found):
    """The exit code of the listeners."""
    with processes.start_origin(options.build, delay_us=options.origin_delay_us) as origin:
        more = ["--cache", folder, "--cache-size", options.drive, "--sparse"] if options.drive else []
        port, url = processes.free_ports(1)[0], f"http://127.0.0.1:{origin.port}"
        with processes.start_segue(options.build, port, [url], options.ram, more=more) as segue:
            before = segue.cpu_seconds()
            code = subprocess.run(command(options, f"127.0.0.1:{port}", found), check=False).returncode
            cpu = segue.cpu_seconds() - before
            asked, numbers = http.counts(origin.port), http.metrics(segue.admin_port)
    heard = json.loads(found.read_text())["all"]
    print(
        f"Segue: {cpu:.1f} s of CPU, {cpu / max(heard['requests'], 1) * 1e6:.0f} us per request; the origin sent "
        f"{asked['bytes'] / 1e6:.0f} MB in {asked['requests']} requests for {heard['bytes'] / 1e6:.0f} MB heard"
    )
    refused = sum(value for name, value in numbers.items() if name.startswith("segue_origin_fetches_refused_total"))
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--listeners", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--accelerate", type=float, default=2, help="media seconds in one second")
    parser.add_argument("--tracks", type=int, default=1000)
    parser.add_argument("--persona", help="only this one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ram", default="2GiB")
    parser.add_argument("--drive", default="8GiB", help="size of the cache on disk; '' for none")
    parser.add_argument("--origin-delay-us", type=int, default=30_000)
    parser.add_argument("--server", help="HOST:PORT of a server that runs already")
    parser.add_argument("--record", action="store_true", help="write loadtest/results/")
    options = parser.parse_args()
    facts = report.machine()
    print(report.machine_line(facts))
    with tempfile.TemporaryDirectory(prefix="players-", dir=ROOT / "build") as name:
        folder = pathlib.Path(name)
        found = folder / "players.json"
        if options.server:
            code = subprocess.run(command(options, options.server, found), check=False).returncode
        else:
            (folder / "cache").mkdir()
            code = run_in_front_of_segue(options, folder / "cache", found)
        result = json.loads(found.read_text())
    if options.record:
        base = report.RESULTS / f"players-{facts['date'].split()[0]}"
        chosen = {key: value for key, value in vars(options).items() if isinstance(value, (int, float, str))}
        report.write_json(base.with_suffix(".json"), facts, {"options": chosen, "result": result})
        report.plot(plot_script(result), base.with_suffix(".svg"))
    sys.exit(code)


if __name__ == "__main__":
    main()
