"""A house full of lamps, to practise in: one of each thing that agentlab can be given."""
