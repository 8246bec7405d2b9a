"""Measures handshakes: the server's CPU from the connection to the subscription.

python3 run.py bench handshake                   all peers, 1,000 and 10,000 clients
python3 run.py bench handshake --only cardume    Cardume and the floor
"""

from contest.command import main

if __name__ == "__main__":
    main(__doc__, frozenset({"handshake"}))
