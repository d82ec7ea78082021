"""From attempts to better weights: rows, masks, advantages, exports, trainers, serving, the gate.

A trajectory keeps model calls, not conversations; here they become what trainers read. Nothing of
`dev` or `heldout` comes in, and what cannot be said truthfully is refused with its reason.
"""
