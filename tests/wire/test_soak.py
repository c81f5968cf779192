"""The release gate's ledger: what was run is not run again, what was found is told until the tree has changed."""
import json
import sys

import pytest

from support.node import ROOT

sys.path.insert(0, str(ROOT / "tests/soak"))
import soak  # noqa: E402


@pytest.fixture
def gate(monkeypatch, tmp_path):
    """Runs soak.py's main() over scripted pieces: (exit code, what was run)."""
    monkeypatch.setattr(soak, "ROOT", tmp_path)
    monkeypatch.setattr(soak, "GOALS", {"sim": 300, "kill": 20, "flip": 100, "fuzz": 1000})
    monkeypatch.setattr(soak, "version", lambda: gate.version)
    gate.version, gate.found = "a", {}

    def run(*arguments):
        ran = []

        def piece(name, done):
            ran.append((name, done))
            if isinstance(outcome := gate.found.get((name, done)), Exception):
                raise outcome
            return {"sim": 100, "kill": 10}[name], ([outcome] if outcome else [])

        monkeypatch.setattr(soak, "run_piece", piece)
        monkeypatch.setattr(sys, "argv", ["soak.py", "--only", "sim,kill", *arguments])
        with pytest.raises(SystemExit) as ended:
            soak.main()
        return ended.value.code, ran

    gate.run = run
    return gate


def test_it_runs_to_the_goals_and_then_nothing(gate, capsys):
    code, ran = gate.run("--for", "10s")
    assert (code, sorted(ran)) == (0, [("kill", 0), ("kill", 10), ("sim", 0), ("sim", 100), ("sim", 200)])
    assert "the gate is open" in capsys.readouterr().out
    assert gate.run("--for", "10s") == (0, [])


def test_it_goes_on_where_it_was_stopped(gate, tmp_path):
    gate.run("--for", "10s")
    ledger = tmp_path / "build/soak/ledger.json"
    written = json.loads(ledger.read_text())
    written["work"]["sim"]["done"] = 200
    ledger.write_text(json.dumps(written))
    assert gate.run("--for", "10s") == (0, [("sim", 200)])


def test_what_was_found_is_told_until_the_tree_has_changed(gate, capsys):
    gate.found[("sim", 100)] = "SIM_SEED=1150"
    assert gate.run("--for", "10s")[0] == 1
    assert "FOUND SIM_SEED=1150" in capsys.readouterr().out
    assert gate.run("--report") == (1, [])
    gate.version, gate.found = "b", {}
    code, ran = gate.run("--for", "10s")
    assert (code, len(ran)) == (0, 5)


def test_a_node_that_does_not_come_back_is_a_finding_and_the_others_go_on(gate, capsys):
    gate.found[("kill", 0)] = RuntimeError("segue ended with 1")
    code, ran = gate.run("--for", "10s")
    assert (code, ran.count(("kill", 0)), len(ran)) == (1, 1, 4)
    assert "FOUND kill at 0: RuntimeError: segue ended with 1" in capsys.readouterr().out


def test_what_this_machine_cannot_do_is_told_and_is_no_finding(gate, capsys):
    gate.found[("kill", 0)] = soak.CannotRun("mounting a file needs root")
    code, ran = gate.run("--for", "10s")
    assert (code, ran.count(("kill", 0)), len(ran)) == (0, 1, 4)
    said = capsys.readouterr().out
    assert "kill: NOT RUN here: mounting a file needs root" in said
    assert "the goals are not met" in said


def test_every_kind_has_a_goal_and_a_function():
    assert set(soak.GOALS) == {*soak.PIECES, "fuzz"}


@pytest.mark.parametrize("words", [["--for", "soon"], ["--for", "1"], ["--only", "sim,luck"]])
def test_a_word_it_does_not_know_is_refused(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["soak.py", *words])
    with pytest.raises(SystemExit) as ended:
        soak.main()
    assert ended.value.code == 2


def test_flipped_bits_are_where_something_is_written(tmp_path):
    drive = tmp_path / "drive"
    with open(drive, "wb") as file:
        file.truncate(1 << 24)
        file.seek(1 << 20)
        file.write(b"\0" * 8192)
    before = drive.read_bytes()
    places = soak.flip_bits(drive, soak.random.Random(1), 20)
    after = drive.read_bytes()
    assert {at for at, _ in places} == {at for at in range(1 << 20, (1 << 20) + 8192) if before[at] != after[at]}
    assert before[: 1 << 20] == after[: 1 << 20]
