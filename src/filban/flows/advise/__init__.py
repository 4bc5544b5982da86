"""`filban advise`: which indexes, proven before it is said.

`sources` (statements: counters, logs, files) -> `filban.index.advice` (workload, candidates) ->
`choosing` (a set) -> `filban.flows.prove` (executed on a clone) -> `findings` and `planning` (what
a person reads, and the file that `filban apply` takes).
"""

from filban.flows.advise.options import AdviseOptions
from filban.flows.advise.run import Advice, advise

__all__ = ["Advice", "AdviseOptions", "advise"]
