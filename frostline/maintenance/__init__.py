"""What keeps caches and their pool whole: looking at them, taking away what is damaged, giving up what nobody uses.

Modules: findings (what is said of a cache), caches (a cache as its manifest lists it), parts (one part, opened),
agreement (what the parts of a cache say of one another), contents (every row of a part), verifying (caches and the
pool as a whole), reencoding (some rows made again), rescuing (whole rows out of damaged parts), repairing, pruning.
"""
