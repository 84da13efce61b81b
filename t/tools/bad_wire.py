#!/usr/bin/env python3
"""A wire between two network namespaces that loses and delays packets, for tests of what a bad network does to a daemon's connection.

    bad_wire.py NAME

Makes the namespaces NAME-here and NAME-there with the addresses 198.18.7.1 and 198.18.7.2, and carries every IP packet between them
from one TUN device to the other by hand, so it needs root and /dev/net/tun but no queueing discipline of the kernel. Lines of standard
input change it: `delay SECONDS` each way, `loss SHARE` (1 cuts it without a word to either end). UDP is always lost: a name
server beyond it never answers, and NAME-here has one (resolv.conf). At the end of input all of it goes.
"""
import fcntl
import heapq
import os
import pathlib
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
UDP = 17
ENDS = {"here": ("198.18.7.1", "198.18.7.2"), "there": ("198.18.7.2", "198.18.7.1")}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def open_end(name: str, end: str) -> int:
    """The descriptor of a TUN device in a new namespace; it works as long as the descriptor is open."""
    namespace, device = f"{name}-{end}", f"{name[-8:]}{end[0]}"
    mine, other = ENDS[end]
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN_WITHOUT_HEADER))
    ip("netns", "add", namespace)
    ip("link", "set", "dev", device, "netns", namespace)
    ip("-n", namespace, "link", "set", "lo", "up")
    ip("-n", namespace, "addr", "add", mine, "peer", other, "dev", device)
    ip("-n", namespace, "link", "set", device, "up")
    return descriptor


def carry(here: int, there: int) -> None:
    chance = random.Random(16)
    delay, loss = 0.0, 0.0
    under_way: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        readable, _, _ = select.select([here, there, sys.stdin], [], [], wait)
        for end in (here, there):
            if end in readable:
                packet = os.read(end, 65536)
                if chance.random() >= loss and not (packet[0] >> 4 == 4 and packet[9] == UDP):
                    number += 1
                    heapq.heappush(under_way, (time.monotonic() + delay, number, there if end == here else here, packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, end, packet = heapq.heappop(under_way)
            os.write(end, packet)
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if not line:
                return
            what, value = line.split()
            if what == "delay":
                delay = float(value)
            else:
                loss = float(value)
            print(line.strip(), flush=True)


def main() -> None:
    name = sys.argv[1]
    resolver = pathlib.Path("/etc/netns") / f"{name}-here"
    resolver.mkdir(parents=True)
    (resolver / "resolv.conf").write_text(f"nameserver {ENDS['there'][0]}\n")
    try:
        ends = [open_end(name, end) for end in ENDS]
        print("ready", flush=True)
        carry(*ends)
    finally:
        for end in ENDS:
            subprocess.run(["ip", "netns", "del", f"{name}-{end}"], capture_output=True)
        (resolver / "resolv.conf").unlink()
        resolver.rmdir()


main()
