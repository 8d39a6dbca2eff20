"""Objects: files in folders and buckets, listed and read many at a time, whatever goes wrong on the way.

    stamps.py       what a listing says of an object, and whether bytes that came agree with it
    faults.py       which errors of a store are worth another try, and how patient to be
    listing.py      the objects under a prefix, page by page
    reading.py      the bytes of many objects, in order, with many requests in flight and bounded memory
    removing.py     a delete whose answer was lost is no failure
    references.py   rows whose image is null and whose `uri` says where the bytes are

It knows fsspec and Arrow, and nothing of tables, sources or images.
"""
