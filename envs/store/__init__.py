"""A small shop: catalogue, basket, checkout, account, returns and an admin side.

`python -m agentlab.envs.store` serves it to a person; a browser environment practises on it, with
a world of its own for each episode. Missions and tasks (`grammar`, `tasks`, `oracle`) need no
server and load no web framework; `app` does.
"""
