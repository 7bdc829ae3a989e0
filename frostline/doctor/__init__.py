"""What is wrong with a model, a cache or a training: every check that applies, and the cause that explains the rest.

catalogue, causes    what can be wrong, and what is a symptom of what
targets, rows        what was given: a network that can be asked, latents that it is asked about
readings, answers    what a checkpoint predicts, and what a network's answers depend on
examination          which checks apply to what was given, one after another
"""
