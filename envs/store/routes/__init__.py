"""The shop's pages, by what a person does there. Each file brings one `router`."""
