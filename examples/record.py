"""Record the example captures again: real programs, real sockets, two network namespaces.

    python examples/record.py [NAME ...]

Needs Linux, root, Python 3.10 and these Debian packages: bind9-dnsutils, curl, dnsmasq-base,
dropbear-bin, git, iproute2, iputils-ping, openssh-client, openssl, procps, tcpdump, wireshark-common.
Without names every capture is recorded, which takes about two minutes. All traffic stays between the
two namespaces (see lab.py), which are gone afterwards; nothing of the machine's own network is
recorded or reached.
"""

from __future__ import annotations

import gzip
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lab import CHAT, CHAT6, DNS, DNS6, GIT, PBX, PHONE, SSH, WEB, WEB6, Lab, Link, program
from programs import sentence

CAPTURES = Path(__file__).with_name("captures")
MAX_BYTES = 3_000_000
ZONE = (
    "--host-record=www.shop.example,10.20.30.80,fd00:20::80",
    "--host-record=video.example,10.20.30.80",
    "--host-record=git.example,10.20.30.9",
    "--cname=shop.example,www.shop.example",
    "--mx-host=www.shop.example,mail.shop.example,10",
    "--txt-record=www.shop.example,v=spf1 -all",
)


def serve_names(lab: Lab) -> None:
    lab.serve(
        53, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
        "--bind-interfaces", f"--listen-address={DNS}", f"--listen-address={DNS6}", "--local=/example/", *ZONE,
    )  # fmt: skip


def browse(lab: Lab, path: Path) -> None:
    """Pages and pictures over several connections; then two downloads from the same local port."""
    serve_names(lab)
    lab.serve(80, *program("web", "80"))
    shop = "http://www.shop.example"
    with lab.capture(path):
        lab.run("curl", "-4", f"{shop}/page/9000", f"{shop}/image/12000", f"{shop}/page/3000")
        lab.run("curl", "-4", "--parallel", *(f"{shop}/image/{size}" for size in (24000, 31000, 18000)))
        for _ in range(2):
            lab.run("curl", "-4", "--http1.0", "--local-port", "20080", f"{shop}/page/5000")
            time.sleep(0.5)


def browse_ipv6(lab: Lab, path: Path) -> None:
    """The same shop over IPv6."""
    serve_names(lab)
    lab.serve(80, *program("web", "80"))
    shop = "http://www.shop.example"
    with lab.capture(path):
        lab.run("curl", "-6", f"{shop}/page/15000", f"{shop}/image/40000")
        time.sleep(0.7)
        lab.run("curl", "-6", "--parallel", f"{shop}/page/2000", f"{shop}/image/22000")


def browse_encrypted(lab: Lab, path: Path) -> None:
    """TLS with a certificate of our own, IPv4 and IPv6."""
    serve_names(lab)
    certificate, key = lab.folder / "certificate.pem", lab.folder / "key.pem"
    lab.run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=www.shop.example",
        "-addext", "subjectAltName=DNS:www.shop.example", "-out", str(certificate), "-keyout", str(key),
    )  # fmt: skip
    lab.serve(443, *program("web", "443", str(certificate), str(key)))
    shop, trust = "https://www.shop.example", ("--cacert", str(certificate))
    with lab.capture(path):
        lab.run("curl", "-4", *trust, f"{shop}/page/12000", f"{shop}/image/26000")
        time.sleep(0.6)
        lab.run("curl", "-6", *trust, f"{shop}/page/4000", f"{shop}/image/35000")
        lab.run("curl", "-4", f"{shop}/page/100", check=False)  # without --cacert: the client refuses


def look_up(lab: Lab, path: Path) -> None:
    """One question after the other, over UDP and, once, TCP; one name does not exist."""
    serve_names(lab)
    questions = (
        "www.shop.example A", "www.shop.example AAAA", "shop.example A", "www.shop.example MX", "www.shop.example TXT",
        "missing.example A", "git.example A", "www.shop.example A +tcp",
    )  # fmt: skip
    with lab.capture(path):
        for question in questions:
            lab.run("dig", f"@{DNS}", *question.split())
            time.sleep(0.2)


def look_up_ipv6(lab: Lab, path: Path) -> None:
    """The same resolver over IPv6, then a server that is not there: ICMP port unreachable."""
    serve_names(lab)
    with lab.capture(path):
        for name in ("www.shop.example", "video.example", "git.example", "nobody.example"):
            lab.run("dig", f"@{DNS6}", name, "AAAA")
            time.sleep(0.3)
        for nowhere in (WEB, WEB6):
            lab.run("dig", f"@{nowhere}", "+tries=1", "+time=1", "www.shop.example", check=False)


def type_over_ssh(lab: Lab, path: Path) -> None:
    """A login with a key, commands typed letter by letter, and a logout."""
    home = lab.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    home.chmod(0o700)
    key, host_key = lab.folder / "id", lab.folder / "host_key"
    lab.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ana", "-f", str(key))
    lab.run("dropbearkey", "-t", "ed25519", "-f", str(host_key))
    shutil.copy(f"{key}.pub", home / ".ssh" / "authorized_keys")
    me = pwd.getpwuid(os.geteuid())
    # `ip netns exec` has a mount namespace of its own: the server's home and logs are ours alone
    daemon = 'mount --bind "$1" "$2" && mount -t tmpfs logs /var/log && exec dropbear -F -s -p 22 -r "$3"'
    lab.serve(22, "sh", "-c", daemon, "sh", str(home), me.pw_dir, str(host_key))
    with lab.capture(path):
        session = lab.start(
            PHONE, "ssh", "-tt", "-F", "none", "-i", str(key), "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", f"{me.pw_name}@{SSH}",
        )  # fmt: skip
        time.sleep(2)
        _type(session, "ls -l /usr/share/common-licenses\nhead -c 6000 /usr/share/common-licenses/GPL-3\nexit\n")
        session.wait(20)


def _type(session: subprocess.Popen[bytes], text: str) -> None:
    chance = random.Random(3)
    assert session.stdin is not None
    for letter in text:
        session.stdin.write(letter.encode())
        session.stdin.flush()
        time.sleep(0.8 if letter == "\n" else chance.uniform(0.03, 0.12))


def clone(lab: Lab, path: Path) -> None:
    """A clone, and a second one that finds nothing new, over the git protocol."""
    project = lab.folder / "served" / "project"
    project.mkdir(parents=True)
    chance = random.Random(4)
    for number in range(40):
        text = "\n".join(sentence(chance) for _ in range(120))
        (project / f"chapter-{number:02}.txt").write_text(text)
    author = ("-c", "user.name=Ana", "-c", "user.email=ana@git.example")
    for command in (("init", "-q", "-b", "main"), ("add", "."), (*author, "commit", "-q", "-m", "All chapters")):
        lab.run("git", "-C", str(project), *command)
    serve_names(lab)
    lab.serve(
        9418, "git", "-c", "safe.directory=*", "daemon", "--export-all", f"--base-path={project.parent}",
        f"--listen={GIT}", str(project.parent),
    )  # fmt: skip
    with lab.capture(path):
        copy = str(lab.folder / "copy")
        lab.run("git", "clone", "-q", "git://git.example/project", copy)
        time.sleep(1)
        lab.run("git", "-C", copy, "fetch", "-q")


def watch(lab: Lab, path: Path) -> None:
    """A video segment a second over one connection, on a wire that loses frames."""
    serve_names(lab)
    lab.serve(80, *program("web", "80"))
    with lab.capture(path):
        lab.run(*program("play", "video.example", "9"))


def write_messages(lab: Lab, path: Path) -> None:
    """A whole conversation over IPv6."""
    lab.serve(5222, *program("chat-server", "5222"))
    with lab.capture(path):
        lab.run(*program("chat", CHAT6, "5222", "14"))


def write_messages_cut_off(lab: Lab, path: Path) -> None:
    """Recorded from the middle of a conversation; the server dies: reset, and the new attempt is refused."""
    server = lab.serve(5222, *program("chat-server", "5222"))
    client = lab.start(PHONE, *program("chat", CHAT, "5222", "1000"))
    time.sleep(3)
    with lab.capture(path):
        time.sleep(6)
        server.kill()
        client.wait(20)


def phone(lab: Lab, path: Path) -> None:
    """Ringing, six seconds of sound both ways, and hanging up."""
    lab.serve(5060, *program("answer", PBX, "5060"))
    with lab.capture(path):
        lab.run(*program("call", PBX, "5060", "6"))


def echo(lab: Lab, path: Path) -> None:
    """Pings of both IP versions, small ones and ones that need fragments."""
    with lab.capture(path):
        for target in (WEB, WEB6):
            lab.run("ping", "-n", "-c", "5", "-i", "0.3", target)
            lab.run("ping", "-n", "-c", "2", "-i", "0.3", "-s", "2800", target)


class Scenario(NamedTuple):
    """A capture's file name, and what is done while it is recorded, over which link."""

    name: str
    act: Callable[[Lab, Path], None]
    link: Link = Link()


SCENARIOS = (
    Scenario("browser_http-fetch_01.pcap", browse),
    Scenario("browser_http-fetch_02.pcap.gz", browse_ipv6, Link(delay=0.03, jitter=0.01)),
    Scenario("browser_https-fetch_01.pcap", browse_encrypted),
    Scenario("chat_messages_01.pcap", write_messages, Link(delay=0.025, jitter=0.01)),
    Scenario("chat_messages_02.pcap", write_messages_cut_off),
    Scenario("dns_lookup_01.pcap", look_up),
    Scenario("dns_lookup_02.pcap", look_up_ipv6, Link(delay=0.02)),
    Scenario("git_clone_01.pcap", clone, Link(delay=0.02, rate=1_000_000, loss=0.01)),
    Scenario("ping_echo_01.pcapng", echo),
    Scenario("ssh_session_01.pcap", type_over_ssh),
    Scenario("video_stream_01.pcap", watch, Link(delay=0.02, jitter=0.008, rate=1_000_000, loss=0.015)),
    Scenario("voip_call_01.pcap", phone, Link(jitter=0.01)),
)


def record(scenario: Scenario, seed: int) -> None:
    """Record one capture and put it, in the container that its name says, into `captures`."""
    with tempfile.TemporaryDirectory() as folder:
        recorded = Path(folder, "recorded.pcap")
        with Lab(Path(folder), scenario.link, seed) as lab:
            scenario.act(lab, recorded)
        target = CAPTURES / scenario.name
        if target.suffix == ".pcapng":
            subprocess.run(["editcap", "-F", "pcapng", recorded, target], check=True)
        elif target.suffix == ".gz":
            with target.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                packed.write(recorded.read_bytes())
        else:
            shutil.copyfile(recorded, target)


def main() -> None:
    names = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # leave through the `with` blocks
    CAPTURES.mkdir(exist_ok=True)
    for seed, scenario in enumerate(SCENARIOS):
        if not names or scenario.name in names:
            record(scenario, seed)
            print(f"{scenario.name}: {(CAPTURES / scenario.name).stat().st_size:,} bytes", flush=True)
    total = sum(path.stat().st_size for path in CAPTURES.iterdir())
    if total >= MAX_BYTES:
        raise SystemExit(f"{total:,} bytes of captures are too many; at most {MAX_BYTES:,}")


if __name__ == "__main__":
    main()
