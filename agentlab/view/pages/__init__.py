"""One module a page: from open records to a frozen model. No HTML and no HTTP here."""
