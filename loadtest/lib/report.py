"""What a run prints and leaves behind: machine, tables, verdicts, files in loadtest/results."""
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess

from lib.processes import ROOT

RESULTS = ROOT / "loadtest/results"
BUSY_LOAD = 1.0  # of the last minute, before a run starts: somebody else uses the machine


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal: +(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1))
    load = os.getloadavg()[0]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**20),
        "kernel": platform.release(),
        "load_before": round(load, 2),
        "preliminary": load > BUSY_LOAD,
    }


def machine_line(facts):
    busy = "; PRELIMINARY: others were using the machine" if facts["preliminary"] else ""
    return (
        f"{facts['date']}, {facts['cores']} cores of {facts['cpu']}, {facts['memory_gib']} GiB, "
        f"Linux {facts['kernel']}, "
        f"load before the run {facts['load_before']}{busy}"
    )


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join("---" for _ in header) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def verdict(name, figure, bound, unit="", at_least=False):
    """Prints one figure with its target; True if it is met."""
    met = figure >= bound if at_least else figure <= bound
    sign = ">=" if at_least else "<="
    print(f"{name}: {figure:.4g}{unit}   target {sign} {bound:.4g}{unit}   {'met' if met else 'MISSED'}", flush=True)
    return met


def write_json(path, facts, figures):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": facts, **figures}, indent=1) + "\n")


def plot(script, path):
    """Draws `script` (gnuplot commands without terminal and output) into an SVG file; False without gnuplot."""
    if not shutil.which("gnuplot"):
        print("plot skipped: no gnuplot (package gnuplot-nox)")
        return False
    head = f"set terminal svg size 900,420 font 'sans,12' background 'white'\nset output '{path}'\n"
    subprocess.run(["gnuplot"], input=head + script, text=True, check=True)
    return True


def put_between_marks(path, name, text):
    """Replaces what stands between `<!-- NAME -->` and `<!-- /NAME -->` in a page."""
    page = path.read_text()
    new, count = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m: m.group(1) + text + "\n" + m.group(2), page, flags=re.S
    )
    if count != 1:
        raise SystemExit(f"{path} has no marks for {name}")
    path.write_text(new)
