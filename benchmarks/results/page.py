"""The page of results, written from the records of one or more runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contenders.ours import SUBJECT

from results.figures import markdown, plain, table
from results.record import Record
from results.targets import targets

HEAD = """\
# Results

Written by `benchmarks/results_page.py` out of what `benchmarks/run.py` measured; `benchmarks/README.md`
tells how it measures. Figures of one table come from one run and may be compared; ratios are taken
round by round: median [least .. most].
"""

COLUMNS = """\
CPU time and memory are those of a server's whole process tree. `peak RSS` adds up what each process had
resident at most, shared pages counted in each; `PSS` counts them once. `load busy` is the share of its
core that the load generator used: near 1 it held the server back. p99 and what follows are medians.
"""

COST = """\
## Each step of a request

Microseconds of CPU per request, and how often a step copies the request's tensor, by `benchmarks/cost.py`. The
parts of the gateway and of the worker in one process, without threads; the model is the identity. Small are
tensors up to 4 KB.

{table}
"""

REPRODUCE = """\
## How to reproduce

```
apt-get install nghttp2-client openjdk-17-jre-headless    # h2load; Java for TorchServe
make setup
.venv/bin/python benchmarks/peers.py install all
{commands}
.venv/bin/python benchmarks/cost.py --markdown > cost.md
.venv/bin/python benchmarks/results_page.py {files} --cost cost.md
```
"""


def page(contents: Sequence[Record], names: Sequence[str], cost: str = "") -> str:
    """The page; `names` are the files that the contents came from, `cost` a table of `cost.py`."""
    parts = [HEAD, *_machine(contents[0]), *_targets(contents)]
    for content in contents:
        parts.extend(_run(content))
    parts.append(COLUMNS)
    if cost:
        parts.append(COST.format(table=cost.strip()))
    parts.extend(_contenders(contents))
    commands = "\n".join(
        f'make bench ARGS="{_arguments(content)} --output {name}"'
        for content, name in zip(contents, names, strict=True)
    )
    parts.append(REPRODUCE.format(commands=commands, files=" ".join(names)))
    return "\n".join(parts)


def _machine(content: Record) -> Iterator[str]:
    facts = content["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    yield (
        f"## Machine\n\n{facts['processor']}, {facts['cores']} cores{_kinship(facts)}, "
        f"{facts['memory_gb']} GB; "
        f"{facts['system']}, kernel {facts['kernel']}; Python {facts['python']}; {packages}; "
        f"{content['settings']['load']}.\n"
    )


def _kinship(facts: Mapping[str, Any]) -> str:
    kin = facts.get("two_cores_are_siblings")
    if kin is None:
        return ""
    return f" (the two that are used: {'threads of one' if kin else 'not of one'} physical core)"


def _contenders(contents: Sequence[Record]) -> Iterator[str]:
    rows = [["", "what", "version", "settings"]]
    known = {name: facts for content in contents for name, facts in content["contenders"].items()}
    for name, facts in known.items():
        rows.append(
            [name, facts["summary"], facts["version"] or "not installed", facts["settings"]]
        )
    yield f"## Contenders\n\n{markdown(rows).replace('---:', '---')}\n"
    yield (
        "All serve the same float32 weights on one torch thread each, and answer as the bare model "
        "does to within 1e-4.\n"
    )


def _run(content: Record) -> Iterator[str]:
    settings = content["settings"]
    title = "Servers on one core, load on another" if settings["pinned"] else "Not pinned"
    yield f"## {title}\n"
    yield (
        f"{settings['rounds']} rounds of about {settings['seconds']:g} s, ended "
        f"{content['ended'][:16].replace('T', ' ')}.\n"
    )
    for name, scenario in content["scenarios"].items():
        if scenario["rounds"]:
            yield f"### {scenario['title']} (`{name}`)\n\n{_figures(content, name)}\n"
    if content["missing"]:
        yield "### Not measured\n"
        yield "".join(
            f"- {plain(name)}: {plain(why[:400])}\n" for name, why in content["missing"].items()
        )


def _targets(contents: Sequence[Record]) -> Iterator[str]:
    """Each target as the first run tells it that has what it takes."""
    rows = [["target", "wanted", "measured", ""]]
    for target in targets():
        told = (target.verdict(content) for content in contents)
        found = next((each for each in told if each is not None), None)
        measured, word = "not measured", ""
        if found is not None:
            measured, word = found[0].text(2), "met" if found[1] else "**missed**"
        rows.append([target.text, target.wanted, measured, word])
    yield f"## Targets\n\n{markdown(rows)}\n"


def _figures(content: Record, scenario: str) -> str:
    return markdown(table(content, scenario, SUBJECT))


def _arguments(content: Record) -> str:
    settings = content["settings"]
    words = [f"--rounds {settings['rounds']} --seconds {settings['seconds']:g}"]
    if not settings["pinned"]:
        words.append("--unpinned")
    if settings["warm"] is not None:
        words.append(f"--warm {settings['warm']:g}")
    return " ".join([*words, *settings["chosen"]])
