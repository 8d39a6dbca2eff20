"""Likeness of pictures and texts, given as files or standing in a table.

    request.py       similar(): of some texts and pictures, which a model finds like which
    pictures.py      from places of picture files to features, and why a picture has none
    ranking.py       from features to ranked matches
    records.py       what similar() found, as a value and as text

    table_search.py  search(): rows of a table that answer texts, pictures, other rows or words
    searched_column.py  which column of vectors or texts is meant, and the model that made it
    queries.py       what is searched for, as vectors
    nearby.py        rows near a vector: by Lance's index, or (vectors.py, candidates.py) by reading every one
    texts.py         rows that hold words (words.py): by Lance's index, or by reading every one
    ranks.py         rows in order: filled up, fused
    hits.py          from ranked rows to what is told of them; found.py  the records of it

    table_index.py   index(): makes the index of a column or brings it up to date, and measures what it finds

Nothing is imported here: a search for words or by rows, and an index, need no torch.
"""
