#!/usr/bin/python3
"""loadtest/bench/peers.py - the same range requests against Segue and its peers, and the floor, in one run.

Every server: one worker on core 0, all of the catalogue cached and in memory, access log off (loadtest/peers/servers.py
has the settings); wrk with the same request sequence on core 1. Rounds are interleaved, figures are medians. CPU is
user+system of all threads and child processes over the requests answered. On a shared machine judge the ratios.

`--record` writes table, plot and figures to loadtest/results/ and puts the table into README.md.
"""
import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report, wrk  # noqa: E402
from peers import servers as peers  # noqa: E402

SIZES = [4096, 65536, 262144, 1048576]
TARGETS = {4096: 1.15, 65536: 1.15, 262144: 1.15, 1048576: 1.05}  # Segue's CPU over the floor's
FILE_SERVER = "nginx-file"  # no cache: it stands in the table, but not among the caching peers
FIGURES = ("cpu_us", "rps", "p50_us", "p99_us")


def say_size(size):
    return f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"


def starters(options, folder, origin):
    ram = options.tracks * options.track_bytes * 2
    files = folder / "files"
    subprocess.run(
        [options.build / "loadtest/origin", "--write", files, str(options.tracks), str(options.track_bytes)], check=True
    )
    segue_port = processes.free_ports(1)[0]
    return {
        "segue": lambda: processes.start_segue(
            options.build, segue_port, [f"http://127.0.0.1:{origin}"], f"{(ram >> 20) + 256}MiB"
        ),
        "nginx-slice": lambda: peers.nginx_slice(folder / "nginx-slice", origin),
        "nginx-cache": lambda: peers.nginx_cache(folder / "nginx-cache", origin),
        "varnish": lambda: peers.varnish(folder / "varnish", origin, ram),
        "traffic-server": lambda: peers.traffic_server(folder / "traffic-server", origin, ram),
        FILE_SERVER: lambda: peers.nginx_file(folder / FILE_SERVER, files),
    }


def warm(server, options):
    """Every byte of every track once or twice: after that nothing goes to the origin."""
    client = http.Client(server.port)
    for _ in range(2):
        for number in range(options.tracks):
            answer = client.get(f"/t/{number}")
            if answer.status != 200 or len(answer.body) != options.track_bytes:
                raise processes.Unavailable(f"{server.name} answers {answer.status}, {len(answer.body)} bytes")
    answer = client.get("/t/0", "1000-66535")
    client.close()
    if answer.status != 206 or len(answer.body) != 65536:
        raise processes.Unavailable(f"{server.name} answers a range with {answer.status}, {len(answer.body)} bytes")
    return answer


def start_all(options, folder, origin, running):
    head_bytes = 0
    for name, start in starters(options, folder, origin.port).items():
        if options.only and name not in options.only:
            continue
        try:
            server = start()
            running.append(server)
            answer = warm(server, options)
            if name == "segue":
                head_bytes = len(answer.head) + 4
        except processes.Unavailable as why:
            if name == "segue":
                raise SystemExit(f"peers: {why}") from why
            print(f"{name} skipped: {why}", flush=True)
            running[:] = [one for one in running if one.name != name]
    # The same memory, the same sequence, as many bytes of head as Segue sends.
    running.insert(0, processes.start_floor(options.build, options.tracks, options.track_bytes, head_bytes))


def run_rounds(options, servers, origin):
    samples = {(server.name, size): [] for server in servers for size in options.sizes}
    before = http.counts(origin.port)["requests"]
    for number in range(options.rounds):
        for size in options.sizes:
            shift = number % len(servers)  # nobody is always first
            for server in servers[shift:] + servers[:shift]:
                environment = {"TRACKS": options.tracks, "TRACK_BYTES": options.track_bytes}
                environment |= {"RANGE_BYTES": size, "SEED": number + 1}
                sample = wrk.measure(server, "ranges", options.seconds, options.connections, environment)
                samples[server.name, size].append(sample)
        print(f"round {number + 1} of {options.rounds} done", flush=True)
    fetched = http.counts(origin.port)["requests"] - before
    if fetched > 0:
        print(f"note: {fetched} requests went to the origin during the rounds: somebody missed")
    return samples


def summarise(options, servers, samples):
    result = {}
    for size in options.sizes:
        floors = [sample["cpu_us"] for sample in samples["floor", size]]
        for server in servers:
            mine = samples[server.name, size]
            entry = {figure: statistics.median(sample[figure] for sample in mine) for figure in FIGURES}
            entry["ratio"] = statistics.median(s["cpu_us"] / f for s, f in zip(mine, floors))
            result.setdefault(server.name, {})[size] = entry
    return result


def table(options, result):
    header = ["server"] + [f"{say_size(size)}: CPU us (x floor), requests/s, p50/p99 ms" for size in options.sizes]
    rows = []
    for name, by_size in result.items():
        cells = [name]
        for entry in by_size.values():
            cells.append(
                f"{entry['cpu_us']:.1f} ({entry['ratio']:.2f}x), {entry['rps']:.0f}, "
                f"{entry['p50_us'] / 1e3:.2f}/{entry['p99_us'] / 1e3:.2f}"
            )
        rows.append(cells)
    return report.markdown(header, rows)


def judge(options, result):
    met = True
    for size in options.sizes:
        mine = result["segue"][size]["ratio"]
        met &= report.verdict(f"{say_size(size)} range, CPU over the floor", mine, TARGETS.get(size, 1.15), "x")
        rivals = [name for name in result if name not in ("floor", "segue", FILE_SERVER)]
        if rivals:
            best = min(rivals, key=lambda name: result[name][size]["ratio"])
            text = f"{say_size(size)} range, CPU against the best caching peer ({best})"
            met &= report.verdict(text, mine, result[best][size]["ratio"], "x")
    return met


def plot_script(options, result):
    names = [name for name in result if name != "floor"]
    data = "$figures << END\nserver " + " ".join(f'"{say_size(size)}"' for size in options.sizes) + "\n"
    for name in names:
        data += f'"{name}" ' + " ".join(f"{result[name][size]['ratio']:.3f}" for size in options.sizes) + "\n"
    return data + (
        "END\nset title 'Server CPU per range request from memory, over the floor (1 = epoll + read + writev)'\n"
        "set style data histogram\nset style histogram clustered gap 1\nset style fill solid 0.8 border -1\n"
        "set yrange [0:*]\nset grid ytics\nset key top left\n"
        "set arrow from graph 0,first 1 to graph 1,first 1 nohead dt 2\n"
        f"plot for [i=2:{len(options.sizes) + 1}] $figures using i:xtic(1) title columnheader(i)\n"
    )


def record(options, facts, result, text):
    day = facts["date"].split()[0]
    base = report.RESULTS / f"peers-{day}"
    report.write_json(base.with_suffix(".json"), facts, {"options": vars_of(options), "figures": result})
    drawn = report.plot(plot_script(options, result), base.with_suffix(".svg"))
    line = f"Measured {report.machine_line(facts)}; {options.rounds} rounds of {options.seconds} s, medians."
    picture = f"\n\n![CPU per request over the floor](loadtest/results/{base.name}.svg)" if drawn else ""
    base.with_suffix(".md").write_text(f"# Segue and its peers\n{line}\n\n{text}\n")
    report.put_between_marks(ROOT / "README.md", "peers", f"{line}\n\n{text}{picture}")


def vars_of(options):
    return {name: value for name, value in vars(options).items() if isinstance(value, (int, str, list))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--tracks", type=int, default=100)
    parser.add_argument("--track-bytes", type=int, default=4 << 20)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=2, help="of one round of one server and size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--only", nargs="*", help="these servers (segue and the floor have to be among them)")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s, 20 tracks: to try it")
    parser.add_argument("--record", action="store_true", help="write loadtest/results/ and README.md")
    options = parser.parse_args()
    if options.quick:
        options.tracks, options.seconds, options.rounds = 20, 1, 1
    facts = report.machine()
    running = []
    with tempfile.TemporaryDirectory(prefix="segue-peers-") as name:
        with processes.start_origin(options.build, options.track_bytes) as origin:
            try:
                start_all(options, pathlib.Path(name), origin, running)
                samples = run_rounds(options, running, origin)
            finally:
                for server in running:
                    server.stop()
    result = summarise(options, running, samples)
    text = table(options, result)
    print(report.machine_line(facts) + "\n" + text)
    met = judge(options, result)
    if options.record:
        record(options, facts, result, text)
    sys.exit(0 if met or options.quick else 1)


if __name__ == "__main__":
    main()
