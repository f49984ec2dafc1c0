"""CPU time and memory of a server's processes, where the server runs on this machine."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Collection
from dataclasses import dataclass
from time import monotonic

import psutil

from inferd.client.target import target_of

_NOT_SERVERS = frozenset(
    (
        *("bash", "sh", "dash", "zsh", "fish", "ksh", "tcsh", "csh", "pwsh", "nu", "xonsh"),
        *("tmux", "screen", "sshd", "login", "su", "sudo", "make", "just", "code", "node"),
        *("systemd", "init", "tini", "dumb-init", "docker-init", "containerd-shim", "conmon"),
        *("supervisord", "runsv", "s6-supervise", "gnome-terminal-", "konsole", "xterm"),
    )
)
"""Whatever starts servers but is none: the tree of a server ends below these."""

_PASS_CALLS_ON = frozenset(
    (
        *("docker-proxy", "rootlessport", "slirp4netns", "pasta", "gvproxy", "wslrelay"),
        *("ssh", "sshd", "sshd-session", "autossh", "kubectl", "cloudflared"),
        *("socat", "ncat", "haproxy", "nginx", "envoy", "traefik", "caddy"),
    )
)
"""Whatever listens in a server's place: what these use is not what the server uses."""


class Unseen(LookupError):
    """The server's processes cannot be watched; the message says why."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of all processes of the server, in a window.

    `cores` is CPU time per second. `rss` is the highest sum of resident memory sampled, in bytes,
    which counts shared pages once per process; `pss` shares them out, None where it is not readable.
    `cpus` are the cores that the first of them may run on, none where that is not known.
    """

    processes: int
    cores: float
    rss: int
    pss: int | None
    cpus: frozenset[int] = frozenset()


class ServerTree:
    """The processes below (and with) one process id."""

    def __init__(self, root: int) -> None:
        """Raises `ProcessLookupError` where there is no such process."""
        try:
            self._root = psutil.Process(root)
        except psutil.NoSuchProcess as error:
            raise ProcessLookupError(f"there is no process {root}") from error

    @property
    def description(self) -> str:
        """Its process id and command, for people."""
        try:
            command = [os.path.basename(each) for each in self._root.cmdline()[:4]]  # noqa: PTH119
        except psutil.Error:
            command = []
        return f"process {self._root.pid} ({' '.join(command) or self._root.name()})"

    def watch(self) -> Watch:
        """Begin a window."""
        return Watch(self)

    def cpus(self) -> frozenset[int]:
        """The cores that its first process may run on; none where it has ended."""
        try:
            return frozenset(self._root.cpu_affinity() or ())
        except psutil.Error:
            return frozenset()

    def processes(self) -> list[psutil.Process]:
        """All that live now."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []


class Watch:
    """One window: `sample` now and then, `close` it at its end, then ask for its `footprint`."""

    def __init__(self, tree: ServerTree) -> None:
        self._tree = tree
        self._begin = monotonic()
        self._used = _cpu_times(tree.processes())
        self._cores = 0.0
        self._rss = 0
        self.sample()

    def sample(self) -> None:
        """Look at the memory: the highest look counts."""
        self._rss = max(self._rss, sum(map(_rss, self._tree.processes())))

    def close(self) -> None:
        """The window ends."""
        seconds = max(monotonic() - self._begin, 1e-9)
        used = _cpu_times(self._tree.processes())
        # What a process used that died meanwhile is lost with it.
        spent = sum(each - self._used.get(who, 0.0) for who, each in used.items())
        self._cores = max(0.0, spent) / seconds
        self.sample()

    def footprint(self) -> Footprint:
        """What was seen; reads PSS, which stalls the server a little: ask when the load is over."""
        processes = self._tree.processes()
        shares = [_pss(each) for each in processes]
        pss = sum(each for each in shares if each is not None)
        readable = bool(shares) and None not in shares
        return Footprint(
            processes=len(processes),
            cores=self._cores,
            rss=self._rss,
            pss=pss if readable else None,
            cpus=self._tree.cpus(),
        )


def server_root(address: str) -> int:
    """The process id at the root of the server that listens at `address`.

    Raises `Unseen` where that is another machine's, no TCP port, not visible to this user, or
    where a proxy listens for a server that may be anywhere.
    """
    port = local_port(address)
    if port is None:
        raise Unseen("it is remote")
    try:
        sockets = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        sockets = []
    listening = {
        each.pid
        for each in sockets
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
    }
    visible = {pid for pid in listening if pid is not None}
    for pid in visible:
        if (name := _name(pid)) in _PASS_CALLS_ON:
            raise Unseen(f"{name} (process {pid}) listens and passes calls on to it")
    if not visible:
        raise Unseen("its process is not visible")
    return min(map(root_of, visible))


def local_port(address: str) -> int | None:
    """The port of a loopback address; None for any other address."""
    host, _, port = target_of(address).name.rpartition(":")
    host = host.removeprefix("dns:").removeprefix("ipv4:").removeprefix("ipv6:").strip("[]/")
    if not port.isdigit():
        return None
    if host == "localhost":
        return int(port)
    try:
        return int(port) if ipaddress.ip_address(host).is_loopback else None
    except ValueError:  # a name: it may be anywhere
        return None


def root_of(pid: int) -> int:
    """Up from a process to where its server begins, such as from a gateway to its supervisor."""
    try:
        process = psutil.Process(pid)
        ours = {os.getpid(), *(each.pid for each in psutil.Process().parents())}
        for parent in process.parents():
            if parent.pid <= 1 or parent.pid in ours or _starts_servers(parent):
                break
            process = parent
    except psutil.Error:
        return pid
    return process.pid


def _starts_servers(process: psutil.Process) -> bool:
    return _program(process) in _NOT_SERVERS


def _program(process: psutil.Process) -> str:
    return process.name().lstrip("-").split(":")[0]


def _name(pid: int) -> str:
    try:
        return _program(psutil.Process(pid))
    except psutil.Error:
        return ""


def _cpu_times(processes: Collection[psutil.Process]) -> dict[int, float]:
    used = {}
    for each in processes:
        try:
            times = each.cpu_times()
        except psutil.Error:
            continue
        used[each.pid] = times.user + times.system
    return used


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _pss(process: psutil.Process) -> int | None:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError):
        return None
