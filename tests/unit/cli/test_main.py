"""The command's first step: which verb, and whether it can run at all."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from inferd.server.cli.main import main


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    code = ended.value.code
    return code if isinstance(code, int) else 0


def test_a_client_s_install_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr instead of a traceback about some module."""
    find = importlib.util.find_spec

    def missing(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in {"cyclopts", "rich"} else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    assert _run("serve") == 1
    told = capsys.readouterr().err
    assert "needs cyclopts, rich" in told
    assert "pip install 'inferd[server]'" in told


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    """With one line each."""
    assert _run("--help") == 0
    told = capsys.readouterr().out
    for verb in ("serve", "predict", "inspect", "status", "top", "stubs"):
        assert verb in told
    assert "Serve models until Ctrl-C." in told


def test_every_verb_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help shows how it is typed."""
    for verb in ("serve", "predict", "inspect", "status", "top", "stubs"):
        assert _run(verb, "--help") == 0
        assert f"• inferd {verb} " in capsys.readouterr().out


def test_ctrl_c_leaves_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whenever it comes, such as while a verb is still being imported."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cyclopts.App.__call__", interrupted)
    assert _run("serve") == 130
    assert capsys.readouterr().err == ""
