"""Benches: what Casebook does in a second, beside what the same machine could do at most.

Each bench measures the product and its limit in turns, on one PostgreSQL with the settings of
the embedded mode, and gives their ratio: absolute figures are about the machine, ratios are about
the code. ``bench/README.md`` says how to read them; ``casebook bench`` runs them.
"""

from bench.append import APPEND, APPEND_100
from bench.beside import BESIDE_IMPORT
from bench.desk import LIST, SUBMIT
from bench.history import IMPORT
from bench.hop import HOP
from bench.kpi_lag import KPI_LAG
from bench.kpis import KPI
from bench.measuring import PAIRS_MIN, Bench, Effort, Report
from bench.reading import READER, REBUILD
from bench.relay import RELAY, RELAY_KAFKA
from bench.report import document
from bench.start import START
from bench.team_queue import QUEUE

BENCHES: dict[str, Bench] = {
    bench.name: bench
    for bench in (
        APPEND,
        APPEND_100,
        SUBMIT,
        LIST,
        RELAY,
        RELAY_KAFKA,
        READER,
        REBUILD,
        HOP,
        QUEUE,
        IMPORT,
        BESIDE_IMPORT,
        KPI,
        KPI_LAG,
        START,
    )
}

__all__ = ["BENCHES", "PAIRS_MIN", "Bench", "Effort", "Report", "document"]
