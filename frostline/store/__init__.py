"""Frozen latents and text embeddings in parquet, laid out so that a row lies at a computable place in its file.

    <source>/items/<bucket>/<part>.parquet   one row per item: what it is, and its raw latent
    <source>/prompts/<part>.parquet          one row per prompt of a source that has no media
    <source>/captions/<part>.parquet         one row per distinct caption, the null prompt first of all
    <source>/text/<part>.parquet             one row per token of the captions of the same name, in their order
    <source>/manifest.json                   the parts with rows, bytes and digests; the LatentSpace

Tensors are columns of fixed-size bytes (raw posterior means, little-endian, bfloat16 or float32), required, plain,
uncompressed, one data page per column chunk. Any parquet reader can read them; payloads.py finds the payload of a
chunk from its metadata and reads rows with ``preadv``. Parquet keeps no checksum that readers verify, so every part has
its digest in the manifest and every row its own.

A part is named by what its rows are, so a part of the same rows has the same name and bytes in every run. Items hold
the id and length of their texts and not a place: a place would change with every caption that is added before it, and
with it every part of the items.

Modules: layout (columns and names), writing, keys (ids as numbers), payloads (where rows lie in a part), parts (rows of
several), texts (of captions), reading (one source opened).
"""
