#!/usr/bin/python3
"""loadtest/bench/tls.py - server CPU per cached range over TLS 1.3 with AES-128-GCM: Segue, nginx with its slice
module, nginx with a plain file, and a floor, in one run; and CPU per full and resumed handshake.

The floor is Segue's own cost without TLS (the same process, its plain listener) plus what OpenSSL's record layer alone
costs (loadtest/floor/tls_floor: SSL_write into a sink). Every server has one worker on core 0, wrk is on the last
core; rounds are interleaved and figures are medians. On a shared machine judge the ratios.
"""
import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "loadtest"))
from lib import http, processes, report, wrk  # noqa: E402
from peers import servers as peers  # noqa: E402

SIZES = [4096, 65536, 262144, 1048576]
FLOOR_TARGET, SLICE_TARGET, FILE_TARGET = 1.15, 0.65, 1.0
SSL = """ ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_session_tickets on; ssl_session_cache off;"""


def make_certificate(folder):
    chain, key = folder / "chain.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
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
    samples = {size: {name: [] for name in [*(one.name for one in servers), "records"]} for size in options.sizes}
    for number in range(options.rounds):
        for size, cost in record_layer(options, chain, key).items():
            samples[size]["records"].append(cost)
        for size in options.sizes:
            shift = number % len(servers)
            for server in servers[shift:] + servers[:shift]:
                environment = {"TRACKS": options.tracks, "TRACK_BYTES": options.track_bytes}
                environment |= {"RANGE_BYTES": size, "SEED": number + 1}
                scheme = "http" if server.name == "segue-plain" else "https"
                figures = wrk.measure(
                    server, "ranges", options.seconds, options.connections, environment, scheme=scheme
                )
                samples[size][server.name].append(figures["cpu_us"])
        print(f"round {number + 1} of {options.rounds} done", flush=True)
    return samples


def judge_ranges(options, samples):
    rows, met = [], True
    for size, by_name in samples.items():
        floors = [plain + records for plain, records in zip(by_name["segue-plain"], by_name["records"])]
        mine = by_name["segue"]

        def ratio(others, mine=mine):
            return statistics.median(one / other for one, other in zip(mine, others))

        middle = {name: statistics.median(values) for name, values in by_name.items()}
        over_floor, over_slice, over_file = ratio(floors), ratio(by_name["nginx-slice"]), ratio(by_name["nginx-file"])
        rows.append(
            [f"{size >> 10} KiB", *(f"{middle[name]:.1f}" for name in ("segue-plain", "records"))]
            + [f"{statistics.median(floors):.1f}", f"{middle['segue']:.1f} ({over_floor:.2f}x)"]
            + [f"{middle['nginx-slice']:.1f} ({over_slice:.2f}x)", f"{middle['nginx-file']:.1f} ({over_file:.2f}x)"]
        )
        met &= report.verdict(f"{size >> 10} KiB over TLS, CPU over the floor", over_floor, FLOOR_TARGET, "x")
        if size >= 65536:
            met &= report.verdict(f"{size >> 10} KiB over TLS, CPU over nginx-slice's", over_slice, SLICE_TARGET, "x")
        met &= report.verdict(f"{size >> 10} KiB over TLS, CPU over nginx-file's", over_file, FILE_TARGET, "x")
    header = ["range", "Segue plain", "records alone", "floor", "Segue TLS", "nginx-slice (Segue/it)"]
    print(report.markdown([*header, "nginx-file (Segue/it)"], rows))
    return met


def handshake_cost(server, resumed, seconds):
    """CPU of the server per handshake, us."""
    before = server.cpu_seconds()
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{server.port}", "-time", str(seconds)]
    done = subprocess.run(
        ["taskset", "-c", str(processes.LOAD_CORE), *command, "-reuse" if resumed else "-new"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^(\d+) connections in \d+ real seconds", done.stdout, re.M)
    if not found or int(found[1]) == 0:
        sys.exit(f"openssl s_time: {done.stdout}{done.stderr}")
    return (server.cpu_seconds() - before) / int(found[1]) * 1e6


def judge_handshakes(options, segue, nginx):
    met = True
    for kind, resumed in (("full", False), ("resumed", True)):
        pairs = []
        for number in range(options.rounds):
            order = (segue, nginx) if number % 2 == 0 else (nginx, segue)
            cost = {server.name: handshake_cost(server, resumed, options.seconds) for server in order}
            pairs.append((cost[segue.name], cost[nginx.name]))
        mine, theirs = (statistics.median(column) for column in zip(*pairs))
        print(f"{kind} handshakes a second and core: Segue {1e6 / mine:.0f}, nginx {1e6 / theirs:.0f}")
        ratio = statistics.median(one / other for one, other in pairs)
        met &= report.verdict(f"{kind} handshake, CPU over nginx's", ratio, 1.0, "x")
    return met


def warm(server, options, context):
    client = http.Client(server.port, context=context)
    for _ in range(2):
        for number in range(options.tracks):
            answer = client.get(f"/t/{number}")
            if answer.status != 200 or len(answer.body) != options.track_bytes:
                sys.exit(f"{server.name} answers {answer.status}, {len(answer.body)} bytes")
    client.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--track-bytes", type=int, default=4 << 20)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    options = parser.parse_args()
    running = []
    with tempfile.TemporaryDirectory(prefix="segue-tls-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        try:
            chain, key = make_certificate(folder)
            origin = processes.start_origin(options.build, options.track_bytes)
            running.append(origin)
            files = folder / "files"
            written = [options.build / "loadtest/origin", "--write", files, options.tracks, options.track_bytes]
            subprocess.run([str(word) for word in written], check=True)
            ram = options.tracks * options.track_bytes * 2 + (256 << 20)
            plain, segue = start_segue(options, folder, chain, key, origin.port, ram)
            running.append(plain)
            nginx = start_nginx(folder, chain, key, origin.port, files)
            running += nginx
            context = http.unverified()
            for server in (plain, segue, *nginx):
                warm(server, options, None if server is plain else context)
            met = judge_ranges(options, run_rounds(options, [plain, segue, *nginx], chain, key))
            met &= judge_handshakes(options, segue, nginx[1])
        finally:
            for server in reversed(running):
                server.stop()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
