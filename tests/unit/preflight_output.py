"""A preflight query about one source and two targets, and the events that a host answers it with."""

from scripted import encoded

from transferpy.agent.preflight import PreflightQuery, Route

QUERY = PreflightQuery(
    source_path="/srv/x",
    routes=(Route(index=0, host="db2"), Route(index=1, host="db3")),
    targets=((0, "/srv/y", "x"), (1, "/none", "x")),
)
ANSWERS = {
    "finished-dead-run": "run=target.fedcba",
    "host": "uid=0 cores=4 memory=8000000000 lists=90000000 boot=b1 tools=tar,ss listening=22,4400",
    "netcat": f"name=nc help={encoded('OpenBSD netcat')}",
    "source": (
        f"directory={encoded('/srv')} name={encoded('x')} kind=d identity=7:8 error="
        f" links_error={encoded('open_tree: no')} disk=4096 inodes=3 files=2 directories=1 bytes=4711 largest=4000"
        " sockets=1 server=no"
    ),
    "mount": f"path={encoded('/srv/x/proc')} type=proc kind=pseudo",
    "route": "index=0 address=198.18.0.2 source=198.18.0.1",
    "route 2": "index=1 address=2001:db8::2 source=2001:db8::1",
    "firewall": f"tool=iptables rules={encoded('-P INPUT DROP')}",
    "target": (
        f"index=0 state=directory path={encoded('/srv/y')} ancestors=7:9,7:2 final=7:11 content=x"
        " leftovers=.transferpy-0123456789abcdef-0"
        f" free=12345 inodes=100:50 mount={encoded('/srv')}"
    ),
    "target 2": "index=1 state=other",
    "asked": "",
}
"""The values of each event, by its name; a number tells events of the same name apart."""
