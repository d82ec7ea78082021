"""Vector indexes: derived from the records, rebuilt from them at any time, never the only copy.

`exact` compares with every stored vector and is the reference; `chroma` is fast for very many.
`library.served` decides which of them answers.
"""

from __future__ import annotations
