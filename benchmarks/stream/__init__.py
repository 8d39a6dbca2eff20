"""The stream beside its peers: pictures a second of a core, and what else a loader is chosen for.

environment.py  the peers' environment, made once
pictures.py     photo-like JPEGs, the same on every machine
stores.py       the same pictures in each side's own format
sides.py        what a side is, and what it is asked for
ours.py         the sides of this project, and the bare decode and resize loop that bounds them
peers.py        the sides of other loaders, written as their users write them
worker.py       the process in which one side lives, and what is measured there
bucket.py       the pictures behind an emulator that answers every request 30 ms later
run.py          turns of all the sides, interleaved; writes one JSON file
report.py       that file as a page for docs/benchmarks
why.md          what is known of where this project loses; ends the page
ceiling.py      by itself: the stream against decoding and resizing alone
prepared.py     by itself: the stream from originals and from prepared columns

python benchmarks/stream/environment.py FOLDER       # needs the package index, the rest no network
FOLDER/bin/python -m benchmarks.stream.run --help
"""
