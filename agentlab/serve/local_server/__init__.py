"""A small model behind the OpenAI protocol, on this machine: what `agentlab serve-local` starts.

It runs under the trainers' Python, which has torch and none of agentlab's dependencies: of agentlab
it imports these files and `models.hermes`, which need the standard library alone. Everything that
a trainer needs of a call is given: token ids, log-probabilities of the tokens that were drawn, and
which weights drew them. It is for models that a processor serves; for larger ones there is vLLM,
which speaks the same protocol.
"""
