"""clang-tidy over our own sources, in parallel and several sources at a time; what was clean before is not run again.

Most of clang-tidy's time goes into the headers, so sources are checked in groups, each as one translation unit. A group
that is not clean is asked again source by source, so findings are those of a source by itself.
Clean sources are remembered in build/lint/tidy-clean: a line per hash of (source and what it includes of ours, flags,
.clang-tidy, tool, packages).
"""
import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess

TIDY = "clang-tidy-19"
SOURCES_PER_GROUP_MAX = 10
NOT_IN_GROUPS = "-bugprone-suspicious-include"  # for a group includes sources; lint.py looks for that itself
# What a source declares at the level of namespaces, where clang-format lets lines begin at the margin. Two sources of a
# group must not declare the same.
DECLARED = re.compile(
    r"^(?:(?:struct|class|enum class|enum|union|using|#define)\s+(?!namespace)(\w+)\b(?!::)"
    r"|(?!namespace|using)[A-Za-z][^(={;\n]*?(?<![\w:])(\w+)\s*[(\[={;])",
    re.M,
)
INCLUDED = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


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
    """The compiler and its flags without launcher, output, dependency file, precompiled headers and input."""
    arguments = list(command.arguments)
    at = next(i for i, argument in enumerate(arguments) if "clang" in pathlib.Path(argument).name)
    result = []
    while at < len(arguments):
        argument = arguments[at]
        if argument in ("-o", "-MF", "-MT", "-Xclang"):  # of -Xclang: only what is about precompiled headers
            at += 1
        elif argument not in ("-c", "-MD", "-Winvalid-pch", "-fpch-instantiate-templates"):
            if not argument.endswith(".cc"):
                result.append(argument)
        at += 1
    return tuple(result)


def kind_of(command):
    """The flags that sources of one group must share: not what a library wants defined, but what changes the system's
    headers; not whether it is for a library or a program."""
    return tuple(flag for flag in compile_arguments(command) if not re.match("-D[^_]|-fPI[CE]$", flag))


class Tree:
    """What the sources say, read once."""

    def __init__(self, root):
        self.root = root

    @functools.cache
    def text(self, path):
        return path.read_text(encoding="utf-8", errors="replace")

    @functools.cache
    def included(self, path, folders):
        """Files of ours that `path` includes; `folders`: where the compiler looks."""
        places = (path.parent, *folders)
        named = INCLUDED.findall(self.text(path))
        found = [next((place / name for place in places if (place / name).is_file()), None) for name in named]
        return [file for file in found if file]

    def fingerprint(self, command, salt):
        """A hash that changes with anything clang-tidy could see."""
        flags = compile_arguments(command)
        folders = tuple(pathlib.Path(flag[2:]) for flag in flags if flag.startswith("-I"))
        seen, left = set(), [self.root / command.path]
        while left:
            path = left.pop()
            if path not in seen:
                seen.add(path)
                left += self.included(path, folders)
        digest = hashlib.sha256(salt + repr(flags).encode())
        for path in sorted(seen):
            digest.update(f"{path}\0{self.text(path)}\0".encode())
        return digest.hexdigest()

    def declared(self, command):
        return {a or b for a, b in DECLARED.findall(self.text(self.root / command.path))}


def grouped(commands, tree):
    """Lists of commands whose sources can be one translation unit, as far as can be seen."""
    most = max(1, min(SOURCES_PER_GROUP_MAX, -(-len(commands) // os.cpu_count())))
    declared = {command: tree.declared(command) for command in commands}
    often = collections.Counter(name for names in declared.values() for name in names)
    groups = []  # [kind, commands, what they declare]
    # Those first that get on with the fewest: each begins a group that others can fill.
    for command in sorted(commands, key=lambda command: -max(map(often.get, declared[command]), default=0)):
        kind, names = kind_of(command), declared[command]
        for group in groups:
            if group[0] == kind and len(group[1]) < most and not group[2] & names:
                group[1].append(command)
                group[2] |= names
                break
        else:
            groups.append([kind, [command], set(names)])
    return [group[1] for group in groups]


def run_tidy(source, commands, root, *words):
    """The findings in `source`, which is compiled as all of `commands` are."""
    flags = dict.fromkeys(flag for command in commands for flag in compile_arguments(command)[1:])
    done = subprocess.run(
        [TIDY, "--quiet", *words, str(source), "--", *flags],
        cwd=root,
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
        found = [f"{commands[0].path}: {TIDY} ended with {done.returncode}"]
    return sorted(set(found))


def check_group(commands, root):
    """[(command, findings)] of sources that were not clean before."""
    if len(commands) > 1:
        together = root / "build/lint" / (hashlib.sha256(commands[0].path.encode()).hexdigest()[:16] + ".cc")
        together.write_text("".join(f'#include "{root / command.path}"\n' for command in commands))
        found = run_tidy(together, commands, root, f"--checks={NOT_IN_GROUPS}")
        together.unlink()
        if not found:
            return [(command, []) for command in commands]
    return [(command, run_tidy(root / command.path, [command], root)) for command in commands]


def salt_of(root):
    """What is the same for all sources: the tool, its configuration, the headers that are not ours."""
    version = subprocess.run([TIDY, "--version"], check=True, stdout=subprocess.PIPE).stdout
    packages = subprocess.run(["dpkg-query", "-W"], check=False, stdout=subprocess.PIPE).stdout
    return version + packages + (root / ".clang-tidy").read_bytes() + pathlib.Path(__file__).read_bytes()


def findings(commands, sources, root):
    """Yields one line per finding in `sources` (paths relative to `root`)."""
    memory = root / "build/lint/tidy-clean"
    memory.parent.mkdir(parents=True, exist_ok=True)
    clean = set(memory.read_text().split()) if memory.exists() else set()
    tree, salt = Tree(root), salt_of(root)
    marks = {command: tree.fingerprint(command, salt) for command in commands if command.path in set(sources)}
    groups = grouped([command for command, mark in marks.items() if mark not in clean], tree)
    seen = set()
    with memory.open("a") as remembered, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for checked in pool.map(lambda group: check_group(group, root), groups):
            for command, found in checked:
                if not found:
                    remembered.write(marks[command] + "\n")
                    remembered.flush()
                for line in found:  # a header's finding appears once, not once per source
                    if line not in seen:
                        seen.add(line)
                        yield line
