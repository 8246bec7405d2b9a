"""`python -m cardume`: the same as `cardume`."""

from cardume.server.cli import main

main()
