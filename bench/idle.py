"""Measures what an idle connection weighs, and very many of them on one process.

python3 run.py bench idle                     all peers, 10,000 connections; then 50,000
python3 run.py bench idle --only cardume      Cardume and the floor
"""

from contest.command import main

if __name__ == "__main__":
    main(__doc__, frozenset({"idle"}))
