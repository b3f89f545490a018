#!/usr/bin/env python3
"""A provider of machines for Loadline: one request as JSON on standard input, one answer as JSON on
standard output (docs/providers.md, version 1 of the contract). Its machines are lines in a file, so that it
runs anywhere; put calls of your own cloud into `machines`, `start` and `stop`.

Environment: MACHINES_FILE, where machines are kept; MACHINES_MAX, how many there may be (5);
MACHINES_BOOT, how many seconds one takes until it runs (0)."""

import json
import os
import sys
import time

VERSION = 1
GROUP = "workers"
FILE = os.environ["MACHINES_FILE"]
MAX = int(os.environ.get("MACHINES_MAX", "5"))
BOOT = float(os.environ.get("MACHINES_BOOT", "0"))


class Failed(Exception):
    """What cannot be done: a kind of the contract, and words for people."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def machines():
    """What there is: ids, and since when."""
    if not os.path.exists(FILE):
        return {}
    with open(FILE, encoding="utf-8") as file:
        return json.load(file)


def save(known):
    """Renamed into place: a script that is killed leaves no half file."""
    with open(FILE + ".new", "w", encoding="utf-8") as file:
        json.dump(known, file)
    os.replace(FILE + ".new", FILE)


def start(known):
    """One machine more."""
    known["number"] = known.get("number", 0) + 1
    known.setdefault("machines", {})[f"vm-{known['number']}"] = time.time()
    save(known)


def stop(known, machine):
    """This machine and no other; one that is gone is gone."""
    if known.get("machines", {}).pop(machine, None) is not None:
        save(known)


def answer(request):
    if request["version"] != VERSION:
        raise Failed("refused", f"this script speaks version {VERSION} of the contract")
    known = machines()
    live = known.get("machines", {})
    if request["operation"] == "list":
        running = lambda since: time.time() - since >= BOOT
        listed = [{"id": id, "state": "running" if running(since) else "creating"} for id, since in live.items()]
        return {"groups": [{"name": GROUP, "min": 0, "max": MAX, "machines": listed}]}
    if request["group"] != GROUP:
        raise Failed("refused", f"there is no group {request['group']}")
    if request["operation"] == "create":
        if request["size"] > MAX:
            raise Failed("quota", f"at most {MAX} machines")
        # The size is absolute: the same request twice makes nothing twice.
        for _ in range(request["size"] - len(live)):
            start(known)
    elif request["operation"] == "remove":
        stop(known, request["machine"])
    elif request["operation"] != "cancel":  # nothing is ever on its way here, so there is nothing to cancel
        raise Failed("refused", f"there is no operation {request['operation']}")
    return {}


try:
    said = answer(json.load(sys.stdin))
except Failed as failed:
    said = {"error": {"kind": failed.kind, "message": str(failed)}}
json.dump({"version": VERSION, **said}, sys.stdout)
