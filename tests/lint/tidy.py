"""clang-tidy over our own sources, in parallel; a file whose preprocessed text was clean before is not run again.

Clean files are remembered in build/lint/tidy-clean: a line per hash of (preprocessed text, .clang-tidy, tool).
"""
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import shlex
import subprocess

TIDY = "clang-tidy-19"


@dataclasses.dataclass(frozen=True)
class Command:
    """How one source file is compiled; `path` is relative to the root of the tree."""

    path: str
    directory: str
    arguments: tuple


def read_commands(compile_commands, root):
    """The commands of our own sources (one per source, the first found)."""
    commands, seen = [], set()
    for entry in json.loads(pathlib.Path(compile_commands).read_text()):
        source = pathlib.Path(entry["directory"], entry["file"]).resolve()
        if not source.is_relative_to(root):
            continue
        path = str(source.relative_to(root))
        if path not in seen:
            seen.add(path)
            commands.append(Command(path, entry["directory"], tuple(shlex.split(entry["command"]))))
    return commands


def compile_arguments(command):
    """The compiler and its flags without launcher, output, dependency file and input."""
    arguments, result = list(command.arguments), []
    if pathlib.Path(arguments[0]).name == "ccache":
        arguments.pop(0)
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in ("-o", "-MF", "-MT"):
            skip = True
        elif argument not in ("-c", "-MD") and not argument.endswith(".cc"):
            result.append(argument)
    return result


def fingerprint(command, root, salt):
    """A hash that changes with anything clang-tidy could see; None when the file does not even preprocess."""
    # -C keeps the comments: NOLINT is one.
    done = subprocess.run(
        [*compile_arguments(command), "-E", "-C", "-w", str(root / command.path)],
        cwd=command.directory,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        return None
    return hashlib.sha256(salt + done.stdout).hexdigest()


def check_one(command, root, salt, clean):
    """Returns (fingerprint or None, findings)."""
    mark = fingerprint(command, root, salt)
    if mark is not None and mark in clean:
        return mark, []
    done = subprocess.run(
        [TIDY, "--quiet", str(root / command.path), "--", *compile_arguments(command)[1:]],
        cwd=command.directory,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    found = [
        line.replace(f"{root}/", "")
        for line in done.stdout.decode(errors="replace").split("\n")
        if " error: " in line or " warning: " in line
    ]
    if done.returncode != 0 and not found:
        found = [f"{command.path}: {TIDY} ended with {done.returncode}"]
    return mark, sorted(set(found))


def findings(commands, sources, root):
    """Yields one line per finding in `sources` (paths relative to `root`)."""
    memory = root / "build/lint/tidy-clean"
    memory.parent.mkdir(parents=True, exist_ok=True)
    clean = set(memory.read_text().split()) if memory.exists() else set()
    version = subprocess.run([TIDY, "--version"], check=True, stdout=subprocess.PIPE).stdout
    salt = version + (root / ".clang-tidy").read_bytes()
    chosen = [command for command in commands if command.path in set(sources)]
    seen = set()
    with memory.open("a") as remembered, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for mark, found in pool.map(lambda command: check_one(command, root, salt, clean), chosen):
            if not found and mark is not None and mark not in clean:
                remembered.write(mark + "\n")
                remembered.flush()
            for line in found:  # a header's finding appears once, not once per source
                if line not in seen:
                    seen.add(line)
                    yield line
