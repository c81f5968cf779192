#!/usr/bin/python3
"""The checks of `./dev lint`: one pass over the tree, one line per finding, one count per check.

lint.py [--compile-commands FILE] [--counts FILE] [--only CHECK,...]
"""
import argparse
import ast
import pathlib
import re
import subprocess
import sys
import time

import tidy

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTEST_FOLDERS = ("tests/wire/", "tests/conformance/", "tests/system/")
PRODUCT = ("base", "http", "conf", "cache", "tls", "origin", "edge")
CODE = {".cc", ".h", ".py", ".sh"}
LINE_COLUMNS_MAX = 100
SCRIPT_COLUMNS_MAX = 120  # CMake, shell and Python: their formatters do not wrap for us
FUNCTION_LINES_MAX = 70  # of C++ by clang-tidy (readability-function-size), of Python and shell here

# Allowed includes between the folders (ARCHITECTURE.md, "The floors"). The program (the files of edge/ itself) may
# include everything.
FLOORS = {
    "base": set(),
    "http": {"base"},
    "conf": {"base"},
    "cache": {"base"},
    "tls": {"base"},
    "origin": {"http", "base"},
    "edge": {"base", "http", "cache", "tls", "origin"},
}
# The same inside edge/: metrics <- overload <- fill <- prefetch, access <- delivery <- server <- admin. node/ joins the
# parts, so it stands above all; cli/ is the other end of the admin listener and shares nothing.
EDGE_FLOORS = {
    "metrics": set(),
    "overload": {"metrics"},
    "fill": {"metrics", "overload"},
    "prefetch": {"metrics", "overload", "fill"},
    "access": {"metrics", "overload", "fill"},
    "delivery": {"metrics", "overload", "fill", "prefetch", "access"},
    "server": {"metrics", "overload", "fill", "prefetch", "access", "delivery"},
    "admin": {"metrics", "overload", "fill", "prefetch", "access", "delivery", "server"},
    "cli": set(),
    "replay": {"metrics", "overload", "fill", "prefetch"},
    "node": {"metrics", "overload", "fill", "prefetch", "access", "delivery", "server", "admin"},
}


def is_program(path):
    return path.count("/") == 1 and path.startswith("edge/")


# Headers of third parties stay behind ours: in headers only where the folder (or the file) is their wrapper.
WRAPPED = re.compile(r'#include\s*[<"](openssl/|event2/|liburing|curl/|ares|nghttp2/|nats|toml\+\+/|CLI/)')
WRAPPERS = ("tls/", "base/loop/", "origin/", "edge/server/", "conf/toml.h")

# (what, pattern, why, where it holds, where it does not)
HOT = ("base/", "http/", "cache/", "tls/", "origin/", "edge/")
BANNED = (
    ("strtol and friends", r"\b(strto[a-z]+|ato[ifl]+|sscanf)\s*\(", "std::from_chars", ("",), ()),
    ("std::stoi and friends", r"\bsto(i|ul+|l+)\s*\(", "std::from_chars", HOT, ()),
    # `co_await sleep_for(...)` is the loop's timer, which waits in virtual time under the simulation.
    (
        "sleep",
        r"(?<!co_await )(?<!co_await segue::)\b(u|nano)?sleep(_for|_until)?\s*\(",
        "a timer",
        ("",),
        ("base/loop/",),
    ),
    ("rand", r"\b(s?rand|rand_r|[dlm]rand48)\s*\(", "base/loop Entropy, or a seeded generator", ("",), ()),
    ("std::function", r"\bstd::(move_only_)?function\b", "it may allocate", HOT, ("edge/main.cc", "edge/cli/")),
    ("system_clock", r"\bsystem_clock\b", "the loop's Clock", ("",), ("base/loop/",)),
    # What the simulation runs: a waiter that nobody wakes must come to an end all the same.
    (
        "a wait without a deadline",
        r"\bwait\(kNever\)",
        "a deadline",
        ("cache/", "edge/fill/", "edge/delivery/", "edge/prefetch/"),
        (),
    ),
    ("steady_clock", r"\bsteady_clock::now\b", "the loop's Clock", HOT, ("base/loop/", "edge/cli/")),
)


COMMENT_OR_LITERAL = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', flags=re.S
)


def tracked_files():
    """Every file of the tree that git would take, so that a fresh clone and a working copy are judged alike."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    return sorted(path for path in listed.split("\0") if path and (ROOT / path).is_file())


def read(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def without_comments(text):
    """C++ text with comments and string contents blanked, line for line."""

    def blank(match):
        found = match.group(0)
        if found[0] == "/":
            return "".join(c if c == "\n" else " " for c in found)
        if found[0] == '"' or found.startswith('R"'):
            return '"' + "".join(c if c == "\n" else " " for c in found[1:-1]) + '"'
        return found

    return COMMENT_OR_LITERAL.sub(blank, text)


def is_cpp(path):
    return path.endswith((".cc", ".h"))


def is_script(path):
    if path.endswith((".py", ".sh", ".cmake")) or path.endswith("CMakeLists.txt"):
        return True
    return "." not in pathlib.Path(path).name and read(path).startswith("#!")


class Lint:
    """The files to judge, and one method per check; a method yields its findings."""

    def __init__(self, options):
        self.options = options
        self.files = tracked_files()
        self.cpp = [path for path in self.files if is_cpp(path)]

    def commands(self):
        return tidy.read_commands(self.options.compile_commands, ROOT)

    def check_format(self):
        done = subprocess.run(
            ["clang-format-19", "--dry-run", "-Werror", *self.cpp],
            cwd=ROOT,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        seen = set()
        for line in done.stderr.decode(errors="replace").split("\n"):
            path, _, rest = line.partition(":")
            if " error:" in rest and path not in seen:
                seen.add(path)
                yield f"{path}:{rest.split(':')[0]}: not formatted: clang-format-19 -i {path}"
        if done.returncode != 0 and not seen:
            yield f"clang-format-19 ended with {done.returncode}"

    def check_tidy(self):
        yield from tidy.findings(self.commands(), self.cpp, ROOT)

    def check_floors(self):
        for path in self.cpp:
            folder = path.split("/")[0]
            if folder == "loadtest":
                allowed = {"loadtest"}  # talks HTTP only, links nothing of ours
            elif folder in FLOORS and not is_program(path):
                allowed = FLOORS[folder] | {folder}
            else:
                continue
            for number, included in self.includes(path):
                target = included.split("/")[0]
                if target in (*PRODUCT, "tests", "loadtest") and target not in allowed:
                    yield f"{path}:{number}: {folder} may not include {included}"

    def check_edge_floors(self):
        for path in self.cpp:
            parts = path.split("/")
            if parts[0] != "edge" or is_program(path):
                continue
            part = parts[1]
            if part not in EDGE_FLOORS:
                yield f"{path}:1: edge/{part} is not in the table of tests/lint/lint.py"
                continue
            for number, included in self.includes(path):
                pieces = included.split("/")
                target = pieces[1] if len(pieces) > 2 else ""
                if pieces[0] == "edge" and target != part and target not in EDGE_FLOORS[part]:
                    yield f"{path}:{number}: edge/{part} may not include {included}"

    def check_included_sources(self):
        for path in self.cpp:
            for number, included in self.includes(path):
                if included.endswith(".cc"):
                    yield f"{path}:{number}: {included} is a source: it belongs in a target"

    def includes(self, path):
        for number, line in enumerate(read(path).split("\n"), 1):
            match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if match:
                yield number, match.group(1)

    def check_wrapped_headers(self):
        for path in self.cpp:
            if not path.endswith(".h") or path.split("/")[0] not in PRODUCT or path.startswith(WRAPPERS):
                continue
            for number, line in enumerate(read(path).split("\n"), 1):
                if WRAPPED.match(line.strip()):
                    yield f"{path}:{number}: keep {line.strip()} out of headers (pimpl)"

    def check_line_length(self):
        for path in self.files:
            if is_cpp(path):
                columns_max = LINE_COLUMNS_MAX
            elif is_script(path):
                columns_max = SCRIPT_COLUMNS_MAX
            else:
                continue
            for number, line in enumerate(read(path).split("\n"), 1):
                if len(line) > columns_max:
                    yield f"{path}:{number}: {len(line)} columns, at most {columns_max}"

    def check_script_functions(self):
        for path in self.files:
            if path.endswith(".py"):
                for node in ast.walk(ast.parse(read(path))):
                    if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= FUNCTION_LINES_MAX:
                        yield f"{path}:{node.lineno}: {node.name} has more than {FUNCTION_LINES_MAX} lines"
            elif is_script(path) and not path.endswith((".cmake", ".txt")):
                yield from self.long_shell_functions(path)

    @staticmethod
    def long_shell_functions(path):
        begun = None
        for number, line in enumerate(read(path).split("\n"), 1):
            if re.match(r"[a-z_]+\(\) \{", line):
                begun = number
            elif line == "}" and begun is not None:
                if number - begun >= FUNCTION_LINES_MAX:
                    yield f"{path}:{begun}: function has more than {FUNCTION_LINES_MAX} lines"
                begun = None

    def check_leftovers(self):
        marker = re.compile(r"\b(FIX" + r"ME|XX" + r"X|HA" + r"CK)\b|\bTO" + r"DO\b(?!\(#\d+\)| #\d+)")
        for path in self.files:
            if is_cpp(path) or is_script(path) or path.endswith((".toml", ".md")):
                for number, line in enumerate(read(path).split("\n"), 1):
                    if marker.search(line):
                        yield f"{path}:{number}: leftover, or no issue number: {line.strip()[:80]}"

    def check_targets(self):
        compiled = {command.path for command in self.commands()}
        for path in self.cpp:
            if path.endswith(".cc") and path.split("/")[0] in PRODUCT and path not in compiled:
                yield f"{path}: in no CMake target"

    def check_test_targets(self):
        compiled = {command.path for command in self.commands()}
        for path in self.cpp:
            if path.endswith(".cc") and path.split("/")[0] not in PRODUCT and path not in compiled:
                yield f"{path}: in no CMake target, so it never runs"
        for path in self.files:
            name = pathlib.Path(path).name
            if name.startswith("test_") and name.endswith(".py") and not path.startswith(PYTEST_FOLDERS):
                yield f"{path}: pytest is only run on {', '.join(PYTEST_FOLDERS)}"

    def check_banned_calls(self):
        for path in self.cpp:
            lines = without_comments(read(path)).split("\n")
            for what, pattern, instead, where, but in BANNED:
                if not path.startswith(where) or (but and path.startswith(but)):
                    continue
                for number, line in enumerate(lines, 1):
                    if re.search(pattern, line):
                        yield f"{path}:{number}: {what} is banned here: {instead}"


CHECKS = (
    "format",
    "floors",
    "edge_floors",
    "included_sources",
    "wrapped_headers",
    "line_length",
    "script_functions",
    "leftovers",
    "targets",
    "test_targets",
    "banned_calls",
    "tidy",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile-commands", type=pathlib.Path, default=ROOT / "build/dev/compile_commands.json")
    parser.add_argument("--counts", type=pathlib.Path, help="write `PASSED FAILED SECONDS` here")
    parser.add_argument("--only", default=",".join(CHECKS), help="comma separated: " + " ".join(CHECKS))
    options = parser.parse_args()
    lint, started, failed = Lint(options), time.monotonic(), 0
    chosen = options.only.split(",")
    for name in chosen:
        begun = time.monotonic()
        found = list(getattr(lint, f"check_{name}")())
        for finding in found:
            print(finding)
        failed += bool(found)
        print(f"lint {name}: {len(found) or 'no'} findings, {time.monotonic() - begun:.1f} s", flush=True)
    seconds = time.monotonic() - started
    print(f"== lint: {len(chosen) - failed} passed, {failed} failed, {seconds:.1f} s", flush=True)
    if options.counts:
        options.counts.write_text(f"{len(chosen) - failed} {failed} {seconds:.1f}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
