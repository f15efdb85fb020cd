"""Turn-taking: who has the floor. Pure: probabilities in, events out, time is a sample count.

Read `machine` first, then `speech`; `options` holds what users set. Imports nothing of ours.
"""
