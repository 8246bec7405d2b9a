"""Measures the fan-out: the server's CPU for each delivered publication, beside the floor's.

python3 run.py bench fanout                            all peers, 1,000 and 10,000 subscribers
python3 run.py bench fanout --only cardume --size 1000 Cardume and the floor: half a minute
"""

from contest.command import main

if __name__ == "__main__":
    main(__doc__, frozenset({"fanout"}))
