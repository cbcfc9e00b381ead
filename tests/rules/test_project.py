"""The project's own machinery: versions, the commands of the README, and the build."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def bootstrap(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", root / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_one(root: Path, project: dict[str, Any]):
    version = project["project"]["version"]
    assert f"\nversion: {version}\n" in (root / "CITATION.cff").read_text()
    assert f"\n## {version}" in (root / "CHANGELOG.md").read_text()


def test_the_licence_is_the_one_named(root: Path, project: dict[str, Any]):
    text = (root / "LICENSE").read_text()
    assert project["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


# Makefile, README and build server


def targets(makefile: str) -> set[str]:
    """Targets that `make help` lists."""
    return set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


def test_every_named_command_exists(root: Path):
    makefile = (root / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert targets(makefile) == set(phony[1].split())
    for name in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        text = (root / name).read_text()
        used = re.findall(r"(?m)(?:^|`)make ([a-z-]+(?: [a-z-]+)*)", text)
        assert {word for words in used for word in words.split()} <= targets(makefile), name


def test_help_prints_every_target(root: Path):
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = {line.split()[0] for line in shown.stdout.splitlines() if line[:1].isalpha()}
    assert listed == targets((root / "Makefile").read_text())


def test_the_build_server_runs_tests_then_the_rest_of_check(root: Path):
    script, makefile = (root / ".ci/run"), (root / "Makefile").read_text()
    assert os.access(script, os.X_OK)
    check = re.search(r"^check: ([a-z ]+) ##", makefile, re.MULTILINE)
    assert check is not None
    commands = re.findall(r"^make (.*)$", script.read_text(), re.MULTILINE)
    assert commands[0] == "test"
    assert {word for c in commands for word in c.split()} == set(check[1].split())


def test_the_command_line_has_its_entry_point(root: Path, project: dict[str, Any]):
    module, _, function = project["project"]["scripts"]["qtheory"].partition(":")
    place = root / "cuda" / module.replace(".", "/")
    sources = [p for p in (place.with_suffix(".py"), place / "__init__.py") if p.exists()]
    assert any(f"def {function}(" in source.read_text() for source in sources), module


def test_the_default_profile_repeats_itself():
    assert settings.get_profile("ci").derandomize
    assert settings.get_profile("ci").database is None
    assert settings().derandomize


# bootstrap.py


def test_bootstrap_needs_the_standard_library_only(root: Path):
    text = (root / "bootstrap.py").read_text()
    names = re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)
    assert set(names) <= sys.stdlib_module_names


def test_an_old_python_is_told_so(bootstrap: ModuleType):
    with pytest.raises(bootstrap.Problem, match=r"Python 3\.11 or newer is needed, .* is 3\.9\.2"):
        bootstrap.check_python((3, 9, 2))
    bootstrap.check_python((3, 11, 0))


def test_a_python_without_venv_is_told_so(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(bootstrap.Problem, match=r"lacks the module venv; .*python3-venv"):
        bootstrap.check_python((3, 11, 0))


def test_a_problem_is_a_sentence_and_not_a_trace(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(bootstrap, "OLDEST", (99, 0))
    assert bootstrap.main([]) == 1
    assert capsys.readouterr().err.startswith("bootstrap: Python 99.0 or newer is needed")


def test_extras_are_those_of_the_project(bootstrap: ModuleType, project: dict[str, Any]):
    for extra in project["project"]["optional-dependencies"]:
        options = bootstrap.parse(["--no-dev", "--extras", f"{extra},"])
        assert bootstrap.wanted_extras(options) == {extra}
    assert bootstrap.wanted_extras(bootstrap.parse([])) == {"dev"}
    with pytest.raises(bootstrap.Problem, match=r"an extra is one of .*, got \['nosuch'\]"):
        bootstrap.wanted_extras(bootstrap.parse(["--extras", "nosuch"]))


def test_no_network_is_told_apart_from_other_failures(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    def fails_with(words: str) -> Callable[..., object]:
        return lambda *a, **k: subprocess.CompletedProcess(a, 1, stderr=words)

    for words, expected in [
        ("ConnectTimeoutError: Failed to establish a new connection", "no package index"),
        ("ERROR: No matching distribution found for x", "pip could not install x"),
    ]:
        monkeypatch.setattr(bootstrap.subprocess, "run", fails_with(words))
        with pytest.raises(bootstrap.Problem, match=expected):
            bootstrap.pip("x")


def test_what_is_done_is_not_done_again(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    done: list[str] = []
    for step in ("make_venv", "upgrade_pip", "install_torch", "pip"):
        monkeypatch.setattr(bootstrap, step, lambda *a, step=step, **k: done.append(step))
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "bootstrap.json")
    assert bootstrap.install({"dev"})
    done.clear()
    assert not bootstrap.install({"dev"})
    assert not bootstrap.install(set())  # dev stays
    assert done == []
    monkeypatch.setenv("QT_TORCH_INDEX", "elsewhere")
    assert bootstrap.install({"dev"})
    assert "install_torch" in done


def test_two_first_calls_take_turns(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """The second says that it waits, and works when the first is done; nobody waits for nobody."""
    monkeypatch.setattr(bootstrap, "TURN", tmp_path / "build" / "bootstrap.lock")
    done: list[str] = []

    def second() -> None:
        with bootstrap.turn():
            done.append("second")

    with bootstrap.turn():
        other = threading.Thread(target=second)
        other.start()
        other.join(0.2)
        done.append("first")
    other.join(60)
    assert done == ["first", "second"]
    assert "waiting" in capsys.readouterr().out
    with bootstrap.turn():
        done.append("alone")
    assert "waiting" not in capsys.readouterr().out


def test_nothing_is_waited_for_where_nothing_can_be_written(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "build").write_text("a file, so that no folder of that name can be made")
    monkeypatch.setattr(bootstrap, "TURN", tmp_path / "build" / "bootstrap.lock")
    with bootstrap.turn():
        pass


def test_a_path_that_the_terminal_lacks_letters_for_is_printed(root: Path):
    command = [sys.executable, str(root / "bootstrap.py"), "--kernels"]
    code = f"import runpy, sys; sys.argv = {command[1:]!r}\n"
    code += "m = runpy.run_path(sys.argv[0]); m['main'].__globals__['build_kernels'] = "
    code += "lambda: m['say']('/é')\nsys.exit(m['main']())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "bootstrap: /\\xe9\n"


# The build of the kernels


def configure(
    root: Path, build: Path, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Configure a build in a folder of its own."""
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if cmake is None:
        pytest.skip("there is no cmake")
    return subprocess.run(
        [cmake, "-S", str(root), "-B", str(build), *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missing_compiler_is_written_down_and_no_error(root: Path, tmp_path: Path):
    old = tmp_path / "libqtheory_v3.so"
    old.touch()
    result = configure(root, tmp_path, "-DQT_CUDA=OFF", CXX="/nonexistent/c++")
    assert result.returncode == 0, result.stderr
    assert "no working C++ compiler was found" in (tmp_path / "build.txt").read_text()
    assert not old.exists()  # stale


def test_insisting_on_a_gpu_image_without_nvcc_fails_in_words(root: Path, tmp_path: Path):
    none = ("-DQT_NVCC=",)
    result = configure(root, tmp_path, "-DQT_CUDA=ON", *none, CXX="/nonexistent")
    assert result.returncode != 0
    assert "QT_CUDA is ON and there is no nvcc" in result.stderr
    result = configure(root, tmp_path, "-DQT_CUDA=AUTO", *none, CXX="/nonexistent")
    assert result.returncode == 0
    assert "gpu: not built, there is no nvcc" in (tmp_path / "build.txt").read_text()


def test_an_unknown_choice_is_refused(root: Path, tmp_path: Path):
    result = configure(root, tmp_path, "-DQT_CUDA=maybe")
    assert "QT_CUDA is AUTO, ON or OFF, got 'maybe'" in result.stderr
