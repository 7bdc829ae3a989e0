"""Where rows come from, and where their pixels come from again.

preparing   all rows of a source, whatever its kind, and what was left out and why
reading     the pixels of one row, at the size of its bucket
sheets      whole upright frames of examples, to be looked at
"""
