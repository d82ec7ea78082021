"""A language model of under two million parameters that plays the burrow, made from nothing.

So that export, training, serving and the gate can be tried as a whole on two cores: it speaks the
real chat protocol with tool calls, and no weights lie in the repository. Four modules, in the order
in which they are used: `demonstrations` (what the world looks like when somebody plays it),
`vocabulary` (tokenizer and chat template), `base` (training from nothing) and `make` (all of it,
cached); `measure` says how good a policy is, through a server. `vocabulary` and `base` run under
the trainers' Python and import nothing of agentlab.
"""
