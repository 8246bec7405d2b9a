"""Measures latency, from a publisher's write to a subscriber's read, at 10,000 deliveries a second.

python3 run.py bench latency                   all peers, 1,000 and 10,000 subscribers
python3 run.py bench latency --only cardume    Cardume and the floor
"""

from contest.command import main

if __name__ == "__main__":
    main(__doc__, frozenset({"latency"}))
