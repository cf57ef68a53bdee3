"""The systems that are measured beside ours. Each answers the same few messages in a process of its own.

`protocol.py` has the messages and the side that answers them, `driver.py` the side that asks, `venvs.py` makes the
environments. A peer is a folder with `requirements.txt` and `peer.py`, which is run in the peer's own environment and
imports nothing of ours but `protocol.py`.
"""
