"""The program that a trainer's process runs: `python run_trainer.py JOB`.

It ends with 0 when the result is written, and otherwise says why in one line of JSON: what was
refused, what could not be written, or what broke, whose traceback is in the log.
"""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import cast

from trainer_job import Answers, Job, Refused, end_with_starter

PROGRAMS = {
    "trl-sft": "train_sft",
    "trl-dpo": "train_dpo",
    "trl-kto": "train_kto",
    "trl-grpo-replay": "train_grpo_replay",
    "trl-grpo-live": "train_grpo_live",
}
"""Which module trains what; imported by name, because each takes seconds."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = ("no space left", "os error 28", "file too large", "os error 27", "disk quota")
_TORCH_WRITES = ("pytorchstreamwriter failed", "unexpected pos", "file write failed")


def main() -> int:
    """Do the job."""
    answers = Answers()
    job = Job(Path(sys.argv[1]))
    end_with_starter(job)
    answers.say("phase", phase="starting torch")
    try:
        train = cast(
            "Callable[[Job, Answers], None]",
            importlib.import_module(PROGRAMS[job.trainer]).train,
        )
        train(job, answers)
    except Refused as refused:
        answers.say("refused", why=str(refused))
        return 2
    except Exception as error:
        traceback.print_exc()
        from training_session import sweep

        sweep(job)
        kind = "full" if no_room(error) else "broke"
        answers.say(kind, why=f"{type(error).__name__}: {error}"[:2000])
        return 1
    answers.say("done")
    return 0


def no_room(error: BaseException) -> bool:
    """Whether a file could not be written for want of room, whichever library says so."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        text = str(seen).lower()
        if any(words in text for words in (*_FULL_WORDS, *_TORCH_WRITES)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


if __name__ == "__main__":
    sys.exit(main())
