"""Wan-AI's published models: what they are, in which files they come, and how their parts are read and written.

families   what was published, as data
names      what tensors are called: as published ("native"), and in diffusers
configs    what a part is, from the shapes of its tensors or its config.json
layouts    which files of a folder are which part
loading    parts as modules, with every tensor accounted for
pairing    parts that belong together, and those that do not
fetching   a local, pinned folder in one layout
exporting  native files, for ComfyUI and others
lora       low-rank changes of weights, in both conventions
"""
