"""The programs that `benches/python/peers.py` compares, one a file, each run in an environment of its own.

    PYTHONPATH=benches python -P -m peer fastembed

answers requests on its standard input, one JSON object a line, with one JSON object a line: see `protocol`.
"""
