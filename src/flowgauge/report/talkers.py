"""Who talks to whom: the clients, servers, names and ports with the most bytes, and which client with which server."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.report.cells import Cells, add, shown
from flowgauge.report.flows import OTHER, Codes, Flows, distinct

MOST_NAMES = 100
"""Names in a list at most: those with the most bytes, and of each cell those with the most."""
_TOP, _TOP_OF_CELL = 20, 3
_CLIENTS, _SERVERS = 8, 10  # of the matrix


def talkers(flows: Flows, cells: Cells) -> dict[str, pa.Table]:
    """Tables `clients`, `servers`, `names` and `ports` (`cell`, `name`, `flows`, `bytes`), and `matrix` (`cell`,
    `client`, `server`, `flows`, `bytes`). Of a name that is listed, the flows of every cell are."""
    listed = {"clients": flows.names("client_ip"), "servers": flows.names("server_ip"), "ports": _ports(flows)}
    if flows.has("server_name"):
        listed["names"] = flows.names("server_name")
    tables = {name: _list(flows, cells, codes) for name, codes in listed.items()}
    return {**tables, "matrix": _matrix(flows, cells)}


def _ports(flows: Flows) -> Codes:
    """Server ports such as `443/TCP`; of protocols without ports the protocol alone."""
    protocols, ports = shown(flows, "protocol"), flows.whole("server_port")
    used, codes, _ = distinct(protocols.codes * 65536 + ports, len(protocols.values) << 16)
    pairs = [(protocols.values[code // 65536], code % 65536) for code in used.tolist()]
    names = [f"{port}/{protocol}" if port else protocol for protocol, port in pairs]
    return Codes(codes, names)


def _list(flows: Flows, cells: Cells, names: Codes) -> pa.Table:
    known = names.codes >= 0
    rows = pa.table({"cell": cells.of[known], "code": names.codes[known], "bytes": flows.whole("frame_bytes")[known]})
    sums = rows.group_by(["cell", "code"]).aggregate([("bytes", "sum"), ("bytes", "count")])
    sums = sums.sort_by([("cell", "ascending"), ("bytes_sum", "descending"), ("code", "ascending")])
    cell, code = sums["cell"].to_numpy(), sums["code"].to_numpy()
    chosen = np.isin(code, _chosen(cell, code, sums["bytes_sum"].to_numpy(), len(names.values)))
    sums = sums.filter(pa.array(chosen))
    labels = pa.array(names.values, pa.string()).take(sums["code"])
    return pa.table({"cell": sums["cell"], "name": labels, "flows": sums["bytes_count"], "bytes": sums["bytes_sum"]})


def _chosen(cell: NDArray[np.int64], code: NDArray[np.int64], size: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The names with the most bytes in all cells, then those that are first in a cell; `cell` ascends, `size` descends
    in a cell."""
    totals = add(size, code, count)
    order = np.argsort(-totals, kind="stable")
    rank = np.arange(len(cell)) - np.searchsorted(cell, cell)
    firsts = np.zeros(count, np.bool_)
    firsts[code[rank < _TOP_OF_CELL]] = True
    others = order[_TOP:][firsts[order[_TOP:]]]
    return np.concatenate([order[:_TOP], others])[:MOST_NAMES]


def _matrix(flows: Flows, cells: Cells) -> pa.Table:
    """Bytes between the largest clients and servers; a server goes by its name, where it has one. All others are
    OTHER."""
    size = flows.whole("frame_bytes")
    clients, servers = _folded(flows.names("client_ip"), size, _CLIENTS), _folded(_servers(flows), size, _SERVERS)
    shape = len(clients.values), len(servers.values)
    place = (cells.of * shape[0] + clients.codes) * shape[1] + servers.codes
    counts = np.bincount(place, minlength=cells.count * shape[0] * shape[1])
    used = np.flatnonzero(counts)
    cell, rest = np.divmod(used, shape[0] * shape[1])
    client, server = (pa.array(part) for part in np.divmod(rest, shape[1]))
    return pa.table(
        {
            "cell": cell,
            "client": pa.array(clients.values, pa.string()).take(client),
            "server": pa.array(servers.values, pa.string()).take(server),
            "flows": counts[used],
            "bytes": add(size, place, len(counts))[used],
        }
    )


def _servers(flows: Flows) -> Codes:
    """Names of servers, and addresses where there is no name."""
    addresses = flows.names("server_ip")
    if not flows.has("server_name"):
        return addresses
    names = flows.names("server_name")
    values = pa.array([*names.values, *addresses.values], pa.string()).dictionary_encode()
    codes = np.where(names.codes >= 0, names.codes, addresses.codes + len(names.values))
    return Codes(values.indices.to_numpy()[codes].astype(np.int64), values.dictionary.to_pylist())


def _folded(names: Codes, size: NDArray[np.int64], most: int) -> Codes:
    """The same with `most` names, those with the most bytes; the last one is OTHER, also of flows without a name."""
    known = names.codes >= 0
    totals = add(size[known], names.codes[known], len(names.values))
    kept = np.argsort(-totals, kind="stable")[:most]
    place = np.full(len(names.values) + 1, len(kept), np.int64)
    place[kept] = np.arange(len(kept))
    return Codes(place[names.codes], [*(names.values[code] for code in kept.tolist()), OTHER])
