"""Drives a daemon with strongSwan's own Python client and prints what it saw, masked where runs differ."""

import re
import socket
import sys
import threading

import vici

# SPIs, times, counters, ports of the NAT: differ from run to run
MASKED = re.compile(r"(initiator-spi|responder-spi|spi-in|spi-out|established|(rekey|life|install|reauth)-time|(bytes|packets|use)-(in|out))")
# names of upstream's internal queues, wherever they happen to be at that moment; ports, which 5.9 does not list
LEFT_OUT = re.compile(r"tasks-(queued|active|passive)|(local|remote)_port")


def show(label, value, path=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            if LEFT_OUT.fullmatch(key):
                continue
            show(label, inner, f"{path}/{key}")
    elif isinstance(value, list):
        print(f"{label} {path} = [{' '.join(item.decode() for item in value)}]")
    else:
        text = value.decode() if isinstance(value, bytes) else str(value)
        last = path.rsplit("/", 1)[-1]
        print(f"{label} {path} = {'*' if MASKED.fullmatch(last) else text}")


def connect(path):
    control = socket.socket(socket.AF_UNIX)
    control.settimeout(20)
    control.connect(path)
    return vici.Session(control)


def main(path):
    v = connect(path)
    print("version", sorted(dict(v.version())))
    show("stats", {k: dict(x) for k, x in v.stats().items() if k == "ikesas"})
    for conn in v.list_conns():
        show("conn", conn)

    heard = []
    ready = threading.Event()

    def listen():
        session = connect(path)
        events = ["ike-updown", "child-updown"]
        ready.set()
        for name, message in session.listen(events):
            name = name.decode() if isinstance(name, bytes) else name
            heard.append((name, message))
            if len(heard) == 2:
                return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    ready.wait()
    # registered before the connection is: both go through the daemon in order of a round trip
    v.version()

    logs = list(v.initiate({"child": "net", "timeout": "10000", "loglevel": "1"}))
    print("initiate logs", len(logs) > 3, sorted({key for line in logs for key in line}))
    listener.join(10)
    for name, message in sorted(heard, key=lambda e: e[0]):
        show(name, message)
    for sa in v.list_sas():
        show("sa", sa)
    try:
        list(v.initiate({"child": "nonsense", "timeout": "1000"}))
    except vici.exception.CommandException as error:
        print("error", error)
    try:
        v.load_conn({"bad": {"no_such_key": "1"}})
    except vici.exception.CommandException as error:
        print("error", "no_such_key" in str(error))
    v.load_conn({"extra": {"version": "2", "remote_addrs": ["192.0.2.1"], "local": {"auth": "psk"},
                           "remote": {"auth": "psk"}, "children": {"c": {"remote_ts": ["192.0.2.0/24"]}}}})
    print("conns", [c.decode() if isinstance(c, bytes) else c for c in v.get_conns()["conns"]])
    v.unload_conn({"name": "extra"})
    list(v.terminate({"ike": "psk", "timeout": "10000"}))
    print("sas left", len(list(v.list_sas())))


main(sys.argv[1])
