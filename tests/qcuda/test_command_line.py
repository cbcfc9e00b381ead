"""The words of a command line: what is put right, what is suggested, and one line for the rest."""

from __future__ import annotations

import errno
import subprocess
import sys
from importlib.metadata import EntryPoint, version
from pathlib import Path

import pytest

import qcuda
import qtheory
from qcuda import cli
from qcuda.cli.common import choices
from qcuda.cli.train import configured, parser, prepared
from qcuda.cli.words import flags, spelled
from qcuda.errors import BackendUnavailable, InputError
from qcuda.kernels.gpu.errors import DriverError
from qcuda.models.config import MODELS


def line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(arguments) == 2
    (only,) = capsys.readouterr().err.splitlines()
    return only


def config(*words: str):
    known = flags(parser())
    return configured(parser().parse_args(prepared(spelled(words, known))))


def test_the_version_is_that_of_the_installation(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"qtheory {qtheory.__version__}\n"
    assert qtheory.__version__ == qcuda.__version__ == version("qtheory")


def test_the_exact_room_hands_over_to_the_command():
    """Nothing heavy is imported for the help of either, SciPy's functions included."""
    code = (
        f"import sys, runpy; sys.path[:0] = {sys.path!r}; sys.argv = ['qtheory', '--help'];"
        "sys.modules.update(dict.fromkeys(('sklearn', 'matplotlib', 'torch', 'scipy.special')));"
        "runpy.run_module('qtheory', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: qtheory" in done.stdout


def test_without_the_room_of_the_command_it_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from qtheory import __main__

    command = EntryPoint("qtheory", "nowhere.cli:main", "console_scripts")
    monkeypatch.setattr(__main__, "entry_points", lambda **which: [command])
    assert __main__.main() == 2
    assert "its package nowhere is not there" in capsys.readouterr().err
    monkeypatch.setattr(__main__, "entry_points", lambda **which: [])
    assert __main__.main() == 2
    assert "none is installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "--base.learning_rate.dst 0.02 --checkpoint_every 7 --audit-law",
        "--base.learning-rate.dst 0.02 --checkpoint-every 7 --audit_law",
        "--dst-learning-rate 0.02 --run.checkpoint-every=7 --run.law-audit",
        "--dst_learning_rate=0.02 --run.checkpoint_every=7 --run.law_audit",
    ],
)
def test_a_flag_may_have_either_dash(words: str):
    made = config(*words.split())
    assert made.base.learning_rate["dst"] == 0.02
    assert (made.run.checkpoint_every, made.run.law_audit) == (7, True)


def test_a_value_keeps_its_dashes():
    assert spelled(["--run", "--a-b", "--run=a-b_c"], {"--run"}) == [
        "--run",
        "--a-b",
        "--run=a-b_c",
    ]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("trian", "train"),
        ("validte --op a:b", "validate"),
        ("bench updat", "update"),
        ("train --epoch 3", "--epochs"),
        ("train --methds dst", "--methods"),
        ("validate --deeep", "--deep"),
        ("--versoin", "--version"),
    ],
)
def test_the_nearest_word_is_suggested(words: str, meant: str, capsys: pytest.CaptureFixture[str]):
    assert line(words.split(), capsys).endswith(f"did you mean {meant}?")


def test_nothing_is_suggested_for_what_is_like_nothing(capsys: pytest.CaptureFixture[str]):
    assert line(["xyzzy"], capsys) == (
        "qtheory: a command is one of train, audit, bench, data, reproduce, study, validate, "
        "got 'xyzzy'"
    )


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"- a\n- b\n", "c.yaml: a config is a YAML table of options, got ['a', 'b']"),
        (b"3\n", "c.yaml: a config is a YAML table of options, got 3"),
        (b"\x00\xff", "c.yaml: a config is a YAML table, got: 'utf-8' codec can't decode"),
        (b"run: {epochs: [", "c.yaml: a config is a YAML table, got: while parsing"),
        (None, "--config names a file that can be read, got c.yaml: No such file"),
        ("folder", "--config names a file that can be read, got c.yaml: Is a directory"),
    ],
)
@pytest.mark.parametrize("command", ["train", "validate", "audit"])
def test_a_config_is_a_table(
    command: str,
    content: bytes | str | None,
    rule: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    if isinstance(content, bytes):
        Path("c.yaml").write_bytes(content)
    elif content is not None:
        Path("c.yaml").mkdir()
    for words in (["--config", "c.yaml"], ["--config=c.yaml"]):
        assert line([command, *words], capsys).startswith(f"qtheory {command}: {rule}")


@pytest.mark.parametrize("content", ["", "# only a remark\n", "---\n", "null\n"])
def test_an_empty_config_gives_no_options(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "c.yaml").write_text(content)
    words = ["train", "--config", str(tmp_path / "c.yaml"), "--epochs", "0"]
    assert "epochs is at least 1, got 0" in line(words, capsys)


@pytest.mark.parametrize(
    "metavar", [choices(MODELS), "{float32,bfloat16}", "{metropolis,heat_bath}"]
)
def test_choices_are_in_the_usage(metavar: str):
    assert metavar in parser().format_usage()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BackendUnavailable("no\nlibrary"), "no library"),
        (DriverError("cuInit", 999, "CUDA_ERROR_UNKNOWN"), "cuInit returned CUDA_ERROR_UNKNOWN"),
        (InputError("a rule, got 3"), "a rule, got 3"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "No space left on device: x"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
    ],
)
def test_what_a_person_can_mend_is_one_line(
    error: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def fails(options: object) -> int:
        raise error

    monkeypatch.setattr(cli.COMMANDS["audit"], "run", fails)
    assert line(["audit", "x"], capsys).startswith(f"qtheory audit: {said}")


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyError("x"), OSError(errno.EBADF, "x")])
def test_a_bug_keeps_its_trace(error: Exception, monkeypatch: pytest.MonkeyPatch):
    def fails(options: object) -> int:
        raise error

    monkeypatch.setattr(cli.COMMANDS["audit"], "run", fails)
    with pytest.raises(type(error)):
        cli.main(["audit", "x"])


def test_a_reader_that_leaves_is_no_error():
    """As `qtheory train --help | head -1`: no trace, and the status of SIGPIPE."""
    code = f"import sys; sys.path[:0] = {sys.path!r}; from qcuda.cli import main; sys.exit(main())"
    pipe = f"{sys.executable!r} -c {code!r} train --help | head -1"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=True)
    assert done.stderr == ""
