"""The stream beside its peers: pictures a second of a core, and what else a loader is chosen for.

python benchmarks/stream/environment.py FOLDER       # needs the package index, the rest no network
FOLDER/bin/python -m benchmarks.stream.run --help
"""
