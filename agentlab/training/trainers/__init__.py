"""Trainers: each a program in a process and an environment of its own, joined by files.

What goes in is an export and a model folder, what comes out is a folder with weights that says
what they are (`agentlab.json`). The programs (`programs/`) run under the trainers' Python and
import nothing of agentlab; everything here runs without torch: it looks whether the data, the base
and an adapter are what they say, starts the program, follows it, and puts the result in place.
"""
