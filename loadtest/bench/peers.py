#!/usr/bin/python3
"""loadtest/bench/peers.py - the same range requests against Segue and its peers, and the floor, in one run.

Every server: one worker on core 0, all of the catalogue cached and in memory, access log off (loadtest/peers/servers.py
has the settings); wrk with the same request sequence on core 1. Rounds are interleaved, figures are medians. CPU is
user+system of all threads and child processes over the requests answered. On a shared machine judge the ratios.

`--record` writes table, plot and figures to loadtest/results/ and puts the table into README.md.
"""
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, processes, report, wrk  # noqa: E402
from peers import servers as peers  # noqa: E402

SIZES = [4096, 65536, 262144, 1048576]
TARGETS = {4096: 1.15, 65536: 1.15, 262144: 1.15, 1048576: 1.05}  # Segue's CPU over the floor's
FILE_SERVER = "nginx-file"  # no cache: it stands in the table, but not among the caching peers
FIGURES = ("cpu_us", "rps", "p50_us", "p99_us")


def say_size(size):
    return f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"


def starters(run, origin):
    options, folder = run.options, run.folder
    ram = options.tracks * options.track_bytes * 2
    files = folder / "files"
    processes.write_tracks(options.build, files, options.tracks, options.track_bytes)
    return {
        "segue": lambda: run.segue(origin, f"{(ram >> 20) + 256}MiB"),
        "nginx-slice": lambda: peers.nginx_slice(folder / "nginx-slice", origin.port),
        "nginx-cache": lambda: peers.nginx_cache(folder / "nginx-cache", origin.port),
        "varnish": lambda: peers.varnish(folder / "varnish", origin.port, ram),
        "traffic-server": lambda: peers.traffic_server(folder / "traffic-server", origin.port, ram),
        FILE_SERVER: lambda: peers.nginx_file(folder / FILE_SERVER, files),
    }


def start_all(run, origin):
    """The floor, Segue and the peers that can be run here, each with everything in memory."""
    options, found, head_bytes = run.options, [], 0
    for name, start in starters(run, origin).items():
        if options.only and name not in options.only:
            continue
        server = start() if name == "segue" else run.peer(name, start)
        if server is None:
            continue
        http.warm(server, options.tracks, options.track_bytes)
        answer = http.get(server.port, "/t/0", "1000-66535")
        http.expect(answer, 206, 65536, name)
        if name == "segue":
            head_bytes = len(answer.head) + 4
        found.append(server)
    # The same memory, the same sequence, as many bytes of head as Segue sends.
    return [run.floor(options.tracks, head_bytes), *found]


def run_rounds(options, servers, origin):
    """{(server, size): [figures of each round]}"""
    samples, before = {}, http.counts(origin.port)["requests"]
    for size in options.sizes:
        found = bench.in_turn(options.rounds, servers, lambda server, seed: wrk.ranges(server, size, seed, options))
        samples |= {(name, size): many for name, many in found.items()}
        print(f"{say_size(size)} done", flush=True)
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
            entry["ratio"] = bench.ratio([sample["cpu_us"] for sample in mine], floors)
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


def judge(run, result):
    for size in run.options.sizes:
        mine = result["segue"][size]["ratio"]
        run.judge(f"{say_size(size)} range, CPU over the floor", mine, TARGETS.get(size, 1.15), "x")
        rivals = [name for name in result if name not in ("floor", "segue", FILE_SERVER)]
        if rivals:
            best = min(rivals, key=lambda name: result[name][size]["ratio"])
            text = f"{say_size(size)} range, CPU against the best caching peer ({best})"
            run.judge(text, mine, result[best][size]["ratio"], "x")


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
    report.put_between_marks(processes.ROOT / "README.md", "peers", f"{line}\n\n{text}{picture}")


def vars_of(options):
    return {name: value for name, value in vars(options).items() if isinstance(value, (int, str, list))}


def main():
    options = bench.options(
        __doc__,
        tracks=100,
        track_bytes=4 << 20,
        connections=32,
        seconds=(2, "of one round of one server and size"),
        rounds=5,
        sizes=SIZES,
        only=([], "these servers (segue has to be among them)"),
        quick=(False, "one round of 1 s, 20 tracks: to try it"),
        record=(False, "write loadtest/results/ and README.md"),
    )
    if options.quick:
        options.tracks, options.seconds, options.rounds = 20, 1, 1
    with bench.Bench(options) as run:
        origin = run.origin(options.track_bytes)
        servers = start_all(run, origin)
        samples = run_rounds(options, servers, origin)
    result = summarise(options, servers, samples)
    text = table(options, result)
    print(text)
    judge(run, result)
    if options.record:
        record(options, run.facts, result, text)
    run.met |= options.quick
    run.end()


if __name__ == "__main__":
    main()
