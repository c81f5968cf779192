#!/usr/bin/python3
"""loadtest/bench/tls.py - server CPU per cached range over TLS 1.3 with AES-128-GCM: Segue, nginx with its slice
module, nginx with a plain file, and a floor, in one run; and CPU per full and resumed handshake.

The floor is Segue's own cost without TLS (the same process, its plain listener) plus what OpenSSL's record layer alone
costs (loadtest/floor/tls_floor: SSL_write into a sink). Every server has one worker on core 0, wrk is on the last
core; rounds are interleaved and figures are medians. On a shared machine judge the ratios.
"""
import pathlib
import re
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib import bench, http, processes, report, wrk  # noqa: E402
from peers import servers as peers  # noqa: E402

SIZES = [4096, 65536, 262144, 1048576]
FLOOR_TARGET, SLICE_TARGET, FILE_TARGET = 1.15, 0.65, 1.0
SSL = """ ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_session_tickets on; ssl_session_cache off;"""


def make_certificate(folder):
    chain, key = folder / "chain.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split()
    command += ["-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", chain], check=True, capture_output=True)
    return chain, key


def start_segue(options, folder, chain, key, origin, ram):
    """One process with a plain listener and one with TLS: (server of the plain port, server of the other one)."""
    plain, secure = processes.free_ports(2)
    config = folder / "segue.toml"
    config.write_text(
        f"""[node]
ram = "{ram >> 20}MiB"
threads = 1
[[listen]]
addr = "127.0.0.1:{plain}"
[[listen]]
addr = "127.0.0.1:{secure}"
tls = true
[[tls.certificate]]
chain = "{chain}"
key = "{key}"
[origin.store]
servers = "http://127.0.0.1:{origin}"
"""
    )
    server = processes.start("segue-plain", plain, [options.build / "segue", "serve", "--config", config])
    return server, processes.Server("segue", secure, server.process)


def with_tls(template, chain, key):
    """An nginx template whose listener speaks TLS."""
    return re.sub(
        r"listen 127\.0\.0\.1:\{port\} backlog=4096;",
        lambda found: found[0].replace(" backlog", " ssl backlog") + SSL.format(chain=chain, key=key),
        template,
    )


def start_nginx(folder, chain, key, origin, files):
    slices = peers.NGINX_SLICE.format(size="1m")
    cache, plain_file = with_tls(peers.NGINX_CACHE, chain, key), with_tls(peers.NGINX_FILE, chain, key)
    return [
        peers.nginx("nginx-slice", folder / "slice", cache, origin=origin, slice=slices),
        peers.nginx("nginx-file", folder / "file", plain_file, files=files),
    ]


def record_layer(options, chain, key):
    command = [options.build / "loadtest/tls_floor", chain, key, "500", *map(str, options.sizes)]
    done = subprocess.run(
        ["taskset", "-c", str(processes.SERVER_CORE), *command], check=True, capture_output=True, text=True
    )
    return {int(size): float(cost) for size, cost in (line.split() for line in done.stdout.splitlines())}


def run_rounds(options, servers, chain, key):
    """{size: {name: [CPU us by round]}}; "records" is the record layer alone."""
    records = [record_layer(options, chain, key) for _ in range(options.rounds)]
    samples = {}
    for size in options.sizes:

        def measure(server, seed, size=size):
            scheme = "http" if server.name == "segue-plain" else "https"
            return wrk.ranges(server, size, seed, options, scheme)["cpu_us"]

        samples[size] = bench.in_turn(options.rounds, servers, measure) | {"records": [one[size] for one in records]}
        print(f"{size >> 10} KiB done", flush=True)
    return samples


def judge_ranges(run, samples):
    rows = []
    for size, by_name in samples.items():
        floors = [plain + records for plain, records in zip(by_name["segue-plain"], by_name["records"])]
        middle, mine = bench.medians(by_name), by_name["segue"]
        over_floor = bench.ratio(mine, floors)
        over_slice, over_file = (bench.ratio(mine, by_name[name]) for name in ("nginx-slice", "nginx-file"))
        rows.append(
            [f"{size >> 10} KiB", *(f"{middle[name]:.1f}" for name in ("segue-plain", "records"))]
            + [f"{statistics.median(floors):.1f}", f"{middle['segue']:.1f} ({over_floor:.2f}x)"]
            + [f"{middle['nginx-slice']:.1f} ({over_slice:.2f}x)", f"{middle['nginx-file']:.1f} ({over_file:.2f}x)"]
        )
        run.judge(f"{size >> 10} KiB over TLS, CPU over the floor", over_floor, FLOOR_TARGET, "x")
        if size >= 65536:
            run.judge(f"{size >> 10} KiB over TLS, CPU over nginx-slice's", over_slice, SLICE_TARGET, "x")
        run.judge(f"{size >> 10} KiB over TLS, CPU over nginx-file's", over_file, FILE_TARGET, "x")
    header = ["range", "Segue plain", "records alone", "floor", "Segue TLS", "nginx-slice (Segue/it)"]
    print(report.markdown([*header, "nginx-file (Segue/it)"], rows))


def handshake_cost(server, resumed, seconds):
    """CPU of the server per handshake and a short answer, us."""
    before = server.cpu_seconds()
    # With a request, as a TLS 1.3 client has no ticket before it reads.
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{server.port}", "-time", str(seconds), "-www", "/none"]
    done = subprocess.run(
        ["taskset", "-c", str(processes.LOAD_CORE), *command, "-reuse" if resumed else "-new"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^(\d+) connections in \d+ real seconds", done.stdout, re.M)
    if not found or int(found[1]) == 0:
        sys.exit(f"openssl s_time: {done.stdout}{done.stderr}")
    reused = sum(line.count("r") for line in done.stdout.splitlines() if re.fullmatch(r"[r*tT]+", line))
    if reused < 0.9 * int(found[1]) if resumed else reused > 0:
        sys.exit(f"openssl s_time: {reused} of {found[1]} handshakes were resumed")
    return (server.cpu_seconds() - before) / int(found[1]) * 1e6


def judge_handshakes(run, segue, nginx):
    for kind, resumed in (("full", False), ("resumed", True)):
        found = bench.in_turn(
            run.options.rounds,
            [segue, nginx],
            lambda server, _: handshake_cost(server, resumed, run.options.seconds),
        )
        mine, theirs = bench.medians(found).values()
        print(f"{kind} handshakes a second and core: Segue {1e6 / mine:.0f}, nginx {1e6 / theirs:.0f}")
        run.judge(f"{kind} handshake, CPU over nginx's", bench.ratio(*found.values()), 1.0, "x")


def main():
    options = bench.options(__doc__, tracks=50, track_bytes=4 << 20, connections=32, seconds=3, rounds=5, sizes=SIZES)
    with bench.Bench(options) as run:
        chain, key = make_certificate(run.folder)
        origin, files = run.origin(options.track_bytes), run.folder / "files"
        processes.write_tracks(options.build, files, options.tracks, options.track_bytes)
        ram = options.tracks * options.track_bytes * 2 + (256 << 20)
        plain, segue = start_segue(options, run.folder, chain, key, origin.port, ram)
        run.enter_context(plain)
        nginx = [run.enter_context(one) for one in start_nginx(run.folder, chain, key, origin.port, files)]
        for server in (plain, segue, *nginx):
            http.warm(server, options.tracks, options.track_bytes, None if server is plain else http.unverified())
        judge_ranges(run, run_rounds(options, [plain, segue, *nginx], chain, key))
        judge_handshakes(run, segue, nginx[1])
    run.end()


if __name__ == "__main__":
    main()
