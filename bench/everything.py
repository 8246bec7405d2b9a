"""Cardume beside the `send()` floor and other servers, in one run on this machine.

    python3 run.py bench                 all of it, under ten minutes; writes docs/benchmark/
    python3 run.py bench --full          three passes and longer rounds: over an hour
    python3 run.py bench --only cardume  Cardume and the floor alone; prints, writes nothing

Fan-out with 1,000 and 10,000 subscribers, handshakes, memory of idle connections, latency, and
very many idle connections on one process. What each figure means is in bench/README.md.
"""

from contest.command import main
from contest.compare import MEASURES

if __name__ == "__main__":
    main(__doc__, MEASURES)
