"""What is said about the commands is true: the README, the manual page and the completion know every command and no
other; ./dev and its help agree; a word that is none is named."""
import re
import shutil
import subprocess

import pytest

from support.node import BINARY, ROOT, run_segue

HELP = run_segue("--help", check=True).stdout
COMMANDS = re.findall(r"^  ([a-z]+) +\S", HELP.split("Subcommands:")[1].split("First steps:")[0], re.M)
NESTED = {"cache": ["format", "wipe"]}


def complete(*words):
    """What bash offers behind these words."""
    script = (
        f"source {ROOT}/packaging/completion.bash; COMP_WORDS=({' '.join(words)} '');"
        f" COMP_CWORD={len(words)}; _segue; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    environment = {"PATH": f"{BINARY.parent}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_there_are_commands():
    assert {"serve", "check", "top", "stats", "explain", "purge"} <= set(COMMANDS)


def test_the_readme_has_a_row_for_every_command_and_no_other():
    table = (ROOT / "README.md").read_text().split("## The commands of `segue`")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `segue (\w+)", table, re.M)) == set(COMMANDS)


def test_the_manual_page_has_every_command_and_no_other():
    page = (ROOT / "packaging/segue.1").read_text()
    verbs = page.split(".SH VERBS\n")[1].split(".SH ")[0]
    named = re.findall(r'^\.TP\n\.(?:B|BI) "?([a-z]+)', verbs, re.M)
    assert sorted(named) == sorted(COMMANDS)
    if shutil.which("groff"):
        said = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True, text=True)
        assert (said.returncode, said.stderr) == (0, "")


def test_bash_offers_every_command_and_its_flags():
    offered = complete("segue")
    assert set(COMMANDS) <= offered
    assert {"--config", "--listen", "--origin"} <= complete("segue", "serve")
    assert set(NESTED["cache"]) <= complete("segue", "cache")
    assert {"--every", "--admin"} <= complete("segue", "top")
    assert complete("segue", "serve", "--io") == {"auto", "uring", "threads"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    assert f"Usage: {command}" in run_segue(command, "--help", check=True).stdout


def test_a_command_that_is_none_is_named():
    for words, said in ((["foo"], '"foo"'), (["cache", "foo"], '"cache foo"'), (["--foo"], '"--foo"')):
        done = run_segue(*words)
        assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1)


@pytest.mark.parametrize("words", [["lint", "x"], ["test", "quick", "x"], ["fuzz", "range", "1", "x"], ["dance"]])
def test_dev_takes_no_word_it_does_not_know(words):
    done = subprocess.run([ROOT / "dev", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, "dev: " in done.stderr) == (1, True)
    assert words[-1] in done.stderr


def test_dev_and_the_readme_have_the_same_verbs():
    told = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
    verbs = set(re.findall(r"^  ([a-z]+)\b", told, re.M))
    table = (ROOT / "README.md").read_text().split("## The commands of `./dev`")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `\./dev (\w+)", table, re.M)) == verbs


def test_the_limits_and_files_that_the_security_page_names_exist():
    page = (ROOT / "SECURITY.md").read_text()
    limits = "".join(file.read_text() for file in (ROOT / "base").glob("*limits*.h"))
    for name in re.findall(r"`(k[A-Z]\w+)`", page):
        assert re.search(rf"\b{name}\b", limits), name
    for path in re.findall(r"\b(?:tests|base|conf|systemd)/[\w./-]*\w", page):
        assert (ROOT / path).exists(), path
